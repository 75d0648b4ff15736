"""Helpers for the tests of single variants."""

from collections.abc import Callable

import jax
import numpy as np

from lra.checks.oracle import differences
from lra.checks.subject import Subject, masks
from lra.models.attention import VARIANTS, Shape


def subject(
    name: str, max_length: int = 24, heads: int = 3, head_dim: int = 4, layer: int = 0, layers: int = 1, **options
) -> Subject:
    """A layer of a variant with some of its parameters bound."""
    variant = VARIANTS[name]
    shape = Shape(10, heads * head_dim, heads, max_length, layer=layer, layers=layers)
    return Subject(variant, shape, variant.options(**options))


def assert_equals_oracle(s: Subject, *lengths: int) -> None:
    """Values and gradients, for rows that are full, shorter, empty, and with holes."""
    for length in lengths:
        assert not list(differences(s, masks(length)))


def with_weights_of(s: Subject, other: Subject):
    """The output function of one variant with the projections of another."""
    return lambda x, mask: np.asarray(s.compiled(other.params, x, mask))


def changed(s: Subject, change: Callable[[str, np.ndarray], np.ndarray]) -> Subject:
    """The layer with other parameters; `change` maps the name and value of each."""
    named = lambda path, x: np.float32(change(jax.tree_util.keystr(path), np.asarray(x)))
    s.params = jax.tree_util.tree_map_with_path(named, s.params)
    return s
