"""Evaluation answers each example once, whatever its length and its batch, in no more memory than it may take."""

import jax
import numpy as np
import pytest
from conftest import SMALL, resolved

from lra import feed, memory
from lra.evaluation import Evaluator
from lra.order import lengths_of
from lra.placement import SEED, placement_of
from lra.recipe import merged
from lra.tasks import Split
from lra.train import step_functions

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def plan():
    return resolved("listops", "local", "demo", SEEDS, merged(SMALL, ["listops.max_length = 200", "local.radius = 3"]))


def of_lengths(*lengths: int, width: int = 200) -> Split:
    rng = np.random.default_rng(0)
    inputs = rng.integers(1, 15, (len(lengths), width)).astype(np.uint8)
    inputs[np.arange(width) >= np.array(lengths)[:, None]] = 0
    return Split(inputs, np.array(lengths, np.int32), rng.integers(0, 10, len(lengths)).astype(np.int32))


def evaluator_of(plan, batch, **splits):
    placement = placement_of(len(SEEDS), batch)
    functions = step_functions(plan, placement)
    state = placement.put(functions.init(SEEDS), SEED)
    evaluator = Evaluator(functions, splits, len(SEEDS), batch, placement)
    return evaluator, (state.params, state.buffers)


def test_every_example_is_answered_once_at_any_length(plan, monkeypatch):
    rng = np.random.default_rng(1)
    split = of_lengths(*rng.integers(1, 201, 37), 200, 60)
    few = of_lengths(3, 150)
    evaluator, variables = evaluator_of(plan, 8, test=split, validation=few)
    assert evaluator.sizes == (64, 128, 200)
    evaluator.compile(*variables)
    seen = []
    scored = evaluator("test", *variables, lambda: None, seen.append)
    assert sum(seen) == len(split)
    whole, everything = evaluator_of(plan, len(split), test=split)
    monkeypatch.setattr(whole, "sizes", (200,))  # all padded to the longest, in one batch
    whole.compile(*everything)
    expected = whole("test", *everything, lambda: None, seen.append)
    np.testing.assert_allclose(scored.loss, expected.loss, atol=1e-6)
    assert np.array_equal(scored.prediction, expected.prediction)
    assert scored.accuracy == [float((seed == split.labels).mean()) for seed in expected.prediction]
    # both splits share the programs; one in pieces gives the same
    assert evaluator("validation", *variables, lambda: None, seen.append).prediction.shape == (3, 2)
    monkeypatch.setattr(feed, "PIECE", 3000)
    pieces, _ = evaluator_of(plan, 8, test=split)
    assert max(map(pieces.batches, pieces.sizes)) < 3
    pieces.compile(*variables)
    assert np.array_equal(pieces("test", *variables, lambda: None, seen.append).prediction, scored.prediction)


def test_no_token_is_computed_beyond_the_size_of_an_example(plan):
    split = of_lengths(*[10] * 8, *[200] * 8)
    evaluator, _ = evaluator_of(plan, 8, test=split)
    assert evaluator.padded("test").tolist() == [64] * 8 + [200] * 8
    assert lengths_of(split).tolist() == [10] * 8 + [200] * 8


def test_batches_are_halved_until_an_evaluation_takes_no_more_than_it_may(plan):
    split = of_lengths(*[200] * 64)
    evaluator, variables = evaluator_of(plan, 64, test=split)
    takes = evaluator.compile(*variables)
    assert evaluator.batch == 64
    less = evaluator.compile(*variables, most=takes // 3)
    assert evaluator.batch in (8, 16)
    assert less <= takes // 3
    assert less == memory.need(evaluator.programs[200]).total - sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    evaluator.compile(*variables, most=1)
    assert evaluator.batch == 1
