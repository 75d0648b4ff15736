"""The board: what a row shows, averages, ranks, comparisons."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import TRACKS, answering, changed, make, row, tables
from scipy import stats

from lra.leaderboard import text
from lra.leaderboard.board import make_board
from lra.leaderboard.flat import flat
from lra.leaderboard.record import Record
from lra.leaderboard.row import score
from lra.leaderboard.sheet import sheets
from lra.leaderboard.sweeps import sweeps_of
from lra.leaderboard.tracks import FIVE, SIX

# --- What stands in a row --------------------------------------------------------------------------------------


def test_mean_and_interval_over_seeds():
    accuracy = {0: 0.3635, 1: 0.371, 2: 0.352, 5: 0.4005}
    values = [*accuracy.values()]
    entry = row(make(accuracy=accuracy))
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert entry.interval == pytest.approx((np.mean(values), low, high))
    assert (entry.seeds, entry.diverged, entry.learnt, entry.few) == (4, 0, 4, False)
    assert entry.parameters == 67210


@pytest.mark.parametrize(("seeds", "few"), [(1, True), (2, True), (3, False)])
def test_fewer_than_three_seeds_are_said_to_be_few(seeds, few):
    assert row(make(accuracy=dict.fromkeys(range(seeds), 0.5))).few is few


def test_steps_per_second_are_those_of_one_seed():
    """Three seeds that make 5 steps a second together make 15 of one seed."""
    slow = make(accuracy={0: 0.5, 1: 0.5, 2: 0.5}, measured__steps_per_second=5)
    fast = make(accuracy={3: 0.5}, measured__steps_per_second=20.0)
    assert [cost.steps_per_second for cost in row(slow).costs] == [15]
    assert [cost.steps_per_second for cost in row(slow, fast).costs] == [17.5]
    assert [cost.steps_per_second for cost in row(make(measured__steps_per_second=None)).costs] == [None]


def test_memory_is_the_most_that_was_seen():
    most, least = make(measured__memory_bytes={"step": 10, "peak": 30}), make(accuracy={3: 0.5})
    assert [cost.memory for cost in row(most).costs] == [30]
    assert [cost.memory for cost in row(most, least).costs] == [1_000_000]
    assert [cost.memory for cost in row(make(measured__memory_bytes={})).costs] == [None]


def test_costs_on_different_hardware_are_never_put_together():
    """One configuration makes one row. Each hardware has its own numbers, in the order of its name.

    Of two sweeps with as many rows the later name is shown without brackets.
    """
    tpu = {"measured__hardware": {"platform": "tpu", "device": "TPU v6"}, "measured__memory_bytes": {"step": 7}}
    cpu = {"measured__hardware": {"platform": "cpu", "cpu": "AMD", "cores": 2}, "measured__memory_bytes": {"step": 9}}
    records = [
        make(accuracy={0: 0.5}, measured__steps_per_second=100.0, **tpu),
        make(accuracy={1: 0.5}, measured__steps_per_second=1.0, **cpu),
        make(accuracy={2: 0.5}, measured__steps_per_second=3.0, **cpu),
    ]
    assert [cost[:3] for cost in row(*records).costs] == [("AMD, 2 cores", 2.0, 9), ("TPU v6", 100.0, 7)]
    (sheet,) = sheets(make_board(records, TRACKS))
    cells = {column.name: cell for column, cell in zip(sheet.columns, sheet.entries[0].cells)}
    assert (cells["hardware"].text, cells["steps/s"].text) == ("AMD, 2 cores; TPU v6", "(2); 100")
    assert cells["steps/s"].value == 100.0  # by which rows are sorted: that of the table's sweep
    (line,) = csv.DictReader(io.StringIO(text.as_csv(make_board(records, TRACKS))))
    assert (line["hardware"], line["steps_per_second"], line["memory_bytes"]) == (
        "AMD, 2 cores; TPU v6", "2.0; 100.0", "9; 7",
    )  # fmt: skip


def at_time(variant: str, time: str, speed: float, seed: int = 0, **changes) -> Record:
    """A run of 48 seconds of training and 2 of compilation that was finished at a time of a day."""
    finished = f"2026-11-{time}:00+00:00" if " " not in time else time
    return make(variant, {seed: 0.5}, measured__finished_at=finished, measured__steps_per_second=speed, **changes)


def speeds(records: list, shipped: list = ()) -> dict[str, str]:
    """The text of the speed of each row, with its marks."""
    (sheet,) = sheets(make_board(records, TRACKS, shipped=shipped))
    place = [column.name for column in sheet.columns].index("steps/s")
    return {entry.cells[0].text: entry.cells[place].text + entry.cells[place].signs for entry in sheet.entries}


def test_a_sweep_ends_with_a_pause_of_an_hour_or_of_what_the_run_takes():
    other = {"measured__hardware": {"platform": "gpu", "device": "NVIDIA H100"}}
    records = [
        at_time("a", "21T10:00", 1), at_time("b", "21T10:59", 1), at_time("c", "21T11:59", 1),  # pauses of 58:10, 59:10
        at_time("d", "21T13:00", 1),  # a pause of 60:10
        at_time("e", "21T17:00", 1, measured__train_seconds=7500.0),  # 1:54:58 after 2:05:02 of training
        at_time("f", "21T21:15", 1, measured__train_seconds=7500.0),  # 2:09:58
        at_time("g", "21T10:01", 1, **other),
        at_time("h", "no time", 1), at_time("i", "no time either", 1),
    ]  # fmt: skip
    found = dict(zip("abcdefghi", sweeps_of(records)))
    assert sweeps_of(records[::-1]) == [*found.values()][::-1]
    same = [{name for name in found if found[name] == sweep} for sweep in dict.fromkeys(found.values())]
    assert same == [{*"abc"}, {*"de"}, {"f"}, {"g"}, {"h"}, {"i"}]
    assert found["b"] == ("NVIDIA H200", "2026-11-21T10:00:00+00:00")


def test_speeds_of_another_sweep_stand_in_brackets_and_are_not_sorted():
    """A folder without a Transformer of its own: the project's was measured while its machine was busy."""
    shipped = [
        at_time("transformer", "21T10:00", 13.1),
        at_time("s5", "21T10:02", 38.6),
        at_time("local", "21T10:03", 9),
    ]
    own = at_time("local", "25T10:00", 40.7, seed=1)
    apart = {"transformer": "(13.1)§", "s5": "(38.6)§", "local": "(9); 40.7§"}  # what came is not averaged with it
    assert speeds([*shipped, own], shipped) == apart
    (sheet,) = sheets(make_board([*shipped, own], TRACKS, shipped=shipped))
    place = [column.name for column in sheet.columns].index("steps/s")
    assert sorted(filter(None, (entry.cells[place].value for entry in sheet.entries))) == [40.7]
    assert "§" in dict(sheet.notes)
    # alone they are of one sweep
    assert set(speeds(shipped, shipped).values()) == {"13.1", "38.6", "9"}
    # without own rows the sweep with the most rows is shown
    assert speeds([*shipped, own]) == {"transformer": "13.1", "s5": "38.6", "local": "9; (40.7)§"}


