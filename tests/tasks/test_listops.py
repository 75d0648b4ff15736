"""ListOps against LRA's law, which is written again in plain Python."""

import collections
import dataclasses
import hashlib
import itertools
import random

import numpy as np
import pytest
from examples import assert_same, collect, decode
from listops_law import (
    OPERATORS,
    SHORT,
    SPLITS,
    TINY,
    Tree,
    draw,
    nodes,
    tokens,
    trees_of,
    worth,
)

from lra.errors import UserError
from lra.tasks import TASKS, Split
from lra.tasks.listops import LISTOPS, ROOTS, VOCABULARY, ListOps, draw_chunk


@pytest.fixture(scope="module")
def short() -> dict[str, Split]:
    return collect(SHORT.generate())


@pytest.fixture(scope="module")
def default() -> Split:
    """A sample under LRA's parameters: all accepted trees of four chunks of roots."""
    return collect(("all", draw_chunk(ListOps(), chunk)) for chunk in range(4))["all"]


# --- What a row is ---------------------------------------------------------------------------------------------


def test_vocabulary_is_fixed():
    assert VOCABULARY == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "[MIN", "[MAX", "[MED", "[SM", "]")
    assert decode(np.array([12, 5, 14, 1, 10, 15, 15])) == "[MAX 4 [SM 0 9 ] ]"
    assert (LISTOPS.vocab_size, LISTOPS.num_classes) == (17, 10)
    assert TASKS["listops"] is LISTOPS


def test_defaults_are_those_of_lra():
    assert dataclasses.asdict(ListOps()) == {
        "min_length": 500, "max_length": 2000, "max_depth": 10, "max_args": 10,
        "train": 96_000, "validation": 2_000, "test": 2_000, "seed": 0,
    }  # fmt: skip
    assert LISTOPS.source() == ListOps()


@pytest.mark.parametrize("name", ["short", "default"])
def test_every_row_is_a_tree_of_the_law_and_worth_its_label(name, request):
    if name == "short":
        spec, splits = SHORT, request.getfixturevalue("short")
    else:
        spec, splits = ListOps(), {"all": request.getfixturevalue("default")[:600]}
    deepest, arities, lengths = 0, set(), set()
    for split in splits.values():
        assert (split.inputs.dtype, split.lengths.dtype, split.labels.dtype) == (np.uint8, np.int32, np.int32)
        assert split.inputs.shape == (len(split), spec.max_length)
        columns = np.arange(spec.max_length)
        np.testing.assert_array_equal(split.inputs > 0, columns < split.lengths[:, None])
        for tree, label, length in zip(trees_of(split), split.labels, split.lengths):
            assert worth(tree) == label
            assert spec.min_length < length < spec.max_length
            lengths.add(int(length))
            for depth, node in nodes(tree):
                assert depth <= spec.max_depth
                deepest = max(deepest, depth)
                if isinstance(node, list):
                    arities.add(len(node) - 1)
    assert deepest == spec.max_depth
    assert arities == set(range(2, spec.max_args + 1))
    if name == "short":
        assert lengths == set(range(4, 40))  # the bounds are strict; all between occur


def test_sums_of_many_arguments():
    spec = dataclasses.replace(SHORT, min_length=100, max_length=300, max_depth=2, max_args=290)
    rows = draw_chunk(spec, 0)
    trees = trees_of(rows)
    assert max(sum(tree[1:]) for tree in trees) > 1_000
    assert [worth(tree) for tree in trees] == rows.labels.tolist()


# --- The law ---------------------------------------------------------------------------------------------------


def features(trees: list[Tree]) -> list[collections.Counter]:
    """Features of each tree, whose means distinguish one law from another."""
    rows = []
    for tree in trees:
        row = collections.Counter({"length": 0, ("label", worth(tree)): 1})
        for depth, node in nodes(tree):
            if isinstance(node, int):
                row[node] += 1
                row["leaf", depth] += 1
                row["length"] += 1
            else:
                row[node[0]] += 1
                row[f"{len(node) - 1} arguments", depth] += 1
                row["length"] += 2
                row["operators first"] += isinstance(node[1], list)
                row["operators last"] += isinstance(node[-1], list)
        rows.append(row)
    return rows


