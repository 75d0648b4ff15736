"""Runs the proof in processes of its own, which may crash or hang: what ends one is left out, and another goes on."""

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from lra.proof.verdict import Proof, Verdict, verdict_of
from lra.proof.worker import Trial

MINUTE = 60.0  # seconds that the ops of a run may take
LOOK = 0.5  # seconds after which it is looked whether to stop
PATIENCE = 20.0  # seconds for one thing that a process does: to start, to compile and run an implementation, to time it


class Process:
    """A process that proves trials, and what it has said."""

    def __init__(self, trials: Sequence[tuple[int, Trial]], platform: str):
        reader, writer = os.pipe()
        program = f"import sys; sys.path[:] = {sys.path!r}; from lra.proof.worker import main; main({writer})"
        # a GPU whose memory this process holds would have none left
        variables = {"JAX_PLATFORMS": {"gpu": "cuda"}.get(platform, platform), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self.errors: IO[bytes] = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=self.errors, stderr=self.errors,
            pass_fds=(writer,), start_new_session=True, env=os.environ | variables,
        )  # fmt: skip
        os.close(writer)
        self.lines, self.reader = b"", reader
        assert self.process.stdin
        try:
            self.process.stdin.write(pickle.dumps(trials))
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; `event` says so

    def event(self, until: float, stop: threading.Event) -> dict[str, Any] | None:
        """What it says next; None if it has ended.

        Raises:
          TimeoutError: it says nothing until then, on the monotonic clock, or `stop` is set.
        """
        while b"\n" not in self.lines:
            left = until - time.monotonic()
            if left <= 0 or stop.is_set():
                raise TimeoutError
            if not select.select([self.reader], [], [], min(left, LOOK))[0]:
                continue
            if not (more := os.read(self.reader, 1 << 16)):
                return None
            self.lines += more
        line, self.lines = self.lines.split(b"\n", 1)
        return json.loads(line)

    def end(self, hangs: bool) -> str:
        """Ends the process with all that it has started.

        Returns:
          how it had ended by itself, in words; empty if it had not.
        """
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(0 if hangs else PATIENCE)  # one that has closed its pipe is about to end
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.reader)
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").split("\n")
        self.errors.close()
        words = next((line.strip() for line in reversed(last) if line.strip()), "")
        if code is None:
            return ""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{how}{f': {words:.160}' if words else ''}"


def supervise(
    trials: Sequence[Trial],
    platform: str,
    found: Callable[[int, Proof], None],
    stop: threading.Event,
    limit: float = MINUTE,
    patience: float = PATIENCE,
) -> str:
    """Proves trials one after the other. Returns why some could not be proven, in words; empty if all were.

    An implementation during which the process ends, or that takes longer than `patience`, is left out, and a new
    process goes on without it.

    Args:
      platform: that of the device.
      found: is told each proof when it is there, with the number of its trial.
      stop: once set, the proof ends.
      limit, patience: seconds for all, and for one thing.
    """
    end = time.monotonic() + limit
    verdicts: dict[int, dict[str, Verdict]] = {number: {} for number in range(len(trials))}
    undone = dict(enumerate(trials))
    problems: list[str] = []
    while undone:
        left = [
            (number, (call, [name for name in names if name not in verdicts[number]]))
            for number, (call, names) in undone.items()
        ]
        process, number, doing, gone = Process(left, platform), -1, "", ""
        try:
            while (event := process.event(min(end, time.monotonic() + patience), stop)) and "done" not in event:
                if "ready" in event:
                    doing = "xla"
                    continue
                number = event["call"]
                call = undone[number][0]
                if "doing" in event:
                    doing = event["doing"]
                elif "verdict" in event:
                    verdict = verdict_of(event["verdict"])
                    verdicts[number][verdict.implementation] = verdict
                else:
                    if "unprovable" in event:
                        problems.append(f"XLA itself cannot run {call.words} ({event['unprovable']})")
                    else:
                        found(number, Proof(call.words, tuple(verdicts[number].values())))
                    del undone[number]
            if not event:
                gone = "ended its process"
        except TimeoutError:
            gone = f"took more than {patience:.0f} s"
        except BaseException:
            process.end(hangs=True)
            raise
        how = process.end(hangs=gone.startswith("took"))
        if not gone:
            break
        if stop.is_set():
            problems.append("it was stopped")
            break
        if time.monotonic() >= end:
            problems.append(f"the {limit:.0f} s for it were over")
            break
        if how:
            gone = f"ended its process ({how})"
        if not doing:
            problems.append(f"its process could not run here ({how or gone})")
            break
        if doing == "xla":
            problems.append(f"XLA itself {gone}")
            undone.pop(number, None)
            if number < 0:
                break
        else:
            verdicts[number][doing] = Verdict(doing, reason=gone)
    return "; ".join(problems)
