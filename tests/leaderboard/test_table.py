"""Tables: what stands in a row, what may share a table, and that the same records make the same bytes."""

import csv
import io
import itertools
import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import changed, make

from lra.cli import main
from lra.errors import UserError
from lra.leaderboard import store
from lra.leaderboard.record import read, write
from lra.leaderboard.table import as_csv, markdown, tables


def csv_rows(records: list) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(tables(records)), newline="")))


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table by GitHub's rule: a bar ends a cell, a backslash takes what follows."""
    assert re.fullmatch(r"\|((\\.|[^\\|])*\|)+", line)
    found = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
    return [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).strip() for text in found]


def markdown_lines(page: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", page)


def markdown_tables(page: str) -> list[list[dict[str, str]]]:
    """The tables of a page; a table is a run of lines that begin with a bar."""
    found = []
    for is_table, lines in itertools.groupby(markdown_lines(page), lambda line: line.startswith("|")):
        if is_table:
            header, rule, *rows = map(cells, lines)
            assert all(re.fullmatch("-+:?", cell) for cell in rule)
            assert {len(row) for row in rows} == {len(rule)} == {len(header)}
            found.append([dict(zip(header, row)) for row in rows])
    return found


# --- What stands in a row --------------------------------------------------------------------------------------


def test_mean_and_sample_standard_deviation():
    accuracy = {0: 0.3637, 1: 0.371, 2: 0.3522, 5: 0.4003}
    values = np.array(list(accuracy.values()))
    (row,) = csv_rows([make(accuracy=accuracy)])
    assert float(row["accuracy_mean"]) == pytest.approx(values.mean(), rel=1e-14)
    assert float(row["accuracy_std"]) == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert (row["seeds"], row["diverged"], row["parameters"]) == ("4", "0", "67210")
    ((shown,),) = markdown_tables(markdown(tables([make(accuracy=accuracy)])))
    assert shown["variant"] == "local"
    assert shown["accuracy %"] == "37.18"
    assert shown["± std"] == "2.05"
    assert shown["above floor"] == "+24.68"  # of 12.50 %
    assert shown["seeds"] == "4"
    assert shown["parameters"] == "67,210"


def test_one_seed_has_no_standard_deviation():
    record = make(accuracy={0: 0.1})
    (row,) = csv_rows([record])
    assert (row["accuracy_mean"], row["accuracy_std"]) == ("0.1", "")
    ((shown,),) = markdown_tables(markdown(tables([record])))
    assert (shown["accuracy %"], shown["± std"], shown["above floor"]) == ("10.00", "", "-2.50")


def test_steps_per_second_are_those_of_one_seed():
    """Three seeds that make 5 steps a second together make 15 of one seed."""
    slow = make(accuracy={0: 0.5, 1: 0.5, 2: 0.5}, measured__steps_per_second=5)
    fast = make(accuracy={3: 0.5}, measured__steps_per_second=20.0)
    assert [float(row["steps_per_second"]) for row in csv_rows([slow])] == [15.0]
    assert [float(row["steps_per_second"]) for row in csv_rows([slow, fast])] == [17.5]
    assert [row["steps_per_second"] for row in csv_rows([make(measured__steps_per_second=None)])] == [""]


def test_floor_and_its_caption():
    page = markdown(tables([make(task__floor__test=0.17123, task__examples__test=1234)]))
    assert "17.12 %" in page
    assert "1,234 test examples" in page
    assert "dddddddd" in page  # the data's hash
    assert csv_rows([make(task__floor__test=0.17123)])[0]["floor"] == "0.17123"


def test_a_seed_in_two_records_counts_once():
    records = [make(accuracy={0: 0.2, 1: 0.4}), make(accuracy={1: 0.4, 2: 0.9}), make(accuracy={2: 0.9})]
    (row,) = csv_rows(records)
    assert float(row["accuracy_mean"]) == pytest.approx(0.5)
    assert float(row["accuracy_std"]) == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    assert row["seeds"] == "3"


def test_diverged_seeds_are_counted_and_not_averaged():
    record = make(accuracy={0: 0.2, 1: None, 2: 0.4, 3: None})
    (row,) = csv_rows([record])
    assert float(row["accuracy_mean"]) == pytest.approx(0.3)
    assert (row["seeds"], row["diverged"]) == ("2", "2")
    ((shown,),) = markdown_tables(markdown(tables([record])))
    assert shown["seeds"] == "2"
    assert shown["note"] == "2 of 4 seeds diverged"
    # once more and to the end: then it has a score
    (row,) = csv_rows([record, make(accuracy={1: 0.6})])
    assert float(row["accuracy_mean"]) == pytest.approx(0.4)
    assert (row["seeds"], row["diverged"]) == ("3", "1")


def test_rows_are_ordered_by_mean_and_what_failed_comes_last():
    records = [
        make("middle", {0: 0.5, 1: 0.5}),
        make("worst", {0: 0.0}),
        make("best", {0: 0.9, 1: 0.3}),
        make("as good", {0: 0.5}),
        make("diverged", {0: None}, status="diverged"),
        make("failed", {}, status="failed", error="x", measured__steps_per_second=None),
        make("big", {}, status="out of memory", error="x", measured__steps_per_second=None),
    ]
    (shown,) = markdown_tables(markdown(tables(records)))
    names = ["best", "as good", "middle", "worst", "big", "diverged", "failed"]
    assert [row["variant"] for row in shown] == names
    assert [row["variant"] for row in csv_rows(records)] == names
    notes = {row["variant"]: row["note"] for row in shown}
    assert notes["big"] == "out of memory"
    assert notes["failed"] == "failed"
    assert notes["diverged"] == "1 of 1 seeds diverged"
    assert {row["accuracy %"] for row in shown[-3:]} == {""}
    assert {row["above floor"] for row in shown[-3:]} == {""}
    assert shown[-1]["steps/s"] == ""


def test_note_column_is_there_if_there_is_a_note():
    fine = make("fine", {0: 0.5})
    ((row,),) = markdown_tables(markdown(tables([fine])))
    assert "note" not in row
    (rows,) = markdown_tables(markdown(tables([fine, make("lost", {0: None})])))
    assert [row["note"] for row in rows] == ["", "1 of 1 seeds diverged"]


# --- What may share a row or a table ---------------------------------------------------------------------------


def test_overrides_of_the_variant_make_a_row_and_others_a_table():
    records = [
        make("local", {0: 0.5}),
        make("local", {0: 0.6}, protocol__overrides=["local.radius = 4"], config_sha256="4" * 64),
        make("local", {0: 0.7}, protocol__overrides=["train.steps = 9"], config_sha256="9" * 64),
        make("linear", {0: 0.8}, protocol__overrides=["train.steps = 9"], config_sha256="8" * 64),
    ]
    demo, shorter = sorted(tables(records), key=lambda table: len(table.protocol))
    assert [row.variant for row in demo.rows] == ["local (radius = 4)", "local"]
    assert [row.variant for row in shorter.rows] == ["linear", "local"]
    assert "train.steps = 9" in shorter.title
    assert "train.steps = 9" not in demo.title
    assert {row["protocol"] for row in csv_rows(records)} == {demo.protocol, shorter.protocol}


@pytest.mark.parametrize(
    "change",
    [
        {"task__data_sha256": "e" * 64},
        {"task__version": "1.0.1"},
        {"task__name": "text"},
        {"protocol__name": "paper"},
        {"protocol__overrides": ["adamw.b1 = 0.8"]},
        {"protocol__overrides": ["localised.radius = 8"]},
    ],
)
def test_what_is_not_comparable_never_shares_a_table(change):
    found = tables([make(accuracy={0: 0.5}), make(accuracy={1: 0.7}, **change)])
    assert len(found) == 2
    assert sorted((row.variant, row.mean) for table in found for row in table.rows) == [("local", 0.5), ("local", 0.7)]
    assert len(markdown_tables(markdown(found))) == 2


@pytest.mark.parametrize(
    "change",
    [{"variant__source_sha256": "a" * 64}, {"variant__version": 2}, {"config_sha256": "e" * 64}],
)
def test_other_code_or_configuration_is_a_row_of_its_own(change):
    (table,) = tables([make(accuracy={0: 0.5}), make(accuracy={0: 0.7, 1: 0.9}, **change)])
    assert [(row.variant, row.mean) for row in table.rows] == [("local", pytest.approx(0.8)), ("local", 0.5)]


def test_two_files_of_one_name_are_two_rows():
    records = [make(accuracy={s: 0.5}, variant__source_sha256=h * 64) for s, h in ((0, "a"), (1, "a"), (0, "b"))]
    (table,) = tables(records)
    assert sorted(len(row.accuracy) for row in table.rows) == [1, 2]


# --- The same bytes --------------------------------------------------------------------------------------------


def many_records() -> list:
    rng = random.Random(1)
    variants = ("local", "linear", "performer")
    records = [
        make(v, {s: rng.choice([0.25, 0.5, 0.75, None]) for s in seeds}, protocol__name=p, **change)
        for v in variants
        for p in ("demo", "paper")
        for seeds in ((0, 1), (1, 2))
        for change in ({}, {"variant__source_sha256": "a" * 64}, {"protocol__overrides": ["train.steps = 5"]})
    ]
    records += [make("local", {}, status=s, error="x", task__version="2") for s in ("failed", "out of memory")]
    records += [changed(make("local", {s: 0.5}), "measured.hardware.device", d) for s, d in enumerate("XYZ")]
    return records


def pages(records: list) -> tuple[str, str]:
    found = tables(records)
    return markdown(found), as_csv(found)


@settings(max_examples=50, deadline=None)
@given(st.permutations(many_records()))
def test_order_of_the_records_does_not_matter(records):
    assert pages(records) == pages(many_records())


def test_folders_of_the_records_do_not_matter(tmp_path):
    records = many_records()
    for record in records:
        write(record, store.folder_of(tmp_path / "all"))
    for index, record in enumerate(random.Random(2).sample(records, len(records))):
        write(record, store.folder_of(tmp_path / f"{index % 3}"))
    write(records[0], store.folder_of(tmp_path / "0"))
    write(records[0], store.folder_of(tmp_path / "1"))
    expected = pages(store.load([tmp_path / "all"]))
    assert len(tables(records)) > 3
    assert expected == pages(records)
    for order in itertools.permutations("012"):
        assert pages(store.load([tmp_path / name for name in order])) == expected


def test_command_writes_both_pages_and_prints_every_row(tmp_path, capsys):
    records = many_records()
    for record in records:
        write(record, store.folder_of(tmp_path))
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for table in tables(records):
        assert table.title in printed
        assert f"{100 * table.floor:.2f} %" in printed
    lines = [line.split() for line in printed.splitlines()]
    for row in (row for table in markdown_tables(pages(records)[0]) for row in table):
        words = [word for cell in row.values() for word in cell.split()]
        assert words in lines
    assert (tmp_path / "leaderboard.md").read_text() == pages(records)[0]
    assert (tmp_path / "leaderboard.csv").read_text() == pages(records)[1]
    assert main(["leaderboard", "--results", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(tables(records))


def test_command_names_a_file_that_is_no_record(tmp_path, capsys):
    write(make(), store.folder_of(tmp_path))
    broken = store.folder_of(tmp_path) / "broken.json"
    broken.write_text("{}")
    assert main(["leaderboard", "--results", str(tmp_path)]) == 1
    assert str(broken) in capsys.readouterr().err
    assert not (tmp_path / "leaderboard.md").exists()


# --- Odd texts -------------------------------------------------------------------------------------------------

ODD = ["a|b", "a\nb", "a\r\nb", "| --- |", "a,b", '"a"', "[red]", "[/red]", "a\\", "a\\|b", "π"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_do_not_break_the_pages(text):
    records = [
        make("local", {0: 0.5}, protocol__overrides=[f"local.name = {text}"], config_sha256="1" * 64),
        make("linear", {0: 0.6}),
        make("local", {0: 0.7}, protocol__overrides=[f"train.name = {text}"], config_sha256="2" * 64),
        make(text, {0: 0.4}),
        make("performer", {0: 0.3}, measured__hardware={"platform": "gpu", "device": text}),
    ]
    found = markdown_tables(markdown(tables(records)))
    assert sorted(len(table) for table in found) == [1, 4]
    shown = {row["variant"] for table in found for row in table}
    if "\n" not in text:
        assert shown == {"local", "linear", "performer", text, f"local (name = {text})"}
    assert {row["seeds"] for table in found for row in table} == {"1"}
    assert {row["accuracy %"] for table in found for row in table} == {"50.00", "60.00", "70.00", "40.00", "30.00"}
    lines = [line for line in markdown_lines(markdown(tables(records))) if line and not line.startswith("|")]
    assert len(lines) == 1 + 2 * 3  # the page's title; of each table its title, its caption, its hardware
    rows = csv_rows(records)
    assert {row["variant"] for row in rows} == {"local", "linear", "performer", text, f"local (name = {text})"}
    assert {row["protocol"] for row in rows} == {"demo", f"demo, train.name = {text}"}


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_printed_as_they_are(tmp_path, capsys, text):
    write(make(accuracy={0: 0.5}, protocol__overrides=[f"local.name = {text}"]), store.folder_of(tmp_path))
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    assert text.split()[0] in capsys.readouterr().out


json_values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just([]) | st.just({})
)
PLACES = [
    "task.name", "task.version", "task.floor", "task.examples", "variant.name", "variant.version", "parameters",
    "protocol.name", "protocol.overrides", "seeds", "seeds.0.test", "seeds.0.test.accuracy", "measured.hardware",
    "measured.steps_per_second", "variant.source_sha256", "config_sha256", "task.floor.test", "task.examples.test",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), json_values | st.lists(st.text(), max_size=2))
def test_every_record_that_can_be_read_makes_a_table(tmp_path_factory, path, value):
    record = changed(make(accuracy={0: 0.5, 1: 0.25}), path, value)
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(record))
    try:
        record = read(file)
    except UserError:
        return
    found = tables([record, make("linear")])
    assert sum(map(len, markdown_tables(markdown(found)))) == 2
    assert len(csv_rows([record])) == 1