def assert_same_means(ours: list[collections.Counter], reference: list[collections.Counter]) -> None:
    """No two means differ by five standard errors. The seeds are fixed, so the result is always the same."""
    compared = set()
    for name in set().union(*ours, *reference):
        a, b = (np.array([row[name] for row in rows], float) for rows in (ours, reference))
        if np.count_nonzero(a) + np.count_nonzero(b) < 100:
            continue  # too rare for a normal approximation
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 5 * error + 1e-9, name
        compared.add(name)
    assert compared >= {"length", *range(10), *OPERATORS, *(("label", digit) for digit in range(10))}


def assert_same_rate(hits: int, draws: int, reference_hits: int, reference_draws: int) -> None:
    rate = (hits + reference_hits) / (draws + reference_draws)
    error = np.sqrt(rate * (1 - rate) * (1 / draws + 1 / reference_draws))
    assert abs(hits / draws - reference_hits / reference_draws) < 5 * error


@pytest.mark.parametrize(
    ("spec", "chunks", "reference_draws"),
    [
        (ListOps(), 1, 9_000),
        (SHORT, 2, 30_000),
        (dataclasses.replace(SHORT, min_length=0, max_length=10, max_depth=3, max_args=2), 1, 30_000),
    ],
    ids=["default", "short", "binary"],
)
def test_distribution_is_that_of_the_literal_law(spec, chunks, reference_draws):
    rng = random.Random(20_201_108)
    drawn = (draw(rng, spec) for _ in range(reference_draws))
    reference = [tree for tree, length in drawn if spec.min_length < length < spec.max_length]
    ours = [tree for chunk in range(chunks) for tree in trees_of(draw_chunk(spec, chunk))]
    assert_same_rate(len(ours), chunks * ROOTS, len(reference), reference_draws)
    assert_same_means(features(ours), features(reference))


def test_default_parameters_give_the_published_statistics(default):
    """The statistics of 20,000 trees of LRA's own generator, with the sampling errors of both samples."""
    count, published = len(default), 20_000
    sampling = np.sqrt(1 / count + 1 / published)
    lengths = default.lengths
    rate = count / (4 * ROOTS)
    assert abs(rate - 0.083) < 0.0005 + 4 * np.sqrt(rate / (4 * ROOTS) + rate / (published / rate))
    assert abs(lengths.mean() - 1039) < 0.5 + 4 * lengths.std() * sampling
    assert abs((lengths > 1000).mean() - 0.46) < 0.005 + 4 * 0.5 * sampling
    for share, length in ((0.1, 579), (0.5, 961), (0.9, 1649)):
        assert abs((lengths < length).mean() - share) < 0.005 + 4 * np.sqrt(share * (1 - share)) * sampling
    assert abs((default.labels == 0).mean() - 0.170) < 0.0005 + 4 * np.sqrt(0.17 * 0.83) * sampling


def test_trees_of_two_levels_have_the_probabilities_of_the_law():
    """There are 410 such trees: ten digits, and 4 operators on 10 x 10 digits."""
    spec = dataclasses.replace(SHORT, min_length=0, max_length=5, max_depth=2, max_args=2)
    chunks = 4
    counts = collections.Counter(
        " ".join(tokens(t)) for chunk in range(chunks) for t in trees_of(draw_chunk(spec, chunk))
    )
    expected = {str(digit): 0.75 / 10 for digit in range(10)} | {
        f"{operator} {a} {b} ]": 0.25 / 4 / 100 for operator in OPERATORS for a in range(10) for b in range(10)
    }
    assert counts.keys() == expected.keys()
    assert counts.total() == chunks * ROOTS
    chi2 = sum((counts[tree] - p * chunks * ROOTS) ** 2 / (p * chunks * ROOTS) for tree, p in expected.items())
    assert abs(chi2 - 409) < 4 * np.sqrt(2 * 409)


# --- Which rows, and in what order -----------------------------------------------------------------------------


