"""Our side of a comparison."""

from typing import Any

import numpy as np
import pytest
from flax import nnx

from lra.models.attention import VARIANTS, Shape

torch = pytest.importorskip("torch")


def built(name: str, length: int, dim: int = 12, heads: int = 3, layer: int = 0, layers: int = 1, **options) -> Any:
    """A layer of a variant."""
    variant = VARIANTS[name]
    shape = Shape(dim, dim, heads, length, layer=layer, layers=layers)
    return variant.build(shape, nnx.Rngs(0), variant.options(**options))


def tensor(x: Any) -> Any:
    """A parameter or an array, in PyTorch."""
    return torch.tensor(np.asarray(x.get_value() if isinstance(x, nnx.Variable) else x))


def weight(projection: nnx.Linear) -> Any:
    """The weight of a `torch.nn.Linear`, whose rows are the outputs."""
    return tensor(projection.kernel).T


def load(theirs: Any, weights: dict[str, Any]) -> None:
    """Sets the parameters of a module; those that are not given, as biases, are 0."""
    known = theirs.state_dict()
    assert {*weights} <= {*known}, sorted({*weights} - {*known})
    theirs.load_state_dict({name: torch.zeros_like(value) for name, value in known.items()} | weights)
    theirs.eval()


def heads_first(x: Any) -> Any:
    """[batch, length, heads, head_dim] to [batch, heads, length, head_dim], in PyTorch."""
    return tensor(x).transpose(1, 2)


def both_ways(function: Any, *xs: Any) -> Any:
    """A causal function of [batch, heads, length, ...], and the same from the end to the start, added up."""
    return function(*xs) + function(*(x.flip(2) for x in xs)).flip(2)
