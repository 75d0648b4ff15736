"""ListOps from LRA's own files."""

from pathlib import Path

import numpy as np
import pytest
from examples import assert_same, collect, read
from hypothesis import example, given, settings
from hypothesis import strategies as st
from listops_law import FILES, SHORT, SPLITS, TINY, Tree, trees_of, worth

from lra.errors import UserError
from lra.tasks import Split
from lra.tasks.listops import ListOps, draw_chunk


@pytest.fixture(scope="module")
def short() -> dict[str, Split]:
    return collect(SHORT.generate())


@pytest.fixture(scope="module")
def default() -> Split:
    """A sample under LRA's parameters: all accepted trees of four chunks of roots."""
    return collect(("all", draw_chunk(ListOps(), chunk)) for chunk in range(4))["all"]


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
    """The files of `tiny`. A test that changes one restores it."""
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


@settings(max_examples=400)
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
        splits = read(TINY, shared_folder)[0]
    except UserError as error:
        message = str(error)
        splits = None
    finally:
        path.write_bytes(raw)
    if splits is None:
        assert str(path) in message
        return
    assert_same({split: splits[split] for split in SPLITS[1:]}, {split: tiny[split] for split in SPLITS[1:]})
    assert [worth(tree) for tree in trees_of(splits["train"])] == splits["train"].labels.tolist()
    changed = np.flatnonzero((splits["train"].inputs != tiny["train"].inputs).any(1))
    assert set(changed) <= {raw.count(b"\n", 0, place) - 1}
    if len(changed) == 0:
        assert_same(splits, tiny)