def test_sizes_are_exact_and_no_row_is_twice(short):
    assert {split: len(part) for split, part in short.items()} == {"train": 3_000, "validation": 150, "test": 100}
    texts = [decode(row[row > 0]) for part in short.values() for row in part.inputs]
    assert len(set(texts)) == 3_250


def test_rows_are_the_trees_of_all_chunks_once_in_their_order(short):
    drawn = [row.tobytes() for chunk in range(3) for row in draw_chunk(SHORT, chunk).inputs]
    assert len(set(drawn)) < len(drawn)
    dealt = [row.tobytes() for split in SPLITS for row in short[split].inputs]
    assert dealt == list(dict.fromkeys(drawn))[: len(dealt)]


def test_splits_are_handed_out_in_order():
    names = [split for split, _ in dataclasses.replace(SHORT, train=2_600, validation=1_500, test=2_000).generate()]
    assert [name for name, _ in itertools.groupby(names)] == list(SPLITS)


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_same_rows_for_every_number_of_workers(seed):
    spec = dataclasses.replace(SHORT, train=3_500, validation=1_000, test=500, seed=seed)
    alone = collect(spec.generate(1))
    for workers in (2, 3) if seed == 7 else (2,):
        assert_same(collect(spec.generate(workers)), alone)


def test_every_seed_has_its_own_rows():
    spec = dataclasses.replace(ListOps(), train=300, validation=1, test=1)
    rows = [
        collect(dataclasses.replace(spec, seed=seed).generate())["train"].inputs for seed in (0, 1, 2**32, 2**64 - 1)
    ]
    texts = [{row.tobytes() for row in part} for part in rows]
    assert len(set().union(*texts)) == 4 * 300  # long trees: none by chance in two


def test_rows_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for split, part in collect(TINY.generate()).items():
        digest.update(split.encode())
        for array, kind in ((part.inputs, "u1"), (part.lengths, "<i4"), (part.labels, "<i4")):
            digest.update(array.astype(kind).tobytes())
    assert digest.hexdigest() == "4b3f1fc3435ff67239b7f36b4b75371ea8442020d28bc845875a4ccb8b6eeb3f"


@pytest.mark.parametrize(
    ("limits", "there_are"),
    [
        ({"min_length": 0, "max_length": 5, "max_depth": 2, "max_args": 2}, 410),
        ({"min_length": 0, "max_length": 3}, 10),
        ({"min_length": 1, "max_length": 4}, 0),
        ({"min_length": 30, "max_length": 40, "max_depth": 1}, 0),
    ],
)
def test_more_rows_than_there_are_trees(limits, there_are):
    spec = dataclasses.replace(SHORT, **limits, train=1, validation=1, test=1)
    if there_are:
        all_of_them = collect(dataclasses.replace(spec, train=there_are - 2).generate())
        assert sum(map(len, all_of_them.values())) == there_are
    with pytest.raises(UserError, match=rf"listops has only {there_are:,} .*listops\.max_length"):
        collect(dataclasses.replace(spec, train=max(there_are - 1, 1)).generate())


def test_rare_trees_are_found():
    """One root in 16,384 makes a tree of 22 tokens, so there are chunks without any tree."""
    spec = dataclasses.replace(
        SHORT, min_length=21, max_length=23, max_depth=4, max_args=2, train=8, validation=1, test=1
    )
    assert 0 in [len(draw_chunk(spec, chunk)) for chunk in range(6)]
    splits = collect(spec.generate())
    assert sum(map(len, splits.values())) == 10
    assert {int(length) for part in splits.values() for length in part.lengths} == {22}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_length", -1),
        ("min_length", 1999),
        ("min_length", None),
        ("max_length", 501),
        ("max_length", 2000.0),
        ("max_length", "2000"),
        ("max_depth", 0),
        ("max_args", 1),
        ("train", 0),
        ("validation", -1),
        ("test", 2.5),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", True),
    ],
)
def test_bad_parameters(name, value):
    with pytest.raises(UserError, match=rf"listops\.{name}\b"):
        ListOps(**{name: value})
