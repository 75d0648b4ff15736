"""Every variant is what its paper says, and ignores padding and neighbours."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lra.models.attention import VARIANTS

from .core import check_against_oracle, core_of, every_variant, normal, quick_jit, rows, small

FORMULAS = [  # variant, its options, max_length if not the length, lengths
    ("transformer", {}, None, [1, 7]),
    ("local", {"radius": 3}, None, [1, 2, 12, 13]),
    ("local", {"radius": 0}, None, [4]),
    ("local", {"radius": 20}, None, [7]),
    ("linear", {}, None, [1, 7]),
    ("performer", {"features": 6}, None, [1, 7]),
    ("performer", {"features": 6, "epsilon": 0.03}, None, [9]),
    ("performer", {"features": 6, "epsilon": 0.0}, None, [9]),
    ("linformer", {"rank": 3}, 13, [2, 13]),
    ("linformer", {"rank": 20, "share": "headwise"}, 13, [7]),
    ("dilated", {"segment": 4}, None, [1, 2, 16, 21]),
    ("dilated", {"segment": 4}, 40, [11]),
    ("dilated", {"segment": 1, "ratio": 3}, None, [10]),
    ("dilated", {"segment": 6, "ratio": 4}, None, [25]),
]


@pytest.mark.parametrize(
    ("name", "options", "longest", "lengths"),
    FORMULAS,
    ids=["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options, *_ in FORMULAS],
)
def test_equals_the_formula(name, options, longest, lengths):
    for length in lengths:
        check_against_oracle(core_of(name, longest or length, **options), rows(length))


@pytest.mark.parametrize("length", [513, 1024])
def test_transformer_equals_the_formula_in_parts(length):
    mask = np.arange(length) < np.array([[length], [length - 130]])
    check_against_oracle(core_of("transformer", length, heads=1), mask)


OPTIONS = {
    "transformer": st.just({}),
    "local": st.fixed_dictionaries({"radius": st.integers(0, 12)}),
    "linear": st.just({}),
    "performer": st.fixed_dictionaries({"features": st.integers(1, 9)}),
    "linformer": st.fixed_dictionaries(
        {"rank": st.integers(1, 30), "share": st.sampled_from(["headwise", "key-value"])}
    ),
    "dilated": st.fixed_dictionaries({"segment": st.integers(1, 9), "ratio": st.integers(2, 4)}),
}


@every_variant
@settings(max_examples=3, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(data=st.data())
def test_equals_the_formula_at_any_size(name, data):
    length, heads, head_dim = data.draw(st.tuples(st.integers(3, 20), st.integers(1, 5), st.integers(1, 6)))
    longest = length + data.draw(st.integers(0, 9))
    core = core_of(name, longest, heads, head_dim, **data.draw(OPTIONS[name]))
    check_against_oracle(core, rows(length)[data.draw(st.permutations(range(6)))[:3]])


@every_variant
def test_pad_content_changes_nothing(name):
    mask = rows(12)
    core, q, k, v = small(name), *normal(3, *mask.shape, 3, 4)
    junk = [np.where(mask[..., None, None], x, x * 1000) for x in (q, k, v)]
    np.testing.assert_array_equal(core(mask, q, k, v)[mask], core(mask, *junk)[mask])


@every_variant
def test_amount_of_padding_changes_nothing(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    longer = np.concatenate([inputs, normal(3, len(mask), 3, 3, 4, seed=1)], 2)
    out = core(np.pad(mask, [(0, 0), (0, 3)]), *longer)
    np.testing.assert_allclose(out[:, :12][mask], core(mask, *inputs)[mask], rtol=1e-5, atol=1e-6)


@every_variant
def test_batch_neighbours_change_nothing(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    out = core(mask, *inputs)
    others = 10 * normal(*inputs.shape, seed=1)
    others[:, 2] = inputs[:, 2]
    mask_of_others = ~mask
    mask_of_others[2] = mask[2]
    np.testing.assert_array_equal(core(mask_of_others, *others)[2], out[2])
    np.testing.assert_allclose(core(mask[2:3], *inputs[:, 2:3])[0], out[2], rtol=1e-5, atol=1e-6)


@every_variant
def test_a_row_of_padding_gives_zeros_with_finite_gradients(name):
    mask = rows(12)
    core, inputs = small(name), normal(3, *mask.shape, 3, 4)
    assert not core(mask, *inputs)[4].any()
    gradient = quick_jit(jax.grad(lambda inputs: core.f(mask, *inputs).sum()))
    for x in gradient([*inputs, *core.weights]):
        assert np.isfinite(x).all()


def scales(segment: int, max_length: int) -> Iterator[tuple[int, int]]:
    exponent = 0
    while segment * 2**exponent < 2 * max_length:
        yield segment * 2**exponent, 2**exponent
        exponent += 1


def reaches(name: str, head: int, i: int, j: int) -> bool:
    """Whether token i sees token j of twelve, for the options in SMALL."""
    if name == "local":
        return abs(i - j) <= 2
    if name == "dilated":
        same_segment = lambda w: i // w == j // w
        return any(same_segment(w) and (i - head) % r == (j - head) % r == 0 for w, r in scales(4, 16))
    return True


@every_variant
def test_reach(name):
    """Output i of a head depends on the keys and values j that the paper lets it see, and on no others."""
    mask = np.arange(12) < 10
    core, (q, k, v) = small(name), normal(3, 12, 3, 4)
    out = lambda k, v: core.f(mask[None], q[None], k[None], v[None], *core.weights)[0]
    jacobians = quick_jit(jax.jacrev(out, (0, 1)))(k, v)  # [length, heads, head_dim, length, heads, head_dim]
    seen = sum(np.abs(x).sum((2, 5)) for x in jacobians).transpose(1, 3, 0, 2) > 0  # [heads, heads, length, length]
    for head in range(3):
        expected = [[mask[j] and reaches(name, head, i, j) for j in range(12)] for i in range(10)]
        np.testing.assert_array_equal(seen[head, head, :10], expected)
    assert not seen[~np.eye(3, dtype=bool)].any()


@every_variant
def test_reads_positions_is_declared(name):
    """Moving all the tokens moves the outputs, and changes them only where the variant says so."""
    core, (q, k, v) = small(name), normal(3, 1, 12, 3, 4)
    moved = core(np.arange(12)[None] >= 3, *(np.roll(x, 3, 1) for x in (q, k, v)))[:, 3:]
    change = np.abs(moved - core(np.arange(12)[None] < 9, q, k, v)[:, :9]).max()
    assert change > 1e-2 if VARIANTS[name].reads_positions else change < 1e-5
