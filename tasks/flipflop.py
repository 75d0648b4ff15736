"""Flipflop: which capital letter was the last before a token? Does a model keep the newest and forget the rest?

A sequence is of different capitals, each of which is followed by a run of lower-case letters that mean nothing. The
label of a lower-case letter is the last capital before it, and its difficulty the distance from there, in powers of
two. Each sequence has a run for each level, just long enough for it, in a random order; what is left of the length is
lower-case letters before the first capital, without labels. Whoever knows the capitals but not their order guesses: 1
of as many as there are levels.

It is the flip-flop language of Liu et al. 2023 ("Exposing Attention Glitches with Flip-Flop Language Modeling",
https://arxiv.org/abs/2306.00946), with one token for an instruction and its value, and a read at each token. A
state that a token can overwrite solves it at any distance. Attention has to weigh order against distance. Fixed filters
add what was written before.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lra.errors import UsageError
from lra.tasks.probe import Probe
from lra.tasks.task import Difficulty, Split, Task
from lra.tasks.words import Words

LETTERS = 8
LONGEST = 4 << LETTERS - 1  # tokens; a longer sequence would have more levels than there are capitals
VOCABULARY = "abcdefghABCDEFGH"


@dataclass(frozen=True)
class Flipflop(Probe):
    """The parameters of Flipflop.

    Attributes:
      max_length: tokens of a sequence, a power of two.
    """

    max_length: int = 64
    test: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 8 <= self.max_length <= LONGEST or self.max_length & (self.max_length - 1):
            raise UsageError(f"flipflop.max_length = {self.max_length} is not a power of two from 8 to {LONGEST}")

    @property
    def levels(self) -> tuple[int, ...]:
        """The least distance of each level; it goes up to that of the next."""
        return tuple(1 << power for power in range(self.max_length.bit_length() - 2))

    @property
    def difficulty(self) -> Difficulty:
        count = len(self.levels)
        return Difficulty("tokens ago", self.levels, (True,) * count, (1 / count,) * count)

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        levels = np.asarray(self.levels)
        least = levels[words.permutations(count, len(levels))]
        sizes = 1 + least + words.below(least)  # of each run with its capital
        heads = self.max_length - np.cumsum(sizes[:, ::-1], 1)[:, ::-1]  # the places of the capitals
        rows = np.arange(count)[:, None]
        inputs = words.below(LETTERS, (count, self.max_length))
        inputs[rows, heads] = LETTERS + words.permutations(count, LETTERS)[:, : len(levels)]
        # of each token the place of the last capital, -1 before the first one
        place = np.full((count, self.max_length), -1)
        place[rows, heads] = heads
        place = np.maximum.accumulate(place, 1)
        distance = np.arange(self.max_length) - place
        has_label = (place >= 0) & (distance > 0)
        labels = np.where(has_label, inputs[rows, place] - LETTERS, -1)
        bins = np.where(has_label, np.log2(np.maximum(distance, 1)), 0)
        lengths = np.full(count, self.max_length, np.int32)
        return Split(inputs.astype(np.uint8), lengths, labels.astype(np.int32), bins.astype(np.uint8))


def show(ids: Int[np.ndarray, " length"]) -> str:
    return "".join(VOCABULARY[token] for token in ids.tolist())


FLIPFLOP = Task(
    name="flipflop",
    version="1.0.0",
    summary="Name the last capital before each lower-case letter. Does the newest replace what was there?",
    source=Flipflop,
    classes=tuple(VOCABULARY[LETTERS:]),
    vocab_size=len(VOCABULARY),
    citation="",
    licence="generated here (Apache-2.0)",
    show=show,
    per_token=True,
)
