"""Softmax attention in Mosaic TPU kernels, compiled on a machine without a TPU."""

import re

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.softmax.dropout import Dropout
from lra.models.kernels.softmax.op import attend
from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Window
from lra.models.kernels.softmax.tpu_tiling import tiling_of
from lra.targets import compile_for

from ..where import needs_compiler

pytestmark = pytest.mark.compilers
WINDOW = Window(25, 25)
MIB = 2**20


@pytest.fixture(autouse=True)
def _needs_the_compiler():
    needs_compiler("v5e")


def gradients(q, k, v, mask, rate=0.0, **more):
    def total(q, k, v):
        out, lse = attend(q, k, v, mask=mask, dropout=Dropout(rate, jax.random.key(0)), backend="mosaic_tpu", **more)
        return (out.astype(jnp.float32) ** 2).sum() + lse.sum()

    return jax.value_and_grad(total, (0, 1, 2))(q, k, v)


def compiled(target, length, heads, head_dim, dtype, pattern=FULL, rate=0.0, batch=(1,)):
    array = jax.ShapeDtypeStruct((*batch, length, heads, head_dim), dtype)
    mask = jax.ShapeDtypeStruct((*batch, length, 1), bool)
    return compile_for(target, lambda *x: gradients(*x, pattern=pattern, rate=rate), array, array, array, mask)


def memory(program) -> int:
    """The bytes that a program takes beside its arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


# each choice of tiles at its widest heads, where vector memory is closest to its end, on every TPU
@pytest.mark.parametrize(
    ("target", "dtype", "head_dim", "length", "pattern", "tile"),
    [
        ("v4", jnp.bfloat16, 256, 1024, FULL, (512, 512, 1)),
        ("v5e", jnp.float32, 128, 1024, FULL, (512, 512, 1)),
        ("v5p", jnp.float32, 256, 1000, FULL, (256, 256, 1)),
        ("v6e", jnp.bfloat16, 40, 1000, Window(200, 200), (256, 256, 4)),
        ("v4", jnp.bfloat16, 8, 4096, WINDOW, (128, 128, 8)),
        ("v5p", jnp.float32, 64, 4096, WINDOW, (128, 128, 8)),
    ],
)
def test_each_choice_of_tiles_compiles(target, dtype, head_dim, length, pattern, tile):
    assert tiling_of(pattern, length, length, 8, head_dim * jnp.dtype(dtype).itemsize)[:3] == tile
    program = compiled(target, length, 8, head_dim, dtype, pattern)
    assert program.as_text().count("tpu_custom_call") == 3


def test_dropout_and_pairs_compile():
    array, pairs = jax.ShapeDtypeStruct((1, 1000, 1, 32), jnp.bfloat16), jax.ShapeDtypeStruct((1, 1, 1000, 1000), bool)
    run = lambda q, allowed: gradients(q, q, q, None, 0.1, pattern=CAUSAL, allowed=allowed)
    assert memory(compile_for("v5e", run, array, pairs)) < 16 * MIB


@pytest.mark.parametrize(("length", "pattern"), [(2**14, FULL), (2**17, WINDOW), (2**20, WINDOW)], ids=str)
def test_memory_is_that_of_a_few_arrays(length, pattern):
    bytes_of_q = length * 64 * 2
    assert memory(compiled("v6e", length, 1, 64, jnp.bfloat16, pattern)) < 4 * bytes_of_q + MIB


def test_vmap_makes_no_loop_of_kernels():
    batched = compiled("v5e", 512, 2, 16, jnp.bfloat16, batch=(3, 2)).as_text()
    array = jax.ShapeDtypeStruct((3, 2, 512, 2, 16), jnp.bfloat16)
    mask = jax.ShapeDtypeStruct((3, 2, 512, 1), bool)
    mapped = compile_for("v5e", jax.vmap(gradients), array, array, array, mask).as_text()
    for text in (batched, mapped):
        assert not re.search(r"\bwhile\(", text)
        assert text.count("tpu_custom_call") == 3
