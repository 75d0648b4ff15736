"""The log of a run while it trains: JSON lines, and the same numbers for TensorBoard."""

import json
import math
import os
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

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
      UserError: the file has fewer than `kept` bytes.
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
            self.writers = [
                SummaryWriter(str(folder / "tensorboard" / f"seed{seed}"), purge_step=step) for seed in seeds
            ]

    def write(self, step: int, **values: Any) -> None:
        """Appends a line. Lists have one value a seed. Numbers that are not finite become null."""
        line = {"step": step} | {name: finite(value) for name, value in values.items()}
        with writing(self.path):
            self.file.write(json.dumps(line).encode() + b"\n")
            self.file.flush()
            tag = values.get("split", "")
            for name, value in line.items():
                if isinstance(value, list):
                    for writer, number in zip(self.writers, value):
                        if number is not None:
                            writer.add_scalar(f"{tag}/{name}", number, step)

    def size(self) -> int:
        """The bytes written so far. They are on the disk when this returns."""
        with writing(self.path):
            os.fsync(self.file.fileno())
        return self.file.tell()

    def lines(self) -> list[CurveLine]:
        """All lines written so far, as in a record."""
        return [shaped(decode(line), CurveLine, str(self.path)) for line in self.path.read_bytes().splitlines()]

    def close(self) -> None:
        self.file.close()
        for writer in self.writers:
            writer.close()


def finite(value: Any) -> Any:
    """The value with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
