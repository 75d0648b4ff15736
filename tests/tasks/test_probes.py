"""The probes: every label is what a solver finds, and what a task must not give away cannot be guessed."""

import dataclasses

import numpy as np
import pytest
from examples import collect

from lra.errors import UsageError
from lra.tasks import TASKS
from lra.tasks.flipflop import LETTERS as CAPITALS
from lra.tasks.flipflop import Flipflop
from lra.tasks.hops import MOST_CELLS, Hops
from lra.tasks.intersect import SYMBOLS, Intersect
from lra.tasks.range import FILLERS, Range

SIZES = {"train": 4_000, "validation": 50, "test": 1_000}
SOURCES = [Flipflop(**SIZES), Hops(**SIZES), Intersect(**SIZES), Range(**SIZES)]
NAMES = [type(source).__name__.lower() for source in SOURCES]


def splits_of(source):
    return collect(source.generate())


@pytest.fixture(scope="module")
def splits():
    return {name: splits_of(source) for name, source in zip(NAMES, SOURCES)}


def hops_of(tokens):
    """By following each pointer: of each cell the symbol at the end, and how far it is."""
    found = []
    for cell in range(len(tokens)):
        hops = 0
        while tokens[cell] < MOST_CELLS:
            cell, hops = tokens[cell], hops + 1
        found.append((tokens[cell] - MOST_CELLS, hops))
    return found


def intersection_of(tokens):
    first, second = ([token for token in half if token] for half in np.split(tokens, 2))
    shared = {*first} & {token - SYMBOLS for token in second}
    assert len(first) == len({*first}) == len(second) == len({*second}) == 2 * len(shared)
    level = (4, 8, 16, 32).index(len(first))
    return [(int((token - 1) % SYMBOLS + 1 in shared) if token else -1, level) for token in tokens.tolist()]


def flipflop_of(tokens):
    """From left to right, with the last capital and its place in mind."""
    found, last, since = [], -1, 0
    for place, token in enumerate(tokens.tolist()):
        if token >= CAPITALS:
            last, since = token - CAPITALS, place
        asked = last >= 0 and token < CAPITALS
        found.append((last, (place - since).bit_length() - 1) if asked else (-1, 0))
    return found


def range_of(tokens):
    ((place,),) = np.nonzero(tokens > FILLERS)
    return int(tokens[place]) - 1 - FILLERS, int(place).bit_length() - 3


SOLVERS = {"flipflop": flipflop_of, "hops": hops_of, "intersect": intersection_of, "range": range_of}


@pytest.mark.parametrize("name", NAMES)
def test_a_solver_finds_every_label_and_its_difficulty(splits, name):
    split, solve = splits[name]["test"], SOLVERS[name]
    for tokens, labels, bins in zip(split.inputs.astype(int), split.labels, split.bins):
        solved = np.array(solve(tokens))
        assert labels.tolist() == solved[..., 0].tolist()
        there = solved[..., 0] >= 0
        assert bins[there].tolist() == solved[..., 1][there].tolist()


def test_the_training_split_of_hops_has_labels_up_to_the_trained_ones(splits):
    train = splits["hops"]["train"]
    assert {*train.bins[train.labels >= 0].tolist()} == {0, 1, 2, 3}
    assert ((train.labels < 0) == (train.bins > 3)).all()


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_labels_are_balanced_and_nothing_of_test_is_in_train(splits, name):
    split = splits[name]["test"]
    of_labels = np.bincount(split.labels[split.labels >= 0])
    assert of_labels.min() > 0.75 * of_labels.max()
    levels = len(SOURCES[NAMES.index(name)].difficulty.levels)
    if split.bins.ndim == 1:
        of_levels = np.bincount(split.bins)
    else:  # in how many sequences a level is asked for
        asked = np.where(split.labels < 0, levels, split.bins)
        of_levels = np.array([(asked == level).any(1).sum() for level in range(levels)])
    assert len(of_levels) == levels
    assert of_levels.min() > 0.6 * of_levels.max()
    train = {row.tobytes() for row in splits[name]["train"].inputs}
    assert not train & {row.tobytes() for row in split.inputs}


def regression(inputs, labels, classes, steps=20):
    """Logistic regression by gradient descent; returns its answers to a second pair of inputs."""
    (x, unseen), weights = inputs, np.zeros((inputs[0].shape[1], classes))
    for _ in range(steps):
        logits = x @ weights
        odds = np.exp(logits - logits.max(1, keepdims=True))
        weights -= 2.0 * x.T @ (odds / odds.sum(1, keepdims=True) - np.eye(classes)[labels]) / len(x)
    return (unseen @ weights).argmax(1)


