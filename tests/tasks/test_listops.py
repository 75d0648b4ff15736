"""ListOps against LRA's law, written down again in plain Python, and against LRA's own files."""

import collections
import dataclasses
import hashlib
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gin
import numpy as np
import pytest
from examples import assert_same, collect, decode, read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lra.errors import UserError
from lra.tasks import TASKS, Split
from lra.tasks.listops import LISTOPS, ROOTS, VOCABULARY, ListOps, draw_chunk

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
SPLITS = ("train", "validation", "test")
FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
SHORT = ListOps(min_length=3, max_length=40, max_depth=4, max_args=5, train=3_000, validation=150, test=100, seed=7)
TINY = dataclasses.replace(SHORT, train=12, validation=4, test=3)

Tree = int | list  # a digit, or [operator, argument, ...]


# --- The law, literally ----------------------------------------------------------------------------------------


def draw(rng: random.Random, spec: ListOps, depth: int = 1) -> tuple[Tree, int]:
    """LRA's generate_tree: a tree and its length, in which an operator and its bracket are two."""
    if depth == spec.max_depth or rng.random() > 0.25:
        return rng.randrange(10), 1
    tree, length = [rng.choice(OPERATORS)], 2
    for _ in range(rng.randint(2, spec.max_args)):
        argument, tokens = draw(rng, spec, depth + 1)
        tree.append(argument)
        length += tokens
    return tree, length


def parse(text: str) -> Tree:
    """The only expression in a text like "[MAX 4 3 ]"."""

    def expression(words: Iterator[str], word: str) -> Tree:
        if word in OPERATORS:
            return [word, *(expression(words, word) for word in iter(lambda: next(words), "]"))]
        assert word in set("0123456789")
        return int(word)

    words = iter(text.split())
    tree = expression(words, next(words))
    assert list(words) == []
    return tree


def worth(tree: Tree) -> int:
    if isinstance(tree, int):
        return tree
    operator, *arguments = tree[0], *map(worth, tree[1:])
    return {
        "[MIN": min,
        "[MAX": max,
        "[MED": lambda values: int(np.median(values)),
        "[SM": lambda values: sum(values) % 10,
    }[operator](arguments)


def nodes(tree: Tree) -> Iterator[tuple[int, Tree]]:
    """All subtrees, each with the depth of its root."""
    left = [(1, tree)]
    while left:
        depth, node = left.pop()
        yield depth, node
        if isinstance(node, list):
            left += [(depth + 1, argument) for argument in node[1:]]


def tokens(tree: Tree) -> list[str]:
    return [str(tree)] if isinstance(tree, int) else [tree[0], *itertools.chain(*map(tokens, tree[1:])), "]"]


def trees_of(split: Split) -> list[Tree]:
    return [parse(decode(row[:length])) for row, length in zip(split.inputs, split.lengths)]


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
    gin.parse_config_file(str(Path(__file__).parents[2] / "gin" / "tasks" / "listops.gin"))
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
    """Numbers of each tree whose means tell one law from another."""
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
    """No mean is five standard errors from the other's; seeds are fixed, so this is decided once."""
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
    """lra-facts 2.1, from 20,000 trees of LRA's own generator; their sampling error and that of ours."""
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
    """All 410 trees there are: ten digits, and 4 operators on 10 x 10 digits."""
    spec = dataclasses.replace(SHORT, min_length=0, max_length=5, max_depth=2, max_args=2)
    chunks = 4
    found = collections.Counter(
        " ".join(tokens(t)) for chunk in range(chunks) for t in trees_of(draw_chunk(spec, chunk))
    )
    expected = {str(digit): 0.75 / 10 for digit in range(10)} | {
        f"{operator} {a} {b} ]": 0.25 / 4 / 100 for operator in OPERATORS for a in range(10) for b in range(10)
    }
    assert found.keys() == expected.keys()
    assert found.total() == chunks * ROOTS
    chi2 = sum((found[tree] - p * chunks * ROOTS) ** 2 / (p * chunks * ROOTS) for tree, p in expected.items())
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


