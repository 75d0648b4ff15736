"""Which backend an op gets, and how vmap changes the call of a kernel."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels.backends import Op, choose, deciding, folds_vmap, use


class Static(NamedTuple):
    interpret: bool = False


class Can:
    def admits(self, static, x):
        pass


class Cannot:
    def admits(self, static, x):
        raise NotImplementedError(f"{x} is too wide")


ALL = {"xla": Can(), "mosaic_tpu": Can(), "mosaic_gpu": Cannot()}


def chosen(backend=None, among=ALL):
    name, static = choose(Op("op", __name__, among, None, None), backend, Static(), "x")
    return name, static.interpret


def test_xla_unless_asked_otherwise():
    assert chosen() == ("xla", False)
    assert chosen("mosaic_tpu") == ("mosaic_tpu", False)
    with use("mosaic_tpu", interpret=True):
        assert chosen() == ("mosaic_tpu", True)
        assert chosen("xla")[0] == "xla", "the call's own word goes first"
        with use("xla"):
            assert chosen() == ("xla", False)
        assert chosen() == ("mosaic_tpu", True)
    assert chosen() == ("xla", False)


def test_what_cannot_says_why():
    with pytest.raises(NotImplementedError, match="x is too wide"):
        chosen("mosaic_gpu")
    with pytest.raises(NotImplementedError, match="no backend 'mosaic_gpu', only xla"):
        chosen("mosaic_gpu", among={"xla": Can()})
    with pytest.raises(ValueError, match="mosaic_gpu"):
        chosen("cuda")
    with pytest.raises(ValueError, match="mosaic_gpu"), use("triton"):
        pass


def test_what_decides_is_asked_unless_a_backend_was_named():
    asked = []

    def decide(op, static, x):
        asked.append((op.name, static, x))
        return "mosaic_tpu"

    with deciding(decide):
        assert chosen() == ("mosaic_tpu", False)
        assert chosen("xla") == ("xla", False)
        with use("xla"):
            assert chosen() == ("xla", False)
    assert asked == [("op", Static(), "x")]
    assert chosen() == ("xla", False)


def test_a_mapped_axis_joins_the_batch():
    sizes = []

    @folds_vmap
    def kernel(x, y, nothing):
        assert nothing is None
        sizes.append(x.shape[0])
        return {"sum": x + y[:, None], "batch": jnp.arange(len(x))}

    x, y = np.arange(24.0).reshape(2, 3, 4), np.arange(3.0)
    out = jax.vmap(kernel, in_axes=(0, None, None))(x, y, None)
    assert sizes[-1] == 6
    np.testing.assert_array_equal(out["sum"], x + y[None, :, None])
    np.testing.assert_array_equal(out["batch"], np.arange(6).reshape(2, 3))
    twice = jax.vmap(jax.vmap(kernel, in_axes=(0, None, None)), in_axes=(0, 0, None))
    x, y = np.arange(120.0).reshape(5, 2, 3, 4), np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(twice(x, y, None)["sum"], x + y[:, None, :, None])
    assert sizes[-1] == 30
