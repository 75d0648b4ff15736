"""The compilers of TPUs and Hopper compile the kernels, forward and gradient in one program."""

import jax
import jax.numpy as jnp
import pytest

from lra.models.kernels.recurrence import diagonal_recurrence
from lra.targets import compile_for

from ..where import needs_compiler
from .core import Case

pytestmark = pytest.mark.compilers
MIB = 2**20


def program(target, case: Case, seeds=()):
    """The program of h and of the gradients, with h as the cotangent."""
    needs_compiler(target)
    shape = (case.batch, case.length, case.channels)
    wide = jnp.complex64 if case.complex_ else jnp.float32
    log_a = jax.ShapeDtypeStruct((*seeds, *shape[2 if case.constant else 0 :]), wide)
    x = jax.ShapeDtypeStruct((*seeds, *shape), wide if case.complex_ else case.dtype)
    backend = "mosaic_gpu" if target == "hopper" else "mosaic_tpu"

    def slopes(log_a, x):
        h, pull = jax.vjp(lambda *y: diagonal_recurrence(*y, direction=case.direction, backend=backend), log_a, x)
        return h, pull(h)

    for _ in seeds:
        slopes = jax.vmap(slopes)
    return compile_for(target, slopes, log_a, x)


def kernels(compiled) -> int:
    """The number of calls of kernels; none may be in a loop."""
    text = compiled.as_text()
    assert " while(" not in text
    return text.count('custom_call_target="tpu_custom_call"') + text.count('custom_call_target="mosaic_gpu_v2"')


# in turns constant and gated, one way or the other or both; and how many arrays of x's size in float32 there are for a
# while, beside those that come back
MODES = {
    "v4": (Case(0, 128, constant=True, direction="backward", dtype=jnp.bfloat16), 0),
    "v5e": (Case(0, 128), 2),
    "v5p": (Case(0, 128, constant=True, direction="both"), 2),
    "v6e": (Case(0, 128, direction="backward", dtype=jnp.bfloat16), 2),
    "hopper": (Case(0, 128), 1),
}


@pytest.mark.parametrize(
    ("target", "length"), [*((target, 2**14) for target in MODES), ("v5e", 2**20), ("hopper", 2**20)]
)
def test_memory_is_linear_in_the_length(target, length):
    case, arrays = MODES[target]
    compiled = program(target, case._replace(length=length, batch=1))
    assert kernels(compiled) == 2
    assert compiled.memory_analysis().temp_size_in_bytes <= arrays * length * case.channels * 4 + MIB


# with ends that fill no tile, and all that a kernel has to keep at once
@pytest.mark.parametrize(
    ("target", "constant"), [*((target, False) for target in MODES), ("v4", True), ("hopper", True)]
)
def test_complex_states_both_ways(target, constant, spilled):
    case = Case(2000, 300, constant=constant, complex_=True, direction="both")
    compiled = program(target, case)
    assert kernels(compiled) == 2
    assert spilled() == ([0, 0] if target == "hopper" else [])
    arrays = 10  # of x's size: parts are arrays of their own, and 300 channels are 384 to a TPU
    assert compiled.memory_analysis().temp_size_in_bytes <= arrays * case.batch * case.length * case.channels * 8


@pytest.mark.parametrize("target", ["v5e", "hopper"])
def test_vmap_adds_no_loop_and_no_kernel(target):
    assert kernels(program(target, Case(100, 8, constant=True, direction="both"), seeds=(3,))) == 2


def test_few_channels_and_tokens():
    for target in ("v5e", "hopper"):
        assert kernels(program(target, Case(5, 3, direction="both", dtype=jnp.bfloat16))) == 2