def test_rows_that_came_with_the_project_are_told_from_own_ones():
    shipped = [make("transformer", {0: 0.5}), make("s5", {0: 0.5}, curve=[])]
    handed_in = changed(shipped[1], "error", "a word more than in the user's record of the same run")
    board = make_board([*shipped, make("local", {0: 0.5})], TRACKS, shipped=[shipped[0], handed_in])
    assert {row["variant"]: row["from"] for row in flat(board)} == {
        "transformer": "project", "s5": "project", "local": "own",
    }  # fmt: skip
    (sheet,) = sheets(board)
    assert {entry.cells[0].text: entry.cells[1].text for entry in sheet.entries}["local"] == "own"
    # the same configuration, trained again elsewhere, is the user's
    again = changed(shipped[0], "measured.finished_at", "2026-11-28T10:00:00+00:00")
    assert flat(make_board([shipped[0], again], TRACKS, shipped=shipped))[0]["from"] == "own"
    for records in (shipped, [make("local", {0: 0.5})]):  # there is nothing to tell apart
        (sheet,) = sheets(make_board(records, TRACKS, shipped=shipped))
        assert "from" not in [column.name for column in sheet.columns]


def test_a_seed_in_two_records_counts_once():
    entry = row(make(accuracy={0: 0.2, 1: 0.4}), make(accuracy={1: 0.4, 2: 0.9}), make(accuracy={2: 0.9}))
    assert dict(entry.accuracy) == {0: 0.2, 1: 0.4, 2: 0.9}


