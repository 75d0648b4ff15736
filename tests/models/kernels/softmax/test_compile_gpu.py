"""Softmax attention in Mosaic GPU kernels, compiled on a machine without a Hopper: memory, and no spilled register."""

import re

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.softmax.dropout import Dropout
from lra.models.kernels.softmax.gpu_walk import Size, size, width
from lra.models.kernels.softmax.op import attend
from lra.models.kernels.softmax.pattern import CAUSAL, FULL, Window
from lra.targets import compile_for

from ..where import needs_compiler

pytestmark = pytest.mark.compilers
WINDOW = Window(25, 25)
MIB = 2**20


@pytest.fixture(autouse=True)
def _needs_the_compiler():
    needs_compiler("hopper")


@pytest.fixture
def assembled(monkeypatch, capfd):
    """What the assembler says of each kernel from now on: the name and the bytes spilled."""
    monkeypatch.setenv("MOSAIC_GPU_DUMP_PTXAS", "1")

    def said() -> list[tuple[str, int]]:
        text = "".join(capfd.readouterr())
        names = re.findall(r"Compiling entry function '(\w+)_mosaic_gpu_kernel'", text)
        return list(zip(names, map(int, re.findall(r"stack frame, (\d+) bytes spill stores", text)), strict=True))

    return said


def gradients(q, k, v, mask, allowed=None, rate=0.0, pattern=FULL):
    def total(q, k, v):
        dropout = Dropout(rate, jax.random.key(0))
        out, lse = attend(
            q, k, v, mask=mask, allowed=allowed, dropout=dropout, pattern=pattern, backend="mosaic_gpu"
        )  # fmt: skip
        return (out.astype(jnp.float32) ** 2).sum() + lse.sum()

    return jax.value_and_grad(total, (0, 1, 2))(q, k, v)


def shapes(length, head_dim, value_dim=None, dtype=jnp.bfloat16, batch=(1,)):
    q, v = (jax.ShapeDtypeStruct((*batch, length, 2, d), dtype) for d in (head_dim, value_dim or head_dim))
    return q, q, v, jax.ShapeDtypeStruct((*batch, length, 1), bool)


# each choice of tiles with all that can be in registers, and what a training step of the arena has
@pytest.mark.parametrize(
    ("head_dim", "value_dim", "pattern", "rate", "pairs", "forward", "backward"),
    [
        (8, 64, CAUSAL, 0.1, True, Size(2, 128, 4), Size(2, 64, 2)),
        (64, 64, WINDOW, 0.1, True, Size(1, 64, 4), Size(1, 64, 2)),
        (128, 128, CAUSAL, 0.1, True, Size(2, 64, 2), Size(2, 32, 2)),
        (128, 128, CAUSAL, 0.0, False, Size(2, 128, 2), Size(2, 64, 2)),
        (256, 256, CAUSAL, 0.1, True, Size(2, 32, 2), Size(1, 32, 2)),
        (256, 256, FULL, 0.0, False, Size(2, 64, 2), Size(1, 32, 2)),
    ],
)
def test_each_choice_of_tiles_fits(assembled, head_dim, value_dim, pattern, rate, pairs, forward, backward):
    widest = width(max(head_dim, value_dim))
    assert size(pattern, 1024, 1024, widest, rate > 0 or pairs, backward=False) == forward
    assert size(pattern, 1024, 1024, widest, rate > 0 or pairs, backward=True) == backward
    arrays = shapes(1024, head_dim, value_dim)
    if pairs:
        arrays = (*arrays, jax.ShapeDtypeStruct((1, 2, 1024, 1024), bool))
    # more than 232,448 bytes of shared memory would be refused
    compile_for("hopper", lambda *x: gradients(*x, pattern=pattern, rate=rate), *arrays)
    passes = 2 if widest > 128 else 1  # over the columns of dk and dv
    names = ["attention_forward", "attention_dq", *["attention_dk_dv"] * passes]
    assert sorted(assembled()) == sorted((name, 0) for name in names)


@pytest.mark.parametrize(("length", "pattern"), [(2**14, FULL), (2**17, WINDOW)], ids=str)
def test_memory_is_that_of_a_few_arrays(length, pattern):
    program = compile_for("hopper", lambda *x: gradients(*x, pattern=pattern), *shapes(length, 64))
    bytes_of_q = length * 2 * 64 * 2
    assert program.memory_analysis().temp_size_in_bytes < 4 * bytes_of_q + MIB


def test_vmap_makes_no_loop_of_kernels():
    mapped = compile_for("hopper", jax.vmap(gradients), *shapes(512, 16, batch=(3, 2))).as_text()
    assert not re.search(r"\bwhile\(", mapped)
    assert len(re.findall(r"custom-call\(.*mosaic_gpu", mapped)) == 3
