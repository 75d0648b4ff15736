"""A toy task for the tests of prepared tasks, and a look at its folder."""

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from lra.errors import UserError
from lra.tasks import Split
from lra.tasks.listops import LISTOPS
from lra.tasks.prepared import Prepared
from lra.tasks.task import Sized

SPAWN = multiprocessing.get_context("spawn")
COLUMNS = ("inputs", "lengths", "labels")
FILES = {f"{split}.{column}.npy" for split in ("train", "validation", "test") for column in COLUMNS}
BLOCK = 9


@dataclasses.dataclass(frozen=True)
class Toy(Sized):
    """A source of random rows in blocks that do not end where the splits do; `before` is called before each block."""

    before: ClassVar[Callable[[int], None]] = staticmethod(lambda block: None)

    max_length: int = 5
    train: int = 60
    validation: int = 31
    test: int = 22
    seed: int = 0

    @property
    def files(self) -> str:
        return r"(^|/)rows$"

    def rows(self) -> dict[str, Split]:
        rng = np.random.default_rng(self.seed)
        splits = {}
        for split, size in self.sizes.items():
            labels = np.minimum(rng.geometric(0.4, size) - 1, 4).astype(np.int32)
            lengths = rng.integers(1, self.max_length + 1, size, np.int32)
            splits[split] = Split(rng.integers(0, 17, (size, self.max_length), np.uint8), lengths, labels)
        return splits

    def generate(self, workers: int = 1) -> Iterator[tuple[str, Split]]:
        blocks = ((name, rows[i : i + BLOCK]) for name, rows in self.rows().items() for i in range(0, len(rows), BLOCK))
        for index, block in enumerate(blocks):
            self.before(index)
            yield block

    def read(self, folder: Path, workers: int, warn: Callable[[str], None]) -> Iterator[tuple[str, Split]]:
        """The same rows, if the folder has a file."""
        if not (folder / "rows").exists():
            raise UserError(f"{folder / 'rows'} is not there")
        return self.generate(workers)


TOY = dataclasses.replace(LISTOPS, name="toy", version="3.2.1", source=Toy)
SOURCE = Toy(seed=1)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(folder: Path) -> set[str]:
    """What lies beside a prepared task, except the lock, which stays."""
    there = {path.name for path in folder.parent.iterdir()} if folder.parent.exists() else set()
    return there - {f".{folder.name}.lock", folder.name}


def assert_rows(data: Prepared, expected: dict[str, Split]) -> None:
    assert list(data.splits) == list(expected)
    for split, rows in expected.items():
        for column in COLUMNS:
            values = getattr(data.splits[split], column)
            assert values.dtype == getattr(rows, column).dtype
            np.testing.assert_array_equal(values, getattr(rows, column))