def generate_with_two_workers(pipe: Any) -> None:
    for _ in ListOps().generate(2):
        pipe.send([child.pid for child in multiprocessing.active_children()])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_workers_end_with_a_killed_parent():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    parent = context.Process(target=generate_with_two_workers, args=(there,))
    parent.start()
    assert here.poll(60)
    workers = here.recv()
    assert len(workers) == 2
    parent.kill()
    parent.join()
    until = time.monotonic() + 10
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in workers if runs(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


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
    """One root in 16,384 makes a tree of 22 tokens, so that there are chunks without any."""
    spec = dataclasses.replace(
        SHORT, min_length=21, max_length=23, max_depth=4, max_args=2, train=8, validation=1, test=1
    )
    assert 0 in [len(draw_chunk(spec, chunk)) for chunk in range(6)]
    found = collect(spec.generate())
    assert sum(map(len, found.values())) == 10
    assert {int(length) for part in found.values() for length in part.lengths} == {22}


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


# --- LRA's files -----------------------------------------------------------------------------------------------


def lra_text(tree: Tree) -> str:
    """LRA's to_string: a tree as nested pairs, each in round brackets."""
    if isinstance(tree, int):
        return str(tree)
    text = tree[0]
    for argument in (*map(lra_text, tree[1:]), "]"):
        text = f"( {text} {argument} )"
    return text


def write_tsv(folder: Path, splits: dict[str, Split], end: str = "\n") -> None:
    for split, part in splits.items():
        lines = [f"{lra_text(tree)}\t{label}" for tree, label in zip(trees_of(part), part.labels)]
        (folder / FILES[split]).write_bytes("".join(f"{line}{end}" for line in ("Source\tTarget", *lines)).encode())


@pytest.fixture(scope="module")
def tiny() -> dict[str, Split]:
    return collect(TINY.generate())


@pytest.fixture(scope="module")
def shared_folder(tiny, tmp_path_factory) -> Path:
    """The files of `tiny`; who changes one puts it back."""
    folder = tmp_path_factory.mktemp("tsv")
    write_tsv(folder, tiny)
    return folder


def test_writer_of_these_tests_writes_lras_format():
    assert lra_text(["[MAX", 4, 3]) == "( ( ( [MAX 4 ) 3 ) ] )"
    assert lra_text(["[SM", 1, ["[MED", 2, 9]]) == "( ( ( [SM 1 ) ( ( ( [MED 2 ) 9 ) ] ) ) ] )"


@pytest.mark.parametrize(("end", "workers"), [("\n", 1), ("\r\n", 1), ("\n", 2)])
def test_tsv_reads_back_as_generated(short, tmp_path, end, workers):
    write_tsv(tmp_path, short, end)
    assert_same(read(SHORT, tmp_path, workers)[0], short)


def test_tsv_of_lras_own_lengths(default, tmp_path):
    spec = ListOps(train=20, validation=5, test=5)
    rows = {"train": default[:20], "validation": default[20:25], "test": default[25:30]}
    write_tsv(tmp_path, rows)
    assert_same(read(spec, tmp_path)[0], rows)


GOOD = b"( ( ( [MAX 4 ) 3 ) ] )\t4\n"
LONG = b"( " * 41 + b"[MAX " + b"4 ) " * 40 + b"] )\t4\n"


def with_line_5(line: bytes):
    def damage(raw: bytes) -> bytes:
        lines = raw.splitlines(keepends=True)
        lines[4] = line
        return b"".join(lines)

    return damage


@pytest.mark.parametrize(
    ("damage", "where", "what"),
    [
        pytest.param(lambda raw: raw[:-8], "line {last}", "cut off", id="cut in a row"),
        pytest.param(lambda raw: raw[:-1], "line {last}", "cut off", id="cut before the last line end"),
        pytest.param(lambda raw: raw[: raw.rindex(b"\t")], "line {last}", "cut off", id="cut before a tab"),
        pytest.param(lambda raw: raw[: raw.rindex(b"\n", 0, -1) + 1], "", "{fewer} rows", id="cut between rows"),
        pytest.param(lambda raw: raw + GOOD, "", "{more} rows", id="a row too many"),
        pytest.param(lambda raw: b"", "line 1", "header", id="empty"),
        pytest.param(lambda raw: b"Source\tTarget\n", "", "0 rows", id="header only"),
        pytest.param(lambda raw: raw.replace(b"Target", b"Label", 1), "line 1", "header", id="other header"),
        pytest.param(lambda raw: raw.split(b"\n", 1)[1], "line 1", "header", id="no header"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\n"), "line 5", "1 columns", id="column missing"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\t4\t4\n"), "line 5", "3 columns", id="column too many"),
        pytest.param(with_line_5(b"\n"), "line 5", "columns", id="blank line"),
        pytest.param(with_line_5(b"[MEAN 4 3 ]\t4\n"), "line 5", "MEAN", id="unknown token"),
        pytest.param(with_line_5(b"[MAX 4 31 ]\t4\n"), "line 5", "31", id="two digits"),
        pytest.param(with_line_5(b"[MAX 4 \xff ]\t4\n"), "line 5", "not a token", id="no UTF-8"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\t\xff\n"), "line 5", "label", id="no UTF-8 in the label"),
        pytest.param(with_line_5(b"[MAX 4 3\t4\n"), "line 5", "not closed", id="bracket missing"),
        pytest.param(with_line_5(b"[MAX 4 3 ] ]\t4\n"), "line 5", "never opened", id="bracket too many"),
        pytest.param(with_line_5(b"[MAX ]\t4\n"), "line 5", "no arguments", id="no arguments"),
        pytest.param(with_line_5(b"4 [MAX 4 3 ]\t4\n"), "line 5", "2 expressions", id="two expressions"),
        pytest.param(with_line_5(b"\t4\n"), "line 5", "0 expressions", id="no expression"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\t3\n"), "line 5", "worth 4", id="wrong label"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\tfour\n"), "line 5", "four", id="label is no digit"),
        pytest.param(with_line_5(b"[SM 9 3 ]\t12\n"), "line 5", "12", id="label of two digits"),
        pytest.param(with_line_5(b"[MAX 4 3 ]\t\n"), "line 5", "label", id="label is empty"),
        pytest.param(with_line_5(LONG), "line 5", "listops.max_length", id="too long"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_tsv(tiny, tmp_path, damage, where, what, split):
    if "5" in where and split == "test":
        split = "validation"  # three rows have no line 5
    write_tsv(tmp_path, tiny)
    path = tmp_path / FILES[split]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        read(TINY, tmp_path)
    message = str(caught.value)
    rows = TINY.sizes[split]
    assert str(path) in message
    assert where.format(last=rows + 1) in message
    assert what.format(fewer=rows - 1, more=rows + 1) in message
    assert "\n" not in message


def test_damage_far_into_a_file_has_its_line(short, tmp_path):
    """Blocks go to several processes; the line is still the file's."""
    write_tsv(tmp_path, short)
    path = tmp_path / FILES["train"]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2_345] = b"broken\n"
    path.write_bytes(b"".join(lines))
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"basic_train\.tsv, line 2346: "):
            read(SHORT, tmp_path, workers)


@pytest.mark.parametrize("split", SPLITS)
def test_missing_tsv(tiny, tmp_path, split):
    write_tsv(tmp_path, tiny)
    (tmp_path / FILES[split]).unlink()
    with pytest.raises(UserError, match=FILES[split]):
        read(TINY, tmp_path)


def test_every_cut_of_a_file_is_noticed(shared_folder):
    path = shared_folder / FILES["validation"]
    raw = path.read_bytes()
    try:
        for size in range(len(raw)):
            path.write_bytes(raw[:size])
            with pytest.raises(UserError, match=FILES["validation"]):
                read(TINY, shared_folder)
    finally:
        path.write_bytes(raw)


mutations = st.tuples(st.sampled_from(["replace", "insert", "delete"]), st.integers(0, 10_000), st.integers(0, 255))


@settings(max_examples=400, deadline=None)
@given(mutations)
@example(("delete", 13, 0))
@example(("insert", 14, ord("\n")))
@example(("insert", 14, ord("\t")))
def test_any_changed_byte_is_noticed_or_harmless(tiny, shared_folder, mutation):
    """Either an error, or rows that are worth their labels and of which at most the one of the byte's line is new."""
    path = shared_folder / FILES["train"]
    raw = path.read_bytes()
    kind, place, byte = mutation
    place %= len(raw)
    path.write_bytes(raw[:place] + (b"" if kind == "delete" else bytes([byte])) + raw[place + (kind != "insert") :])
    try:
        found = read(TINY, shared_folder)[0]
    except UserError as error:
        message = str(error)
        found = None
    finally:
        path.write_bytes(raw)
    if found is None:
        assert str(path) in message
        return
    assert_same({split: found[split] for split in SPLITS[1:]}, {split: tiny[split] for split in SPLITS[1:]})
    assert [worth(tree) for tree in trees_of(found["train"])] == found["train"].labels.tolist()
    changed = np.flatnonzero((found["train"].inputs != tiny["train"].inputs).any(1))
    assert set(changed) <= {raw.count(b"\n", 0, place) - 1}
    if len(changed) == 0:
        assert_same(found, tiny)
