"""Ctrl-C and SIGTERM as a request to stop at a safe moment, instead of an exception at any moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lra.errors import UserError


class Interrupted(UserError):
    """The work was stopped on request. Its progress is saved."""


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yields an event that SIGINT and SIGTERM set. A second signal has its usual effect."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may set handlers
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: Any) -> None:
        event.set()
        signal.signal(number, old[signal.Signals(number)])

    for number in old:
        signal.signal(number, hear)
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
