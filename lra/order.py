"""The order of the training examples, and to how many tokens batches are padded. Both are laws: (seed, epoch) decides.

Without a window, batches are consecutive pieces of shuffled epochs. A batch may span two epochs. With a window, the
batches that lie in one epoch are made of examples of about one length:

1. The epoch is shuffled, as without a window.
2. It is cut into windows of `window` batches, the last of which may have fewer.
3. Each window is sorted by length and cut into batches.
4. The batches of the epoch are shuffled. This shuffle depends on the epoch alone, so that the seeds of a run, which
   train together, have batches of about one length at each step.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from lra.tasks import Split

UNIT = 64  # a batch is padded to a multiple of so many tokens, or to the longest example
MOST_SIZES = 6  # each size is a program to compile
LEAST_SAVING = 0.03  # of the tokens, for which a size more is worth its compilation
BATCHES = 1 << 32  # the second part of the key that shuffles batches; seeds are smaller


def lengths_of(split: Split) -> Int[np.ndarray, " examples"]:
    """The length of each example in tokens; that of its longest document if it has several."""
    lengths = np.asarray(split.lengths)
    return lengths if lengths.ndim == 1 else lengths.max(1)


class Order:
    """The batches of all seeds.

    Args:
      lengths: of the examples, in tokens.
      batch: examples in a batch.
      window: batches in a window; None for batches without regard to lengths.
    """

    def __init__(self, lengths: Int[np.ndarray, " examples"], batch: int, window: int | None = None):
        self.lengths, self.batch, self.window = lengths, batch, window
        self.epoch = lru_cache(maxsize=64)(self.order_of_epoch)

    def rows(self, seed: int, step: int) -> Int[np.ndarray, " batch"]:
        """The positions of the examples of a seed's batch at a step."""
        examples = len(self.lengths)
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        rows = np.empty(self.batch, np.int32)
        for epoch in np.unique(places // examples):
            inside = places // examples == epoch
            rows[inside] = self.epoch(seed, int(epoch))[places[inside] % examples]
        return rows

    def order_of_epoch(self, seed: int, epoch: int) -> Int[np.ndarray, " examples"]:
        """The order of the examples in an epoch of a seed."""
        examples = len(self.lengths)
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples).astype(np.int32)
        if self.window is None:
            return order
        first = min(-epoch * examples % self.batch, examples)  # these end the batch that the last epoch began
        batches = (examples - first) // self.batch
        inside = order[first : first + batches * self.batch]
        for start in range(0, len(inside), self.window * self.batch):
            part = inside[start : start + self.window * self.batch]
            part[:] = part[np.argsort(self.lengths[part], kind="stable")]
        shuffled = np.random.Generator(np.random.Philox(key=[BATCHES, epoch])).permutation(batches)
        inside[:] = inside.reshape(batches, self.batch)[shuffled].ravel()
        return order


def padded_sizes(lengths: Int[np.ndarray, " groups"], longest: int) -> tuple[int, ...]:
    """The sizes to which groups of examples are padded, ascending. Each group gets the smallest that is long enough.

    They are those of at most MOST_SIZES that leave the fewest tokens; fewer if that costs less than LEAST_SAVING.

    >>> padded_sizes(np.array([100, 120, 500, 1000]), longest=1000)
    (128, 512, 1000)

    Args:
      lengths: the length of the longest example of each group.
      longest: tokens in the longest sequence possible.
    """
    ends = np.unique(np.minimum(-(-np.maximum(lengths, 1) // UNIT) * UNIT, longest))
    counts = np.cumsum(np.histogram(lengths, np.append(-1, ends) + 0.5)[0])  # groups up to each end
    chosen: tuple[int, ...] = (int(ends[-1]),)
    best: dict[int, tuple[float, tuple[int, ...]]] = {
        place: (float(counts[place] * ends[place]), (int(ends[place]),)) for place in range(len(ends))
    }  # the fewest tokens of all groups up to an end, and the sizes
    tokens = best[len(ends) - 1][0]
    for _ in range(MOST_SIZES - 1):
        best = {
            place: min(
                (best[before][0] + (counts[place] - counts[before]) * ends[place], (*best[before][1], int(ends[place])))
                for before in best if before < place
            )
            for place in range(len(ends)) if any(before < place for before in best)
        }  # fmt: skip
        fewest = best.get(len(ends) - 1, (np.inf, ()))
        if fewest[0] > (1 - LEAST_SAVING) * tokens:
            break
        tokens, chosen = fewest
    return chosen


def padded_to(sizes: Sequence[int], lengths: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The smallest size that is long enough for each length."""
    return np.asarray(sizes)[np.searchsorted(sizes, lengths)]
