"""bigbird: its blocks, where they end, and what it draws at random."""

import jax.numpy as jnp
import numpy as np
import pytest

from lra.checks import parametrize_with_checks
from lra.checks.subject import masks, normal
from lra.errors import UsageError

from ..core import assert_equals_oracle, subject, with_weights_of


@parametrize_with_checks(["bigbird"])
def test_is_what_it_says(check):
    check()


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"block": 2, "random": 1}, [1, 13, 20]),
        ({"block": 1, "random": 3, "seed": 5, "layer": 1, "layers": 2}, [2, 15]),
        ({"block": 3, "random": 0}, [19]),
        ({"block": 30, "random": 2}, [7]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    assert_equals_oracle(subject("bigbird", **options), *lengths)


def drawn(last: int, blocks: int = 24, **options) -> np.ndarray:
    """The random blocks of every block in sequences that end in block `last`: [blocks, heads, random]."""
    core = subject("bigbird", head_dim=1, layers=2, **options).module.core
    return np.asarray(core.random_blocks(blocks, jnp.array([last])))[0]


@pytest.mark.parametrize("random", [1, 3, 9, 30])
def test_random_blocks_are_distinct_others(random):
    for last in (0, 1, 4, 11, 23):
        blocks = drawn(last, heads=40, random=random)
        for i in range(1, last):
            left = set(range(last + 1)) - {0, i - 1, i, i + 1, last}
            for sample in blocks[i]:
                sample = sample[sample > 0]
                assert len(set(sample)) == len(sample) == min(random, len(left))
                assert set(sample) <= left


def test_random_blocks_are_uniform():
    """Block 6 of 15 leaves ten blocks. Over 3,000 heads each of them is drawn equally often, and so is each pair."""
    heads, left = 3000, [1, 2, 3, 4, 8, 9, 10, 11, 12, 13]
    seen = (drawn(14, heads=heads, random=3)[6][:, :, None] == left).any(1)
    for share, probability in ((seen.mean(0), 3 / 10), (seen.T @ (1.0 * seen) / heads, 3 * 2 / (10 * 9))):
        deviation = np.sqrt(probability * (1 - probability) / heads)
        off = ~np.eye(10, dtype=bool) if share.ndim == 2 else ...
        assert np.abs(share - probability)[off].max() < 5 * deviation


def test_what_is_drawn_depends_on_layer_head_and_seed_not_on_the_padding():
    base = drawn(20, heads=2)
    np.testing.assert_array_equal(drawn(20, heads=2, blocks=21), base[:21])
    for other in (drawn(20, heads=2, layer=1), drawn(20, heads=2, seed=1), base[:, ::-1]):
        assert (other[2:18] != base[2:18]).mean() > 0.5


@pytest.mark.parametrize("random", [0, 3])
def test_a_short_sequence_has_full_attention(random):
    """A sequence is short if it has at most 4 + random blocks; it may end anywhere in the padded length."""
    x, mask, dense = normal(6, 24, 10), masks(2 * (4 + random)), subject("transformer")
    mask = np.pad(mask, [(0, 0), (0, 24 - mask.shape[1])])
    out = with_weights_of(subject("bigbird", block=2, random=random), dense)(x, mask)
    np.testing.assert_allclose(out[mask], dense(x, mask)[mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"block": 0}, {"random": -1}, {"seed": -1}], ids=str)
def test_impossible_options_are_refused(options):
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=rf"bigbird\.{name} = {value}"):
        subject("bigbird", **options)
