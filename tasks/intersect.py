"""Intersect: which symbols do two sets share? How much can a model carry from one place to others?

The first half of a sequence lists a set of n symbols, the second half another, in tokens of its own. They share half
of their symbols. The label of a token is whether the other set has its symbol, and its difficulty is n. A token alone
says nothing: a guess is right half of the time.

Between both halves n log(symbols / n) bits and more have to pass, in either direction. Softmax attention compares
each token with all others. A state of fixed size must fail if n is large.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lra.errors import UsageError
from lra.tasks.probe import Probe
from lra.tasks.task import Difficulty, Split, Task
from lra.tasks.words import Words

SYMBOLS = 120
EMPTY = 0  # the token of a place that a small set leaves; 1 to SYMBOLS are of the first set, then those of the second


@dataclass(frozen=True)
class Intersect(Probe):
    """The parameters of Intersect.

    Attributes:
      items: the numbers of symbols that a set may have, ascending and even; each is as frequent as the others.
    """

    items: tuple[int, ...] = (4, 8, 16, 32)
    test: int = 500

    def __post_init__(self) -> None:
        low, most = 2, SYMBOLS * 2 // 3
        fine = all(isinstance(n, int) and low <= n <= most and n % 2 == 0 for n in self.items)
        if not self.items or not fine or sorted({*self.items}) != [*self.items]:
            raise UsageError(f"intersect.items = {self.items} are not even numbers from {low} to {most}, ascending")
        super().__post_init__()

    @property
    def max_length(self) -> int:
        return 2 * self.items[-1]

    @property
    def difficulty(self) -> Difficulty:
        return Difficulty("symbols in a set", self.items, (True,) * len(self.items), (0.5,) * len(self.items))

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        most = self.items[-1]
        bins = words.below(len(self.items), count)
        n = np.asarray(self.items)[bins][:, None]
        # of a permutation of all symbols, the first set has the first n, the second those from n / 2 on
        symbols, place = words.permutations(count, SYMBOLS), np.arange(most)
        inputs = np.full((count, 2, most), EMPTY, np.uint8)
        labels = np.full((count, 2, most), -1, np.int32)
        for half in (0, 1):
            # an order of the n items: those of a permutation of all places that are below n, moved to the front
            orders = words.permutations(count, most)
            item = np.take_along_axis(orders, np.argsort(orders >= n, 1, kind="stable"), 1)
            there = place < n
            chosen = np.take_along_axis(symbols, np.where(there, item + half * (n // 2), 0), 1)
            inputs[:, half] = np.where(there, 1 + SYMBOLS * half + chosen, EMPTY)
            shared = item < n // 2 if half else item >= n // 2
            labels[:, half] = np.where(there, shared, -1)
        difficulty = np.broadcast_to(bins[:, None].astype(np.uint8), (count, 2 * most))
        lengths = np.full(count, 2 * most, np.int32)
        return Split(inputs.reshape(count, -1), lengths, labels.reshape(count, -1), difficulty)


def show(ids: Int[np.ndarray, " length"]) -> str:
    halves = [half[half != EMPTY].tolist() for half in np.split(ids, 2)]
    return " | ".join(" ".join(f"{(token - 1) % SYMBOLS}" for token in half) for half in halves)


INTERSECT = Task(
    name="intersect",
    version="1.0.0",
    summary="Say of each symbol of two sets whether the other has it too. How much is carried from token to token?",
    source=Intersect,
    classes=("apart", "shared"),
    vocab_size=1 + 2 * SYMBOLS,
    citation="",
    licence="generated here (Apache-2.0)",
    show=show,
    per_token=True,
)
