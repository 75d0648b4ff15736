"""The parameter count of a model, and a hash of the names, shapes and types of its variables."""

import dataclasses
import math

import jax
from flax import nnx

from lra.files import sha256_text


@dataclasses.dataclass(frozen=True)
class ModelTree:
    """What identifies the architecture of a model.

    Attributes:
      parameters: the parameter count of one seed: trainable numbers.
      sha256: the hash of sorted lines, one a variable: "param" or "buffer", path, shape and type.
    """

    parameters: int
    sha256: str


def model_tree(params: nnx.State, buffers: nnx.State, seed_axis: bool = False) -> ModelTree:
    """The model tree of a model's trainable parameters and its other variables.

    Args:
      params, buffers: states of arrays, or of their shapes and types.
      seed_axis: whether the arrays have a leading axis of seeds, which is ignored.
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
