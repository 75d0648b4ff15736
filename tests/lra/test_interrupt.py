"""Ctrl-C is answered while C code computes, a second one ends the process, and everything is put back afterwards."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading

import pytest

from lra import cli
from lra.interrupt import heard_at_once, interruptible

# C code that lets other threads run and hears no signal, as JAX's does, for many minutes
COMPUTE = "import hashlib; print('begun', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
IN_A_RUN = f"""
from lra.interrupt import interruptible
with interruptible(lambda text: print(text, flush=True)):
    {COMPUTE}
"""
IN_A_COMMAND = f"""
import dataclasses, sys
from lra import cli
def compute(options):
    {COMPUTE}
cli.COMMANDS["tasks"] = dataclasses.replace(cli.COMMANDS["tasks"], run=compute)
sys.stderr = sys.stdout
sys.exit(cli.main(["tasks"]))
"""


@pytest.mark.parametrize(
    ("script", "first", "answer"),
    [
        (IN_A_RUN, signal.SIGINT, "stopping after this step; Ctrl-C again ends at once"),
        (IN_A_RUN, signal.SIGTERM, "stopping after this step; Ctrl-C again ends at once"),
        (IN_A_COMMAND, signal.SIGINT, "lra: stopping; Ctrl-C again ends at once"),
    ],
)
def test_the_first_is_answered_and_the_second_obeyed_while_c_code_computes(script, first, answer):
    process = subprocess.Popen([sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(first)
        assert process.stdout.readline().startswith(answer)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request_and_all_is_as_before_afterwards(number):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    before, said = signal.set_wakeup_fd(writer), []
    try:
        with interruptible(said.append) as stop:
            assert not stop.is_set()
            signal.raise_signal(number)
            assert stop.wait(60)
        assert len(said) == 1
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    finally:
        assert signal.set_wakeup_fd(before) == writer
        os.close(reader)
        os.close(writer)


def test_what_a_shell_has_a_process_ignore_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(pytest.fail):
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_one_hears_nothing_and_works():
    """As in a notebook or a server."""
    stops = []

    def work() -> None:
        with heard_at_once(stops.clear), interruptible(lambda text: None) as stop:
            stops.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [stop.is_set() for stop in stops] == [False]


def test_what_ctrl_c_stopped_ends_with_130(monkeypatch, capsys):
    def run(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "tasks", dataclasses.replace(cli.COMMANDS["tasks"], run=run))
    assert cli.main(["tasks"]) == 130
    assert capsys.readouterr().err.startswith("lra: interrupted; the same command goes on or starts over")