@pytest.mark.parametrize("level", [1, 3])
def test_hops_cannot_be_guessed_from_what_the_sequence_holds(splits, level):
    """Given the symbols, the token of the cell and where it stands: no more than one chain of four is right."""
    train, test = splits["hops"]["train"], splits["hops"]["test"]

    def seen(split):
        rows, cells = np.nonzero(split.bins == level)
        rows, cells = rows[::8], cells[::8]
        own = np.eye(MOST_CELLS)[split.inputs[rows, cells] % MOST_CELLS][:, :32]
        symbols = [(split.inputs[rows] == MOST_CELLS + symbol).any(1) for symbol in range(8)]
        place = np.eye(32)[cells]
        return np.concatenate([own, place, np.stack(symbols, 1)], 1), split.labels[rows, cells]

    (x, y), (unseen, wanted) = seen(train), seen(test)
    share = (regression((x, unseen), y, 8) == wanted).mean()
    assert 0.2 < share < 0.30


@pytest.mark.parametrize("level", [0, 4])
def test_flipflop_cannot_be_guessed_from_what_the_sequence_holds(splits, level):
    """Given a histogram of the sequence, and the token's place: one of the five capitals is right."""
    train, test = splits["flipflop"]["train"], splits["flipflop"]["test"]

    def seen(split):
        rows, places = np.nonzero((split.bins == level) & (split.labels >= 0))
        rows, places = rows[::4], places[::4]
        counts = np.stack([(split.inputs == token).sum(1) for token in range(16)], 1)[rows]
        return np.concatenate([counts / 8, np.eye(64)[places]], 1), split.labels[rows, places]

    (x, y), (unseen, wanted) = seen(train), seen(test)
    assert abs((regression((x, unseen), y, 100) == wanted).mean() - 0.2) < 0.05


def test_each_sequence_of_flipflop_has_one_run_for_each_level(splits):
    inputs = splits["flipflop"]["test"].inputs
    heads = [np.flatnonzero(row >= CAPITALS).tolist() for row in inputs]
    runs = [np.diff([*places, 64]) - 1 for places in heads]
    assert all(sorted(int(run).bit_length() - 1 for run in own) == [0, 1, 2, 3, 4] for own in runs)


def test_a_token_of_intersect_says_nothing_by_itself(splits):
    train, test = splits["intersect"]["train"], splits["intersect"]["test"]

    def seen(split):
        there = split.labels >= 0
        return np.eye(1 + 2 * SYMBOLS)[split.inputs[there][::9]], split.labels[there][::9]

    (x, y), (unseen, wanted) = seen(train), seen(test)
    assert abs((regression((x, unseen), y, 2) == wanted).mean() - 0.5) < 0.03


def test_one_token_changes_the_labels_that_depend_on_it_and_no_others(splits):
    tokens = splits["hops"]["test"].inputs[0].astype(int)
    before = np.array(hops_of(tokens))
    (end,) = np.nonzero(tokens == before[0, 0] + MOST_CELLS)[0]
    tokens[end] = MOST_CELLS + next(iter({*range(8)} - {*before[:, 0].tolist()}))
    changed = np.array(hops_of(tokens))[:, 0] != before[:, 0]
    assert changed.tolist() == (before[:, 0] == before[0, 0]).tolist()
    assert changed.sum() == 8


@pytest.mark.parametrize(
    ("source", "wrong", "says"),
    [
        (Hops, {"cells": 30}, "chains of one length"),
        (Hops, {"cells": 256, "chains": 8}, "at most 128 cells"),
        (Hops, {"trained": 8}, "not a number of hops, 0 to 7"),
        (Flipflop, {"max_length": 48}, "power of two from 8"),
        (Intersect, {"items": (8, 4)}, "ascending"),
        (Intersect, {"items": (3,)}, "even numbers"),
        (Intersect, {"items": ()}, "even numbers"),
        (Range, {"max_length": 100}, "power of two"),
        (Range, {"train": 0}, "train = 0"),
    ],
)
def test_parameters_that_cannot_be_are_named(source, wrong, says):
    with pytest.raises((UsageError, ValueError), match=says):
        source(**wrong)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_more_training_examples_leave_the_others_unchanged(source):
    fewer, more = (splits_of(dataclasses.replace(source, train=count)) for count in (10, 5_000))
    for column in ("inputs", "labels", "bins"):
        assert np.array_equal(getattr(fewer["test"], column), getattr(more["test"], column))
        assert np.array_equal(getattr(fewer["train"], column), getattr(more["train"], column)[:10])


def test_what_a_person_sees():
    assert TASKS["range"].show(np.array([0, 1, 2, 3])) == "?abA"
    assert TASKS["hops"].show(np.array([1, MOST_CELLS])) == "0:1 1:A"
    assert TASKS["flipflop"].show(np.array([0, 15])) == "aH"
    assert TASKS["intersect"].show(np.array([5, 0, 125, 0])) == "4 | 4"
