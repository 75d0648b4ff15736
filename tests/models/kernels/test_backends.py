"""Which backend an op gets, and what vmap makes of a kernel's call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.models.kernels import backends
from lra.models.kernels.backends import Backend, choose, folds_vmap, use


def can() -> None:
    pass


def cannot() -> None:
    raise NotImplementedError("too wide")


ALL = {"xla": can, "mosaic_tpu": can, "mosaic_gpu": cannot}


def test_xla_unless_asked_otherwise():
    assert choose("op", None, ALL) == Backend("xla")
    assert choose("op", "mosaic_tpu", ALL) == Backend("mosaic_tpu")
    with use("mosaic_tpu", interpret=True):
        assert choose("op", None, ALL) == Backend("mosaic_tpu", interpret=True)
        assert choose("op", "xla", ALL).name == "xla", "the call's own word goes first"
        with use("xla"):
            assert choose("op", None, ALL) == Backend("xla")
        assert choose("op", None, ALL).name == "mosaic_tpu"
    assert choose("op", None, ALL) == Backend("xla")


def test_what_cannot_says_why():
    with pytest.raises(NotImplementedError, match="too wide"):
        choose("op", "mosaic_gpu", ALL)
    with pytest.raises(NotImplementedError, match="no backend 'mosaic_gpu', only xla"):
        choose("op", "mosaic_gpu", {"xla": can})
    with pytest.raises(ValueError, match="mosaic_gpu"):
        choose("op", "cuda", ALL)
    with pytest.raises(ValueError, match="mosaic_gpu"), use("triton"):
        pass


def test_defaults_are_of_an_op_on_a_device_and_fall_through_to_xla(monkeypatch):
    kind = jax.devices()[0].device_kind
    monkeypatch.setattr(backends, "DEFAULTS", {("op", kind): ("mosaic_gpu", "mosaic_tpu"), ("op", "abacus"): ("xla",)})
    assert choose("op", None, ALL) == Backend("mosaic_tpu"), "the first that can"
    assert choose("op", None, {**ALL, "mosaic_tpu": cannot}) == Backend("xla")
    assert choose("another op", None, ALL) == Backend("xla")


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
