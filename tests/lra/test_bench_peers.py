"""Libraries beside the kernels, here or in a Python of their own: each computes what the case is, or gets no time."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from lra.bench import cases, kernels, peers, timing
from lra.bench.libraries import LIBRARIES
from lra.errors import UsageError, UserError

# stands for the library: it says no more of its functions than their arguments
FA4 = """
import jax, jax.numpy as jnp

def flash_attn(q, k, v, *, causal=False, window_size=(None, None)):
    assert q.dtype == jnp.bfloat16 and not causal
    i, j = jnp.arange(q.shape[1])[:, None], jnp.arange(k.shape[1])
    before, after = window_size
    seen = (i - j <= before) & (j - i <= after) if before is not None else True
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf))
    return ERROR * jnp.einsum("bhqk,bkhe->bqhe", weights.astype(v.dtype), v)
"""


@pytest.fixture
def fa4(tmp_path, monkeypatch):
    """Installs the library for another Python, with an error."""
    monkeypatch.setitem(LIBRARIES, "fa4-jax", LIBRARIES["fa4-jax"]._replace(platforms=("cpu",)))
    monkeypatch.setattr(timing, "LEAST", 1e-4)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("LRA_PEERS", f"fa4-jax={sys.executable}")
    return lambda error: (tmp_path / "fa4_jax.py").write_text(FA4.replace("ERROR", error))


def small(name: str) -> cases.Case:
    return next(cases.cases(name, 96, (64,)))


def by_library(name, direction):
    case = small(name)._replace(backends=("xla",))
    rows = {row["by"]: row for row in kernels.rows(case, direction)}
    assert [*rows][-1] == "xla"
    return rows["fa4-jax"]


@pytest.mark.slow
def test_a_library_in_another_python_is_timed_if_it_is_right_and_says_why_if_it_fails(fa4):
    fa4("1.0")
    row = by_library("softmax window", "forward+backward")
    assert not row["note"]
    assert row["ms"] > 0
    fa4("1.05")
    row = by_library("softmax window", "forward")
    assert row["note"].startswith("wrong: off by")
    assert "ms" not in row
    fa4("unheard_of")
    row = by_library("softmax dense", "forward")
    assert "unheard_of" in row["note"]
    assert "ms" not in row


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("flash=/bin/python", UserError, "flash"),
        ("fa4-jax=/no/such/python", UsageError, "names no file; say fa4-jax=/path/to/its/bin/python"),
        ("fa4-jax", UsageError, "names no file"),
    ],
)
def test_the_variable_names_libraries_and_pythons(monkeypatch, value, error, message):
    monkeypatch.setenv("LRA_PEERS", value)
    with pytest.raises(error, match=message):
        peers.pythons()


def recurrence(q, k, v, decay):
    """The formula of the libraries, in float64: decay is [batch, length, heads, key_dim or 1]."""
    q, k, v, decay = (np.asarray(x, np.float64) for x in (q, k, v, decay))
    state, out = np.zeros((*q.shape[:1], *q.shape[2:], v.shape[-1])), np.zeros(v.shape)
    for t in range(q.shape[1]):
        state = np.exp(decay[:, t])[..., None] * state + k[:, t, ..., None] * v[:, t, :, None]
        out[:, t] = np.einsum("bhd,bhde->bhe", q[:, t], state)
    return out


def linear_attention(kind, q, k, v, *, g, scale, impl):
    assert (scale, impl) == (1.0, "mosaic_gpu")
    assert g.shape == (q.shape if kind == "gla" else q.shape[:3])
    return recurrence(q, k, v, g if kind == "gla" else g[..., None]), None


def chunk_gla(q, k, v, g, *, scale):
    assert scale == 1.0
    return recurrence(q, k, v, g)


@pytest.mark.parametrize("name", ["linear causal", "linear decay a head", "linear decay a channel"])
def test_linear_attention_of_libraries_is_what_the_case_is(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "jla", type(sys)("jla"))
    for module, function in (("jla.ops", linear_attention), ("deltanet_tpu", chunk_gla)):
        monkeypatch.setitem(sys.modules, module, type(sys)(module))
        setattr(sys.modules[module], function.__name__, function)
    case = small(name)
    expected = kernels.exact(case, "forward")
    for library in ("jax-linear-attention", "deltanet-tpu"):
        assert name in LIBRARIES[library].cases
        given = LIBRARIES[library].function(peers.facts(case))(*case.args)
        assert kernels.wrong_by(jnp.asarray(given, jnp.float32), expected) == ""


def test_a_result_that_is_not_a_number_is_wrong():
    assert kernels.wrong_by(jnp.array([1.0, jnp.nan]), jnp.ones(2)).startswith("wrong")