def test_diverged_seeds_are_counted_and_not_averaged():
    record = make(accuracy={0: 0.2, 1: None, 2: 0.4, 3: None})
    assert row(record).mean == pytest.approx(0.3)
    assert (row(record).seeds, row(record).diverged) == (4, 2)
    # once more and to the end: then it has a score
    again = row(record, make(accuracy={1: 0.6}))
    assert again.mean == pytest.approx(0.4)
    assert (again.seeds, again.diverged) == (4, 1)


def test_seeds_that_learnt_nothing_are_counted():
    """Of 2,000 examples and a floor of 12.5 %, the limit for p < 0.001 is 14.8 %."""
    entry = row(make(accuracy={0: 0.125, 1: 0.145, 2: 0.15, 3: 0.5}))
    assert (entry.learnt, entry.above_floor) == (2, True)
    assert not row(make(accuracy={0: 0.13, 1: 0.14})).above_floor


def test_rows_are_ordered_by_mean_and_what_failed_comes_last():
    records = [
        make("middle", {0: 0.5, 1: 0.5}),
        make("worst", {0: 0.0}),
        make("best", {0: 0.9, 1: 0.3}),
        make("as-good", {0: 0.5}),
        make("diverged", {0: None}, status="diverged"),
        make("failed", {}, status="failed", error="x", measured__steps_per_second=None),
        make("big", {}, status="out of memory", error="x", measured__steps_per_second=None),
    ]
    (table,) = tables(records)
    assert [entry.label for entry in table.rows] == ["best", "as-good", "middle", "worst", "big", "diverged", "failed"]
    assert [entry.note for entry in table.rows] == [""] * 4 + ["out of memory", "", "failed"]


def test_a_row_that_broke_a_rule_comes_after_all_others():
    (table,) = tables([make("best", {0: 0.9}, selection="last step"), make("fair", {0: 0.2})])
    assert [(entry.label, bool(entry.breaches)) for entry in table.rows] == [("fair", False), ("best", True)]


# --- Comparison ------------------------------------------------------------------------------------------------


def test_comparison_is_mcnemars_corrected_for_the_number_of_rows():
    rng = np.random.default_rng(0)
    right = {
        name: {0: rng.random(2000) < share} for name, share in (("transformer", 0.4), ("local", 0.45), ("s5", 0.41))
    }
    (table,) = tables([answering(make(name, {0: 0.5}), own) for name, own in right.items()])
    comparisons = {own.label: own.versus for own in table.rows}
    assert comparisons.pop("transformer") is None
    p = {}
    for name in comparisons:
        ours, theirs = right[name][0], right["transformer"][0]
        p[name] = stats.binomtest(int((ours & ~theirs).sum()), int((ours ^ theirs).sum())).pvalue
        assert comparisons[name].difference == pytest.approx(ours.mean() - theirs.mean())
    smaller, larger = sorted(p, key=p.get)
    assert comparisons[smaller].p == pytest.approx(2 * p[smaller], abs=1e-6)
    assert comparisons[larger].p == pytest.approx(max(2 * p[smaller], p[larger]), abs=1e-6)


def test_comparison_takes_the_seeds_that_both_have():
    base, own = make("transformer", {0: 0.5, 1: 0.5, 7: 0.5}), make("local", {1: 0.5, 7: 0.5, 9: 0.9})
    (table,) = tables([base, own])
    (entry,) = (row for row in table.rows if row.label == "local")
    assert entry.versus.seeds == 2


def test_any_row_can_be_the_reference():
    records = [make("transformer", {0: 0.5}), make("local", {0: 0.25}), make("linear", {0: 0.75})]
    (table,) = tables(records, "linear")
    assert table.reference == "linear"
    assert {own.label for own in table.rows if own.versus} == {"transformer", "local"}
    (table,) = tables(records, "nobody")
    assert not any(own.versus for own in table.rows)


def test_without_predictions_there_is_no_comparison():
    without = changed(make("local", {0: 0.5}), "seeds.0.predictions", None)
    (table,) = tables([make("transformer", {0: 0.5}), without])
    assert not any(own.versus for own in table.rows)


# --- All tasks -------------------------------------------------------------------------------------------------

LEARNT = {"listops": 0.4, "text": 0.6, "retrieval": 0.7, "image": 0.5, "pathfinder": 0.8, "pathx": 0.9}


def on(task: str, variant: str, accuracy: dict, **changes) -> Record:
    floor, unlearnt = (0.5, 0.5) if task == "pathx" else (0.125, None)
    return make(variant, accuracy, task__name=task, task__floor__test=floor, task__unlearnt=unlearnt, **changes)


