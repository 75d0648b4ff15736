"""What the probes share. A probe is a small task that asks for one ability of a token mixer, at growing difficulty."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from lra.errors import UserError
from lra.tasks.task import Blocks, Sized, Split, Warn
from lra.tasks.words import Words
from lra.typed import kind_of

BLOCK = 4096  # examples that are drawn from one stream; part of each law


@dataclass(frozen=True)
class Probe(Sized):
    """What the parameters of the probes share. A subclass draws the examples.

    Attributes:
      train: examples of the training split.
      validation: examples of the validation split.
      test: examples of the test split; with a label for each token fewer are enough, and records stay small.
      seed: the seed of all examples.
    """

    train: int = 100_000
    validation: int = 1_000
    test: int = 2_000
    seed: int = 0

    @property
    def files(self) -> str:
        return "$^"

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        """So many examples; `trained` if they are of the training split."""
        raise UserError(f"{type(self).__name__} has no method draw, which makes the examples")

    def generate(self, workers: int = 1) -> Blocks:
        for index, (split, size) in enumerate(self.sizes.items()):
            for block, start in enumerate(range(0, size, BLOCK)):
                whole = drawn(self, self.draw(Words(self.seed, index << 32 | block), BLOCK, split == "train"))
                yield split, whole[: size - start]  # so that more examples leave the first ones as they are

    def read(self, folder: Path, workers: int, warn: Warn) -> Iterator[tuple[str, Split]]:
        raise UserError("a probe is generated and not read from files; leave out --from")


def drawn(probe: Probe, examples: Any) -> Split:
    """What a probe drew, if it is as many examples as were asked for.

    Raises:
      UserError: it is not; cut to the size of a split, it might look right.
    """
    code = inspect.unwrap(type(probe).draw).__code__
    who = f"draw ({code.co_filename}, line {code.co_firstlineno})"
    if not isinstance(examples, Split):
        raise UserError(f"{who} returned {kind_of(examples)}; it must return a Split")
    for field in fields(Split):
        array = getattr(examples, field.name)
        if array is None and field.name == "bins":
            continue
        if not isinstance(array, np.ndarray):
            raise UserError(f"{who} returned a Split whose {field.name} are {kind_of(array)}, not a NumPy array")
        if array.shape[:1] != (BLOCK,):
            raise UserError(f"{who} returned {field.name} of shape {[*array.shape]}; it was asked for {BLOCK} examples")
    return examples
