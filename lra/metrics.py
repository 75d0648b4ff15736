"""The log of a run while it trains: JSON lines, and the same numbers for TensorBoard."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from lra.errors import UserError
from lra.files import writing
from lra.leaderboard.record import CurveLine
from lra.leaderboard.strict import decode, shaped


class MetricsLog:
    """`metrics.jsonl` and TensorBoard's event files in a run's folder.

    Args:
      seeds: the seeds of the run.
      kept: the bytes of `metrics.jsonl` at the checkpoint from which the run continues. Later lines are cut off, since
        they will be written again.
      step: the step of that checkpoint.

    Raises:
      UserError: the file has fewer than `kept` bytes, or cannot be written.
    """

    def __init__(self, folder: Path, seeds: tuple[int, ...], kept: int, step: int):
        self.path = folder / "metrics.jsonl"
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "ab")
            if self.path.stat().st_size < kept:
                raise UserError(
                    f"{self.path} lacks lines that the checkpoint has; delete {folder} to begin the run anew"
                )
            self.file.truncate(kept)
            self.file.seek(kept)
            self.events = [EventFile(folder / "tensorboard" / f"seed{seed}", step) for seed in seeds]

    def write(self, step: int, **values: Any) -> None:
        """Appends a line. Lists have one value a seed. Numbers that are not finite become null."""
        line = {"step": step} | {name: finite(value) for name, value in values.items()}
        with writing(self.path):
            self.file.write(json.dumps(line).encode() + b"\n")
            self.file.flush()
            tag = values.get("split", "")
            for name, value in line.items():
                if isinstance(value, list):
                    for events, number in zip(self.events, value):
                        if number is not None:
                            events.write(f"{tag}/{name}", number, step)

    def size(self) -> int:
        """The bytes of `metrics.jsonl` so far."""
        return self.file.tell()

    def sync(self) -> None:
        """Waits until all that was written so far is on the disk. Another thread may do that."""
        with writing(self.path):
            os.fsync(self.file.fileno())
            for events in self.events:
                events.file.flush()

    def lines(self) -> list[CurveLine]:
        """All lines written so far, as in a record."""
        return [shaped(decode(line), CurveLine, str(self.path)) for line in self.path.read_bytes().splitlines()]

    def close(self) -> None:
        with writing(self.path):
            self.file.close()
            for events in self.events:
                events.file.close()


class EventFile:
    """The numbers of one seed for TensorBoard.

    tensorboardX's own SummaryWriter leaves writing to a thread. On a full disk that thread ends, and the run would wait
    for it without end.

    Args:
      step: TensorBoard hides what an earlier call wrote from this step on.
    """

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = EventsWriter(str(folder / "events"))
        self.file.write_event(Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, name: str, number: float, step: int) -> None:
        """Adds a number under a name."""
        self.file.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, number)))


def finite(value: Any) -> Any:
    """The value with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
