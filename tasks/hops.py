"""Hops: follow pointers from cell to cell. How many steps can a model compose?

A sequence is a memory of cells. A random permutation splits the cells into chains of equal length. Each cell of a chain
holds the position of the next one; the last cell holds a symbol, which no other chain has. The label of a cell is the
symbol at the end of its chain, and its difficulty the number of hops to there. The training split has labels up to
`trained` hops, the others have all. All chains are alike, so that whoever does not follow them guesses: 1 of `chains`.

A layer of attention follows one hop. Two layers reach three hops, if the first makes each cell point two cells on;
n layers reach 2^n - 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lra.errors import UsageError
from lra.tasks.probe import Probe
from lra.tasks.task import Difficulty, Split, Task
from lra.tasks.words import Words

MOST_CELLS = 128
SYMBOLS = "ABCDEFGH"  # their tokens come after those of the cells


@dataclass(frozen=True)
class Hops(Probe):
    """The parameters of Hops.

    Attributes:
      cells: tokens of a sequence.
      chains: chains of a sequence; they divide the cells.
      trained: the most hops of a label in the training split.
    """

    cells: int = 32
    chains: int = 4
    trained: int = 3
    test: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.chains <= len(SYMBOLS) or self.cells % self.chains or not 1 < self.cells <= MOST_CELLS:
            raise UsageError(
                f"hops.cells = {self.cells} and hops.chains = {self.chains}: at most {MOST_CELLS} cells, in 1 to "
                f"{len(SYMBOLS)} chains of one length"
            )
        if not 0 <= self.trained < self.cells // self.chains:
            raise UsageError(f"hops.trained = {self.trained} is not a number of hops, 0 to {len(self.levels) - 1}")

    @property
    def max_length(self) -> int:
        return self.cells

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(range(self.cells // self.chains))

    @property
    def difficulty(self) -> Difficulty:
        floor = tuple(1.0 if hops == 0 else 1 / self.chains for hops in self.levels)
        return Difficulty("hops", self.levels, tuple(hops <= self.trained for hops in self.levels), floor)

    def draw(self, words: Words, count: int, trained: bool) -> Split:
        shape = count, self.chains, len(self.levels)
        cells = words.permutations(count, self.cells).reshape(shape)  # of each chain, from its beginning
        symbols = words.permutations(count, len(SYMBOLS))[:, : self.chains, None]
        rows = np.arange(count)[:, None, None]
        inputs = np.empty((count, self.cells), np.uint8)
        inputs[rows, cells] = np.concatenate([cells[..., 1:], MOST_CELLS + symbols], -1)
        hops, labels = np.empty((2, count, self.cells), np.int32)
        hops[rows, cells] = np.broadcast_to(self.levels[::-1], shape)
        labels[rows, cells] = np.broadcast_to(symbols, shape)
        if trained:
            labels[hops > self.trained] = -1
        return Split(inputs, np.full(count, self.cells, np.int32), labels, hops.astype(np.uint8))


def show(ids: Int[np.ndarray, " length"]) -> str:
    cells = [SYMBOLS[token - MOST_CELLS] if token >= MOST_CELLS else f"{token}" for token in ids.tolist()]
    return " ".join(f"{place}:{cell}" for place, cell in enumerate(cells))


HOPS = Task(
    name="hops",
    version="1.0.0",
    summary="Follow pointers from cell to cell and name the symbol at the end. How many steps are composed?",
    source=Hops,
    classes=tuple(SYMBOLS),
    vocab_size=MOST_CELLS + len(SYMBOLS),
    citation="",
    licence="generated here (Apache-2.0)",
    show=show,
    per_token=True,
)
