"""mlstm: its formula, gates of any size, and how it begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import Subject, masks, normal, quick_jit
from lra.errors import UsageError
from lra.models.attention import VARIANTS
from lra.models.attention.mlstm import read_memory

from ..core import assert_equals_oracle, subject

X, MASK = normal(6, 13, 10), masks(13)


@parametrize_with_checks(["mlstm"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(("options", "lengths"), [({}, [1, 3, 13]), ({"expand": 1, "conv": 1}, [7])], ids=str)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("mlstm", **options), *lengths)


def dense(q, k, v, log_i, log_f):
    """sum_j P_tj v_j / max(|sum_j P_tj|, 1), P_tj = q_t . k_j exp(log i_j + log f_{j+1} + ... + log f_t), j <= t; of
    one row, way and head in float64. All is multiplied by exp(-m), m the largest exponent of the row.
    """
    y = np.zeros_like(v, dtype=float)
    for t in range(len(v)):
        exponents = np.array([log_i[j] + log_f[j + 1 : t + 1].sum() for j in range(t + 1)])
        m = exponents.max()
        p = (k[: t + 1] @ q[t]) * np.exp(exponents - m)
        y[t] = p @ v[: t + 1] / max(abs(p.sum()), np.exp(-m))
    return y


@pytest.mark.parametrize("size", [1.0, 10.0, 1000.0])
def test_input_gates_of_any_size(size):
    """exp(1000) has no number. Keys and queries are positive, so that no sum cancels."""
    length, width = 40, 3
    q, k, v = np.abs(normal(3, length, width)) * [[[1]], [[1]], [[-1]]]
    log_i, log_f = size * normal(length, seed=1), -np.abs(normal(length, seed=2))
    of_one = lambda y: jnp.float32(y)[None, :, None, None]
    f = lambda *inputs: read_memory(*map(of_one, inputs))[0, :, 0, 0]
    inputs = (q, k, v, log_i, log_f)
    np.testing.assert_allclose(quick_jit(f)(*inputs), dense(*inputs), rtol=2e-4, atol=1e-6)
    gradients = quick_jit(jax.grad(lambda *inputs: f(*inputs).sum(), range(5)))(*inputs)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_an_empty_memory_reads_0():
    """No direction has anything to read where all input gates are shut; what is skipped is left."""
    s = subject("mlstm")
    shut = lambda path, x: x.at[:, 0].add(-1e4) if "gate_bias" in jax.tree_util.keystr(path) else x
    alone = lambda path, x: 0 * x if "gain" in jax.tree_util.keystr(path) else x
    empty, skipped = (
        np.asarray(s.compiled(jax.tree_util.tree_map_with_path(change, s.params), X, MASK)) for change in (shut, alone)
    )
    np.testing.assert_allclose(empty[MASK], skipped[MASK], rtol=1e-5, atol=1e-6)


def test_begins_as_the_authors_do():
    """Gates that depend on no token; heads forget at different rates."""
    layer = Subject(VARIANTS["mlstm"], scatter=0.0).module
    assert not layer.gates.get_value().any()
    np.testing.assert_allclose(layer.gate_bias.get_value()[:, 1], [[3, 4, 5, 6]] * 2)
    assert np.abs(layer.gate_bias.get_value()[:, 0]).max() < 0.5


@pytest.mark.parametrize("option", ["expand", "conv"])
def test_impossible_sizes_are_refused(option):
    with pytest.raises(UsageError, match=rf"mlstm\.{option} = 0"):
        subject("mlstm", **{option: 0})


def test_widths_that_do_not_divide_into_blocks_are_refused():
    with pytest.raises(UsageError, match=r"encoder\.qkv_dim = 6 does not divide into blocks of 4"):
        subject("mlstm", heads=3, head_dim=2, expand=1)
