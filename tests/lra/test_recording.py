"""What a record says of the model and of the memory is what was trained and what the run itself took."""

import hashlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from lra import settings
from lra.model_tree import model_tree
from lra.recording import PeakMemory


class Two(nnx.Module):
    def __init__(self, trained=nnx.Param, width: int = 3, dtype=jnp.float32):
        self.a = trained(jnp.zeros((2, width), dtype))
        self.b = nnx.List([nnx.BatchStat(jnp.zeros(4))])


def tree_of(*arguments, **keywords):
    _, params, buffers = nnx.split(Two(*arguments, **keywords), nnx.Param, ...)
    return model_tree(params, buffers)


def test_the_tree_is_one_line_a_variable():
    """The digest is that of a text that anyone can write by hand."""
    by_hand = "buffer b.0 [4] float32\nparam a [2, 3] float32\n"
    assert tree_of().sha256 == hashlib.sha256(by_hand.encode()).hexdigest()
    assert tree_of().parameters == 6


def test_shape_type_and_what_is_trained_make_another_tree():
    trees = [tree_of(), tree_of(width=4), tree_of(dtype=jnp.bfloat16), tree_of(nnx.BatchStat)]
    assert len({tree.sha256 for tree in trees}) == len(trees)
    assert [tree.parameters for tree in trees] == [6, 8, 6, 0]


def test_the_axis_of_seeds_does_not_count():
    _, params, buffers = nnx.split(Two(), nnx.Param, ...)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf, leaf]), (params, buffers))
    assert model_tree(*stacked, seed_axis=True) == model_tree(params, buffers)


@pytest.mark.parametrize(
    ("before", "after", "own"),
    [(100, 300, 300), (300, 300, None), (None, 300, 300), (None, None, None)],
    ids=["rises", "an earlier run took more", "the first run", "the device does not tell"],
)
def test_peak_memory_is_that_of_the_run_or_not_known(monkeypatch, before, after, own):
    """A device tells the high-water mark of the whole process."""
    readings = iter([before, after])

    def memory_stats():
        reading = next(readings)
        return None if reading is None else {"peak_bytes_in_use": reading}

    monkeypatch.setattr(settings, "device", lambda: SimpleNamespace(memory_stats=memory_stats))
    peak = PeakMemory()
    assert peak.of_this_run() == own
