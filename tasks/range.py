"""Range: name the one capital letter. From how far does it reach the first token?

A sequence is `?`, then a and b at random, one of which is replaced by a capital. The label is the capital, and only the
first token is read (encoder.pool = 'first'). The difficulty is the distance of the capital from there, in powers of
two; within one it is uniform. Whoever does not see the capital guesses: 1 of 8.

A window of radius r in n layers sees n r tokens far, and a state that forgets a share at each token about as far as its
longest memory. The other letters are two, so that a mixer which averages over all tokens need not choose among them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lra.errors import UsageError
from lra.tasks.probe import Probe
from lra.tasks.task import Difficulty, Split, Task
from lra.tasks.words import Words

FILLERS, LETTERS = 2, 8
VOCABULARY = "?abABCDEFGH"
NEAREST = 4  # tokens


@dataclass(frozen=True)
class Range(Probe):
    """The parameters of Range.

    Attributes:
      max_length: tokens of a sequence, a power of two.
    """

    max_length: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length < 2 * NEAREST or self.max_length & (self.max_length - 1) or self.max_length > 1 << 16:
            raise UsageError(f"range.max_length = {self.max_length} is not a power of two from {2 * NEAREST} to 65,536")

    @property
    def levels(self) -> tuple[int, ...]:
        """The least distance of each level; it goes up to that of the next."""
        return tuple(1 << power for power in range(NEAREST.bit_length() - 1, self.max_length.bit_length() - 1))

    @property
    def difficulty(self) -> Difficulty:
        count = len(self.levels)
        return Difficulty("tokens away", self.levels, (True,) * count, (1 / LETTERS,) * count)

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        inputs = 1 + words.below(FILLERS, (count, self.max_length)).astype(np.uint8)
        inputs[:, 0] = 0
        bins, labels = words.below(len(self.levels), count), words.below(LETTERS, count)
        least = np.asarray(self.levels)[bins]
        inputs[np.arange(count), least + words.below(least)] = 1 + FILLERS + labels
        lengths = np.full(count, self.max_length, np.int32)
        return Split(inputs, lengths, labels.astype(np.int32), bins.astype(np.uint8))


def show(ids: Int[np.ndarray, " length"]) -> str:
    return "".join(VOCABULARY[token] for token in ids.tolist())


RANGE = Task(
    name="range",
    version="2.0.0",
    summary="Name the one capital among a and b at the first token. From how far does it reach?",
    source=Range,
    classes=tuple(VOCABULARY[1 + FILLERS :]),
    vocab_size=len(VOCABULARY),
    citation="",
    licence="generated here (Apache-2.0)",
    show=show,
)
