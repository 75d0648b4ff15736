"""The evaluation of whole splits. Examples are sorted by length, so that little of what is computed is padding."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from lra import feed, memory
from lra.order import lengths_of, padded_sizes, padded_to
from lra.placement import DATA, SEED, Placement
from lra.tasks import Split
from lra.train import Answers, StepFunctions, accuracy_of

DISPATCH_SECONDS = 1.0  # the target of a dispatch, so that progress is shown and Ctrl-C is heard


class Scored(NamedTuple):
    """The answers of all seeds on a split, with what they are worth.

    Attributes:
      loss: the mean loss of each seed in nats.
      accuracy: the share of right answers of each seed.
      prediction: the predicted classes; -1 for a token without a label.
    """

    loss: list[float]
    accuracy: list[float]
    prediction: Int[np.ndarray, "seeds examples *tokens"]


class Evaluator:
    """Evaluates splits. A batch is padded to one of a few sizes, for each of which there is one program.

    Args:
      splits: those that are evaluated, by name.
      seeds: the number of seeds.
      batch: the most examples of a seed in a batch.
    """

    def __init__(
        self, functions: StepFunctions, splits: Mapping[str, Split], seeds: int, batch: int, placement: Placement
    ):
        self.functions, self.splits, self.seeds, self.placement = functions, splits, seeds, placement
        self.lengths = {name: lengths_of(split) for name, split in splits.items()}
        longest = next(iter(splits.values())).inputs.shape[-1]
        self.sizes = padded_sizes(np.concatenate([*self.lengths.values()]), longest)
        self.batch = self.admitted(min(batch, max(map(len, splits.values()))))
        self.programs: dict[int, Any] = {}  # by size

    def admitted(self, batch: int) -> int:
        """The number of examples next to `batch` that the devices of the mesh share evenly."""
        share = self.placement.sizes[DATA]
        return max(batch // share, 1) * share

    def compile(self, params: Any, buffers: Any, most: int | None = None) -> int:
        """Compiles the programs; returns the bytes that the largest takes on a device, beside parameters and buffers.

        Args:
          params, buffers: those of the seeds.
          most: what it may take. Batches are halved until it does.
        """
        longest, *shorter = reversed(self.sizes)
        while True:
            self.programs = {longest: self.program(longest, params, buffers)}
            takes = memory.need(self.programs[longest]).total - self.placement.bytes_of((params, buffers))
            if most is None or takes <= most or self.admitted(self.batch // 2) == self.batch:
                break
            self.batch = self.admitted(self.batch // 2)
        self.programs |= {size: self.program(size, params, buffers) for size in shorter}
        return takes

    def program(self, size: int, params: Any, buffers: Any) -> Any:
        """The compiled evaluation of batches that are padded to a size."""
        some, where = next(iter(self.splits.values())), self.placement.at(None, DATA)

        def batched(column: np.ndarray) -> jax.ShapeDtypeStruct:
            shape = self.batches(size), self.batch, *column.shape[1:]
            return jax.ShapeDtypeStruct(shape, column.dtype, sharding=where)

        batches = jax.tree.map(batched, some.cut(size))
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        evaluate = jax.jit(self.functions.evaluate, donate_argnums=5, out_shardings=self.placement.at(SEED))
        return evaluate.lower(params, buffers, batches, scalar, scalar, self.unanswered(size)).compile()

    def batches(self, size: int) -> int:
        """The number of batches that are on the devices together."""
        split = next(iter(self.splits.values()))
        of_batch = self.batch * (feed.size(split[:1]) - split.inputs[:1, ..., size:].nbytes)
        most = max(np.count_nonzero(self.padded(name) == size) for name in self.splits)
        return int(np.clip(feed.PIECE // of_batch, 1, -(-most // self.batch)))

    def padded(self, name: str) -> Int[np.ndarray, " examples"]:
        """The size to which each example of a split is padded."""
        return padded_to(self.sizes, self.lengths[name])

    def unanswered(self, size: int) -> Answers:
        """Answers that are to be filled in."""
        shape = self.seeds, self.batches(size), self.batch
        tokens = next(iter(self.splits.values())).cut(size).labels.shape[1:]
        return self.placement.put(Answers(jnp.zeros(shape), jnp.zeros((*shape, *tokens), jnp.int32)), SEED)

    def __call__(
        self, name: str, params: Any, buffers: Any, heed: Callable[[], None], advance: Callable[[int], None]
    ) -> Scored:
        """The answers of each seed to all examples of a split.

        Args:
          heed: is called before each dispatch; it may raise.
          advance: is called with the number of examples that were evaluated.
        """
        split, padded = self.splits[name], self.padded(name)
        losses = np.empty((self.seeds, len(split)))
        predictions = np.full((self.seeds, *split.labels.shape), -1, np.int32)
        for size in self.sizes:
            rows, piece = np.flatnonzero(padded == size), self.batches(size) * self.batch
            for start in range(0, len(rows), piece):
                own = rows[start : start + piece]
                answers = self.answers(split, own, size, params, buffers, heed, advance)
                loss, prediction = (
                    np.asarray(column).reshape(self.seeds, piece, *column.shape[3:])[:, : len(own)]
                    for column in answers
                )
                losses[:, own] = loss
                if split.labels.ndim == 1:
                    predictions[:, own] = prediction
                else:
                    predictions[:, own, :size] = np.where(split.labels[own, :size] < 0, -1, prediction)
        return Scored(losses.mean(1).tolist(), accuracy_of(predictions, split.labels), predictions)

    def answers(
        self, split: Split, rows: Int[np.ndarray, " some"], size: int, params: Any, buffers: Any,
        heed: Callable[[], None], advance: Callable[[int], None],
    ) -> Answers:  # fmt: skip
        """The answers to some examples, no more than the program of their size takes."""
        count, evaluate = -(-len(rows) // self.batch), self.programs[size]
        # the last batch is filled up with the last example; the batches behind it are not evaluated
        places = np.minimum(np.arange(self.batches(size) * self.batch), len(rows) - 1)
        part = feed.gather(split, rows[places].reshape(-1, self.batch))
        part = self.placement.put(part.cut(size), None, DATA)
        answers, done, per_second = self.unanswered(size), 0, 0.0
        while done < count:
            heed()
            began = time.monotonic()
            many = min(count - done, max(1, int(DISPATCH_SECONDS * per_second)))
            answers = evaluate(params, buffers, part, jnp.int32(done), jnp.int32(many), answers)
            jax.block_until_ready(answers)
            per_second = many / max(time.monotonic() - began, 1e-6)
            done += many
            advance(min(done * self.batch, len(rows)) - (done - many) * self.batch)
        return answers
