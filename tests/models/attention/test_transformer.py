"""transformer: its formula, also where it is computed in parts, and its dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.oracle import differences
from lra.checks.subject import masks, normal, quick_jit
from lra.models.attention import VARIANTS
from lra.models.kernels.softmax import Dropout

from ..core import assert_equals_oracle, subject


@parametrize_with_checks(["transformer"])
def test_is_what_it_says(check):
    check()


def test_equals_the_formula():
    assert_equals_oracle(subject("transformer"), 1, 7)


@pytest.mark.parametrize("length", [513, 1024])
def test_equals_the_formula_in_parts(length):
    mask = np.arange(length) < np.array([[length], [length - 130]])
    assert not list(differences(subject("transformer", length, heads=1), mask))


@pytest.mark.parametrize("name", ["transformer", "local", "linformer", "dilated"])
def test_dropout_keeps_the_mean(name):
    mask, (q, k, v) = masks(6)[:2], normal(3, 2, 6, 3, 4)
    core = subject(name, **VARIANTS[name].small).module.core
    outs = quick_jit(jax.vmap(lambda key: core(q, k, v, mask, dropout=Dropout(0.3, key))))(
        jax.random.split(jax.random.key(0), 500)
    )
    error, deviation = outs.mean(0) - core(q, k, v, mask), outs.std(0) / np.sqrt(500)
    assert (deviation[mask] > 0).all()
    assert (np.abs(error) <= 5 * deviation + 1e-5)[mask].all()


def test_it_drops_anew_in_every_part():
    """With all logits equal, the same mask for two parts would make their outputs equal."""
    v, mask = normal(1, 1024, 1, 4), np.ones((1, 1024), bool)
    dropout = Dropout(0.5, jax.random.key(0))
    out = VARIANTS["transformer"].make(0 * v, 0 * v, v, mask, dropout=dropout)[0]
    assert (out[:512] != out[512:]).all()


def test_memory_is_that_of_512_rows():
    core = subject("transformer", 4096, heads=2, head_dim=8).module.core
    x = jax.ShapeDtypeStruct((1, 4096, 2, 8), jnp.float32)
    loss = lambda q, k, v: jnp.square(core(q, k, v, np.ones((1, 4096), bool))).sum()
    compiled = quick_jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * 512 * 4096 * 2 * 4