def test_both_averages_of_the_literature():
    records = [on(task, "local", {0: share, 1: share}) for task, share in LEARNT.items()]
    (overview,) = make_board(records, TRACKS).overviews
    (line,) = overview.lines
    assert [table.task for table in overview.tables] == [*SIX]
    assert line.five == pytest.approx(np.mean([LEARNT[task] for task in FIVE]))
    assert line.six == pytest.approx(np.mean([*LEARNT.values()]))


@pytest.mark.parametrize(("seeds", "counts"), [((0.9, 0.9, 0.5), (0.9 + 0.9 + 0.5) / 3), ((None, 0.498), 0.5)])
def test_a_seed_that_did_not_learn_pathx_counts_half(seeds, counts):
    records = [on(task, "local", {0: 0.6}) for task in FIVE] + [on("pathx", "local", dict(enumerate(seeds)))]
    (line,) = make_board(records, TRACKS).overviews[0].lines
    assert line.six == pytest.approx((5 * 0.6 + counts) / 6)
    assert line.five == pytest.approx(0.6)
    assert line.cells["pathx"].learnt == sum(share == 0.9 for share in seeds)


def test_what_an_unlearnt_seed_counts_is_a_matter_of_the_task_not_of_its_name():
    quarter = {"task__name": "text", "task__unlearnt": 0.25}
    records = [make("local", {0: 0.9, 1: None, 2: 0.1}, **quarter), make("s5", {0: 0.5}, **quarter)]
    records += [on("image", name, {0: 0.6}) for name in ("local", "s5")]
    (overview,) = make_board(records, TRACKS).overviews
    local = next(line for line in overview.lines if line.label == "local")
    assert score(local.cells["text"]) == pytest.approx((0.9 + 2 * 0.25) / 3)


def test_stand_ins_stand_with_the_task_they_are_for():
    names = {"text": None, "synthetic_image": "listops", "range": None, "image": None}
    records = [make(task__name=name, task__stands_in_for=task) for name, task in names.items()]
    assert [table.task for table in tables(records)] == ["synthetic_image", "text", "image", "range"]


def test_no_average_where_a_task_is_missing():
    records = [on(task, "local", {0: 0.6}) for task in FIVE[1:]]
    (line,) = make_board(records, TRACKS).overviews[0].lines
    assert (line.five, line.six) == (None, None)
    records += [on("listops", "local", {0: 0.6})]
    (line,) = make_board(records, TRACKS).overviews[0].lines
    assert (line.five, line.six) == (pytest.approx(0.6), None)


def test_borda_ranks_those_that_have_every_task():
    scores = {"a": (0.9, 0.7), "b": (0.8, 0.8), "c": (0.7, 0.6)}
    records = [
        on(task, name, {0: own[place]}) for name, own in scores.items() for place, task in enumerate(("text", "image"))
    ]
    records.append(on("text", "d", {0: 0.95}))
    (overview,) = make_board(records, TRACKS).overviews
    assert {line.label: (line.points, line.rank) for line in overview.lines} == {
        "a": (3.0, 1), "b": (3.0, 1), "c": (0.0, 3), "d": (None, None),
    }  # fmt: skip


def test_a_row_that_broke_a_rule_is_in_no_overview():
    records = [on(task, name, {0: 0.6}) for task in ("text", "image") for name in ("a", "b")]
    records.append(on("text", "c", {0: 0.9}, selection="last step"))
    (overview,) = make_board(records, TRACKS).overviews
    assert {line.label for line in overview.lines} == {"a", "b"}


def test_protocols_have_overviews_of_their_own():
    records = [on(task, "a", {0: 0.6}, protocol__name=name) for task in ("text", "image") for name in ("demo", "paper")]
    assert [overview.protocol for overview in make_board(records, TRACKS).overviews] == ["paper", "demo"]


# --- The same bytes --------------------------------------------------------------------------------------------

MANY = [
    make(name, {0: 0.25, 1: share, 2: None}, task__name=task, protocol__name=protocol, **change)
    for name, share in (("transformer", 0.5), ("local", 0.75), ("s5", 0.5))
    for task in ("listops", "image")
    for protocol, change in (("demo", {}), ("paper", {}), ("demo", {"protocol__overrides": ["train.steps = 5"]}))
]


@settings(max_examples=15)
@given(st.permutations(MANY))
def test_order_of_the_records_does_not_matter(records):
    board, expected = make_board(records, TRACKS), make_board(MANY, TRACKS)
    assert text.as_csv(board) == text.as_csv(expected)
    assert sheets(board) == sheets(expected)
