"""Softmax attention in XLA, chunked or plain: results and gradients of patterns; what the chunked form costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks.growth import operations
from lra.checks.subject import quick_jit
from lra.models.kernels import turns
from lra.models.kernels.backends import use
from lra.models.kernels.softmax import CAUSAL, FULL, Blocks, Dropout, First, SameBlock, Window, attend
from lra.models.kernels.softmax import schedule as schedules
from lra.models.kernels.softmax.dropout import kept

from .oracle import assert_close, oracle, problem

BIGBIRD = Blocks(8, ((0, 1, 4, 7), (0, 1, 2), (1, 2, 3, 6), (), (0, 3, 4, 5), tuple(range(9)), (6,), (2, 6, 7), (8,)))


def results(q, k, v, d_out, d_lse, bias=None, dtype=jnp.float32, **options):
    """The results of `attend`, and its gradients by q, k, v and bias."""

    def f(q, k, v, bias):
        (out, lse), back = jax.vjp(lambda *x: attend(*x[:3], bias=x[3], **options), q, k, v, bias)
        return out, lse, *back((d_out.astype(dtype), jnp.where(jnp.isneginf(lse), jnp.nan, d_lse)))

    return quick_jit(f)(*(x.astype(dtype) for x in (q, k, v)), bias)


@pytest.fixture(params=["at once", "in parts", "in turn", "plain"])
def _form(request, monkeypatch):
    """Computes in one part with the cheapest tiles, in many parts with many small tiles, or a few heads at a time; or
    with the whole matrix.
    """
    if request.param == "in turn":
        monkeypatch.setattr(turns, "CACHE", 1500)
    if request.param == "in parts":
        monkeypatch.setattr(schedules, "SCORES", 20)
        monkeypatch.setattr(schedules, "cheapest", lambda *_: (8, 4))
    schedules.schedule.cache_clear()
    with use("plain" if request.param == "plain" else "xla"):
        yield
    schedules.schedule.cache_clear()


@pytest.mark.usefixtures("_form")
@pytest.mark.parametrize(
    ("pattern", "queries", "keys"),
    [
        (FULL, 50, 37),
        (Window(5, 0) | First(3), 93, 93),
        (~SameBlock(16, 3), 100, 19),
        (BIGBIRD & ~First(2), 70, 70),
        (SameBlock(40, 20) & CAUSAL, 131, 64),
    ],
    ids=str,
)
def test_patterns(pattern, queries, keys):
    """Under a mask for each head, with an example without a key, and with different widths of keys and values."""
    x = problem(3, queries, keys, value_dim=5)
    mask = np.random.default_rng(0).random((3, keys, 2)) < np.array([0.8, 0.3, 0.0])[:, None, None]
    assert_close(results(*x, pattern=pattern, mask=mask), oracle(*x, pattern=pattern, mask=mask))


@pytest.mark.usefixtures("_form")
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)], ids=["of all", "of each"])
def test_data_of_pairs(shape):
    """What is allowed and a bias, under a pattern, one for all or of each example and head."""
    x, rng = problem(2, 33, 45, heads=3), np.random.default_rng(1)
    allowed, bias = rng.random((*shape[::-1], 33, 45)) < 0.5, rng.normal(size=(*shape, 33, 45)).astype(np.float32)
    allowed = allowed[:, :1] if shape == (1, 1) else np.swapaxes(allowed, 0, 1)
    options = dict(allowed=allowed, bias=bias, pattern=Window(20, None))
    assert_close(results(*x, **options), oracle(*x, **options))


@pytest.mark.usefixtures("_form")
@pytest.mark.parametrize("pattern", [FULL, Window(3, 4)], ids=str)
def test_dropout(pattern):
    """Which probabilities are dropped depends on the place in the matrix alone, however the matrix is cut."""
    dropout, x = Dropout(0.4, jax.random.key(0)), problem(2, 41, 41)
    i = np.arange(41, dtype=np.int32)
    keep = np.asarray(kept(dropout.seeds(2, 2)[..., None, None], i[:, None], i, 0.4))
    expected = oracle(*x, pattern=pattern, kept=keep, rate=0.4)
    assert_close(results(*x, pattern=pattern, dropout=dropout), expected)


@pytest.mark.parametrize("backend", ["xla", "plain"])
def test_bfloat16(backend):
    x, pattern = [np.float32(jnp.bfloat16(y)) for y in problem(2, 60, 60, head_dim=16)], Window(9, 9)
    outputs = results(*x, dtype=jnp.bfloat16, pattern=pattern, backend=backend)
    assert [y.dtype for y in outputs[:5]] == [jnp.bfloat16, jnp.float32, *[jnp.bfloat16] * 3]
    assert_close(outputs, oracle(*x, pattern=pattern), 2e-2)


def loss(pattern, backend="xla"):
    return lambda x: jnp.square(attend(x, x, x, pattern=pattern, backend=backend)[0]).sum()


@pytest.mark.parametrize(("backend", "products"), [("xla", 2 + 5), ("plain", 2 + 4)])
def test_what_the_gradient_computes_again(backend, products):
    """The chunked form computes the scores and their exponentials again, the plain one nothing."""
    gradient = jax.grad(loss(CAUSAL, backend))
    program = str(jax.make_jaxpr(gradient)(jax.ShapeDtypeStruct((1, 64, 1, 4), jnp.float32)))
    assert program.count("dot_general[") == products
    assert program.count(" exp ") == products - 5


def test_gradients_do_not_scatter():
    for pattern in (FULL, Window(5, 5) | First(2), ~SameBlock(16, 16)):
        program = str(jax.make_jaxpr(jax.grad(loss(pattern)))(jax.ShapeDtypeStruct((1, 1000, 1, 4), jnp.float32)))
        assert "gather" in program or pattern == FULL
        assert "scatter" not in program


@pytest.mark.parametrize(
    ("pattern", "bound"), [(FULL, 10 * 512), (CAUSAL, 10 * 512), (Window(25, 25), 2000), (BIGBIRD, 2000)], ids=str
)
def test_memory_is_linear(pattern, bound):
    """The limits are floats per token and head; all scores would be 4,096."""
    x = jax.ShapeDtypeStruct((1, 4096, 2, 8), jnp.float32)
    compiled = quick_jit(jax.grad(loss(pattern))).lower(x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 4096 * 2 * bound


def test_work_is_that_of_visited_tiles():
    def work(pattern, length):
        return operations(
            jax.make_jaxpr(jax.grad(loss(pattern)))(jax.ShapeDtypeStruct((1, length, 1, 16), jnp.float32))
        )

    window, full = Window(64, 64), work(FULL, 4096)
    assert work(window, 4096) < 0.1 * full
    assert 1.9 < work(window, 8192) / work(window, 4096) < 2.2
    assert 0.45 < work(CAUSAL, 4096) / full < 0.7
