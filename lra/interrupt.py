"""Ctrl-C and SIGTERM as a request to stop at a safe moment, instead of an exception at any moment.

Python runs its own handlers of signals between two of its instructions. JAX computes and compiles for seconds or
minutes in one of them, so a thread answers here. A second signal ends the process at once. Then nothing is
half-written: files are written atomically, and the operating system releases the locks.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lra.errors import UserError

STOPPED = 130  # the exit code of what was stopped, as shells have it
REQUESTS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h\r\n"  # for a terminal in which a progress bar has hidden it


class Interrupted(UserError):
    """The work was stopped on request. Its progress is saved. The exit code is 130."""

    exit_code = STOPPED


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """Yields an event that SIGINT and SIGTERM set. A second signal ends the process at once with exit code 130.

    A signal that the process ignores, as a shell makes it where it starts it in the background, stays ignored.

    Args:
      say: prints the answer to the first signal, from another thread.
    """
    event = threading.Event()

    def request() -> None:
        event.set()
        say("stopping after this step; Ctrl-C again ends at once, and the last checkpoint stays")

    with heard_at_once(request):
        if threading.current_thread() is not threading.main_thread():
            yield event
            return
        heard = [number for number in REQUESTS if signal.getsignal(number) != signal.SIG_IGN]
        old = {number: signal.signal(number, lambda *_: None) for number in heard}
        try:
            yield event
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


@contextmanager
def heard_at_once(request: Callable[[], None]) -> Iterator[None]:
    """Calls `request` in a thread at the first signal in the block, and ends the process at the second.

    Only signals that have a handler in Python are heard. Only the main thread hears any: in another one this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)

    def answer() -> None:
        requested = False
        while numbers := receiver.recv(16):
            for _ in filter(REQUESTS.__contains__, numbers):
                if requested:
                    end()
                requested = True
                request()

    listener = threading.Thread(target=answer, daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()
        listener.join()
        receiver.close()


def end() -> None:
    """Ends this process without waiting for what it computes."""
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os._exit(STOPPED)
