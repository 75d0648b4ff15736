"""The kernels for TPU, compiled on a machine without one."""

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.linear_attention import linear_attention
from lra.targets import compile_for

from ..where import needs_compiler
from .oracle import KINDS

pytestmark = pytest.mark.compilers


@pytest.fixture(autouse=True)
def _needs_the_compiler():
    needs_compiler("v5e")


def gradients(q, k, v, log_decay):
    def total(q, k, v, log_decay):
        y = linear_attention(q, k, v, causal=True, log_decay=log_decay, backend="mosaic_tpu")
        return jnp.square(y.astype(jnp.float32)).sum()

    return jax.value_and_grad(total, (0, 1, 2, 3) if log_decay is not None else (0, 1, 2))(q, k, v, log_decay)


def compiled(target, length, kind, key_dim=64, value_dim=64, heads=2, dtype=jnp.bfloat16, function=gradients, more=()):
    shape = (*more, 1, length, heads)
    q, v = (jax.ShapeDtypeStruct((*shape, dim), dtype) for dim in (key_dim, value_dim))
    if kind == "none":
        return compile_for(target, lambda q, k, v: function(q, k, v, None), q, q, v)
    log_decay = jax.ShapeDtypeStruct((*more, *KINDS[kind](1, length, heads, key_dim)), jnp.float32)
    return compile_for(target, function, q, q, v, log_decay)


@pytest.mark.parametrize(
    ("target", "length", "kind", "key_dim", "value_dim", "heads", "dtype"),
    [
        ("v4", 1024, "none", 128, 64, 4, jnp.bfloat16),
        ("v5e", 4096, "token", 8, 16, 8, jnp.bfloat16),
        ("v5p", 1000, "token", 256, 256, 1, jnp.float32),
        ("v6e", 1000, "channel", 40, 65, 2, jnp.bfloat16),
        ("v4", 300, "channel", 128, 8, 6, jnp.float32),  # the most lanes that one step takes
    ],
)
def test_each_tpu_takes_forward_and_backward(target, length, kind, key_dim, value_dim, heads, dtype):
    program = compiled(target, length, kind, key_dim, value_dim, heads, dtype)
    assert program.as_text().count("tpu_custom_call") == 3  # outputs, states, gradients


@pytest.mark.parametrize(
    ("target", "length", "kind"),
    [
        ("v4", 2**12, "channel"),
        ("v5p", 2**14, "token"),
        ("v6e", 2**17, "token"),
        ("v5e", 2**20, "channel"),
    ],
)
def test_memory_is_linear_in_the_length(target, length, kind):
    """What the gradient keeps beside its arguments and results, for up to a million tokens: no pair of them."""
    size = compiled(target, length, kind, heads=1).memory_analysis().temp_size_in_bytes
    assert size < 16 * (length * 128 * 2)  # times q: y, its gradient, states, and copies in another layout


def test_vmap_makes_no_loop_of_kernels():
    text = compiled("v5e", 256, "token", function=jax.vmap(gradients), more=(3,)).as_text()
    assert " while(" not in text
    assert text.count("tpu_custom_call") == 3
