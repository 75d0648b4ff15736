"""The kernel for Hopper, compiled on a machine without one: memory, and no spilled register."""

import re

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.linear_attention import linear_attention
from lra.targets import compile_for

from ..where import needs_compiler
from .oracle import KINDS

pytestmark = pytest.mark.compilers
MANY = 132  # heads, so that a block takes as many columns of the values as it can
MIB = 2**20


@pytest.fixture(autouse=True)
def _needs_the_compiler():
    needs_compiler("hopper")


def gradients(q, k, v, log_decay):
    def total(q, k, v, log_decay):
        y = linear_attention(q, k, v, causal=True, log_decay=log_decay, backend="mosaic_gpu")
        return jnp.square(y.astype(jnp.float32)).sum()

    return jax.value_and_grad(total, (0, 1, 2) if log_decay is None else (0, 1, 2, 3))(q, k, v, log_decay)


def compiled(length, kind, key_dim=64, value_dim=64, heads=2, function=gradients, more=()):
    q, v = (jax.ShapeDtypeStruct((*more, 1, length, heads, dim), jnp.bfloat16) for dim in (key_dim, value_dim))
    if kind == "none":
        return compile_for("hopper", lambda q, k, v: function(q, k, v, None), q, q, v)
    log_decay = jax.ShapeDtypeStruct((*more, *KINDS[kind](1, length, heads, key_dim)), jnp.float32)
    return compile_for("hopper", function, q, q, v, log_decay)


@pytest.mark.parametrize(
    ("length", "kind", "key_dim", "value_dim", "heads", "kernels"),
    [
        (2**10, "none", 256, 256, MANY, 3),
        pytest.param(2**12, "token", 128, 128, MANY, 4, marks=pytest.mark.release),
        pytest.param(2**14, "channel", 128, 128, MANY, 4, marks=pytest.mark.release),
        (2**17, "channel", 256, 256, MANY, 6),
        (2**20, "channel", 64, 64, 2, 4),
    ],
)
def test_no_register_is_spilled_and_memory_is_linear(spilled, length, kind, key_dim, value_dim, heads, kernels):
    """Beside arguments and results there are dq and dk in float32, states of chunks, and the gradient of y."""
    program = compiled(length, kind, key_dim, value_dim, heads)  # too much shared memory for a block would be refused
    assert spilled() == [0] * kernels
    bytes_of_q = length * heads * max(key_dim, value_dim) * 2
    assert program.memory_analysis().temp_size_in_bytes < 8 * bytes_of_q + MIB


def test_vmap_makes_no_loop_of_kernels(spilled):
    """Also of sizes that are no multiples of what a copy takes."""
    text = compiled(77, "channel", 20, 65, function=jax.vmap(gradients), more=(3,)).as_text()
    assert not re.search(r"\bwhile\(", text)
    assert len(re.findall(r"custom-call\(.*mosaic_gpu", text)) == 4
    assert spilled() == [0] * 4
