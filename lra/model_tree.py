"""What a model is made of: how many trainable numbers, and a digest of its tree of names, shapes and types."""

import dataclasses
import math

import jax
from flax import nnx

from lra.files import sha256_text


@dataclasses.dataclass(frozen=True)
class ModelTree:
    """What is counted on a model's variables.

    Attributes:
      parameters: trainable numbers of one seed.
      sha256: of one line a variable, sorted: "param" or "buffer", its path, shape and type.
    """

    parameters: int
    sha256: str


def model_tree(params: nnx.State, buffers: nnx.State, seed_axis: bool = False) -> ModelTree:
    """The tree of a model's trained and untrained variables, arrays or their shapes.

    Args:
      seed_axis: whether the arrays have an axis of seeds in front, which does not count.
    """
    total = 0
    lines = []
    for kind, state in (("param", params), ("buffer", buffers)):
        for path, variable in nnx.to_flat_state(state):
            for leaf in jax.tree.leaves(variable):
                shape = tuple(leaf.shape[1:] if seed_axis else leaf.shape)
                total += math.prod(shape) * (kind == "param")
                lines.append(f"{kind} {'.'.join(map(str, path))} {list(shape)} {leaf.dtype}\n")
    return ModelTree(total, sha256_text("".join(sorted(lines))))
