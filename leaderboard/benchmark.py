"""The file that `lra bench variants` leaves, and what follows from it: how each variant's cost grows, and from which
length it beats the Transformer."""

import dataclasses
import math
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from lra.errors import UserError
from lra.files import visible
from lra.leaderboard.scaling import Crossing, Fit, Versus, crossing, fit
from lra.leaderboard.strict import Number, WholeNumber, decode, shaped

NAME = "bench-variants"  # files are NAME*.json, so that those of several machines can lie side by side
REFERENCE, PLAIN = "transformer", "transformer (plain)"
DIRECTIONS = ("training", "inference")
MEMORY, TIME, REFUSED = "memory", "time", "refused"  # why no longer length is tried
ALIKE = 0.01  # the share by which memory must differ


class Measurement(msgspec.Struct, frozen=True):
    """What one direction of a variant costs at one length. A number is None where it was not measured.

    Attributes:
      batch: the examples of a step.
      spread: half the range of the rounds, as a share of the time.
      speed: the time of the Transformer with fused attention as a multiple of the variant's.
      megabytes: of a step, by the compiler.
      kernels: the implementation of each op that ran.
      cost, memory: how the variant declares that time and memory grow.
      end: why it was not measured, and longer lengths are not tried: MEMORY, TIME or REFUSED.
      error: the same in words.
    """

    variant: str
    length: WholeNumber
    direction: Literal["training", "inference"]
    batch: WholeNumber = 1
    steps_per_second: Number | None = None
    spread: Number = 0.0
    speed: Number | None = None
    speed_spread: Number = 0.0
    megabytes: Number | None = None
    compile_seconds: Number | None = None
    clock_mhz: Number | None = None
    kernels: tuple[str, ...] = ()
    cost: str = ""
    memory: str = ""
    end: Literal["memory", "time", "refused"] | None = None
    error: str | None = None

    @property
    def examples_per_second(self) -> float | None:
        return None if self.steps_per_second is None else self.batch * self.steps_per_second

    @property
    def tokens_per_second(self) -> float | None:
        return None if self.examples_per_second is None else self.length * self.examples_per_second


class File(msgspec.Struct, frozen=True):
    """What a file of `lra bench variants` has."""

    hardware: dict[str, Any]
    settings: dict[str, Any]
    rows: tuple[Measurement, ...]


@dataclasses.dataclass(frozen=True)
class Course:
    """One direction of a variant over all lengths.

    Attributes:
      points: what was measured, by length.
      end: the row that says where and why it ended; None if it has not.
    """

    variant: str
    direction: str
    cost: str
    memory: str
    points: tuple[Measurement, ...]
    end: Measurement | None

    @cached_property
    def time_fit(self) -> Fit | None:
        """The power of the length in the seconds of an example."""
        own = [(one.length, 1 / one.examples_per_second) for one in self.points if one.examples_per_second]
        return fit(*zip(*own)) if own else None

    @cached_property
    def memory_fit(self) -> Fit | None:
        """The power of the length in the bytes of an example."""
        own = [(one.length, one.megabytes / one.batch) for one in self.points if one.megabytes]
        return fit(*zip(*own)) if own else None

    def faster(self, reference: "Course") -> tuple[Crossing, int]:
        """From which length on it is faster than a reference, and the longest length at which this is known."""
        against = [
            Versus(own.length, own.speed, own.speed * own.speed_spread) for own in self.points if own.speed is not None
        ]
        against += self.alone(reference, (MEMORY, TIME))
        return crossing(against), max((one.length for one in against), default=0)

    def smaller(self, reference: "Course") -> tuple[Crossing, int]:
        """From which length on it takes less memory than a reference, and the longest at which this is known."""
        others = {one.length: one.megabytes for one in reference.points if one.megabytes}
        against = [
            Versus(own.length, others[own.length] / own.megabytes, ALIKE)
            for own in self.points
            if own.megabytes and own.length in others
        ]
        against += self.alone(reference, (MEMORY,))
        return crossing(against), max((one.length for one in against), default=0)

    def alone(self, reference: "Course", ends: tuple[str, ...]) -> list[Versus]:
        """The lengths at which only one of the two was measured, since the other had ended for one of some reasons."""
        made = []
        for one, other, ratio in ((self, reference, math.inf), (reference, self, 0.0)):
            if other.end and other.end.end in ends:
                made += [Versus(own.length, ratio) for own in one.points if own.length >= other.end.length]
        return made


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What `lra bench variants` has measured on one machine.

    Attributes:
      name: a short name for links: letters, digits and hyphens.
    """

    name: str
    hardware: dict[str, Any]
    settings: dict[str, Any]
    rows: tuple[Measurement, ...]

    @cached_property
    def lengths(self) -> list[int]:
        return sorted({row.length for row in self.rows if not row.end})

    def courses(self, direction: str) -> list[Course]:
        """One direction of all variants, in the order of the file."""
        made = []
        for name in dict.fromkeys(row.variant for row in self.rows if row.direction == direction):
            own = sorted(
                (row for row in self.rows if (row.variant, row.direction) == (name, direction)),
                key=lambda row: row.length,
            )
            points = tuple(row for row in own if not row.end)
            end = next((row for row in own if row.end), None)
            made.append(Course(name, direction, own[0].cost, own[0].memory, points, end))
        return made


def read(path: Path, name: str = NAME) -> Benchmark:
    """Reads a file of `lra bench variants`.

    Raises:
      UserError: it is none.
    """
    try:
        file = shaped(decode(path.read_bytes()), File, "the file")
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} is no file of 'lra bench variants' ({error}); move it away") from error
    return Benchmark(name, file.hardware, file.settings, file.rows)


def find(folders: list[Path]) -> list[Benchmark]:
    """The benchmarks in some folders.

    Raises:
      UserError: a file with such a name is none.
    """
    paths = [path for folder in folders for path in sorted(visible(folder.glob(f"{NAME}*.json")))]
    return [read(path, NAME if place == 1 else f"{NAME}-{place}") for place, path in enumerate(paths, 1)]
