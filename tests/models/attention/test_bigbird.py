"""bigbird: its blocks, where they end, and what it draws at random."""

import gin
import jax.numpy as jnp
import numpy as np
import pytest

from lra.check.oracle import differences
from lra.check.subject import Subject, masks
from lra.errors import UsageError
from lra.models.attention import VARIANTS, Shape


def subject(name: str = "bigbird", layer: int = 0, **options) -> Subject:
    for key, value in options.items():
        gin.bind_parameter(f"{name}.{key}", value)
    return Subject(VARIANTS[name], Shape(dim=10, qkv_dim=12, heads=3, max_length=24, layer=layer, layers=2))


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"block": 2, "random": 1}, [1, 13, 20]),
        ({"block": 1, "random": 3, "seed": 5, "layer": 1}, [2, 15]),
        ({"block": 3, "random": 0}, [19]),
        ({"block": 30, "random": 2}, [7]),
    ],
    ids=str,
)
def test_equals_the_formula(options, lengths):
    s = subject(**options)
    for length in lengths:
        assert not list(differences(s, masks(length)))


def drawn(last: int, heads: int = 1, layer: int = 0, blocks: int = 24, **options) -> np.ndarray:
    """The random blocks of every block, of sequences that end in block `last`: [blocks, heads, random]."""
    core = subject(layer=layer, **options).module.core
    core.heads = heads
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
    """Over 3000 heads: of the ten blocks that block 6 of 15 leaves, each is drawn as often, and so is each pair."""
    heads, left = 3000, [2, 3, 4, 8, 9, 10, 11, 12, 13, 1]
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


def test_a_short_sequence_has_full_attention():
    """At most five and the random blocks; the sequences end in other blocks than the padded length."""
    x, mask = np.random.default_rng(0).normal(size=(6, 24, 10)).astype(np.float32), masks(16)
    mask = np.pad(mask, [(0, 0), (0, 8)])
    expected = subject("transformer")
    out = subject(block=2, random=3).compiled(expected.params, x, mask)
    np.testing.assert_allclose(out[mask], expected(x, mask)[mask], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"block": 0}, {"random": -1}, {"seed": -1}], ids=str)
def test_impossible_options_are_refused(options):
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=rf"bigbird\.{name} = {value}"):
        subject(**options)
