"""The board: which records share a row or a table, and which of several sources of a variant is ranked."""

import dataclasses
import json

import numpy as np
import pytest
from made_records import TRACKS, answering, changed, make, old, row, tables

from lra.leaderboard.board import make_board
from lra.leaderboard.flat import flat
from lra.leaderboard.reading import read
from lra.leaderboard.record import Record
from lra.leaderboard.sheet import sheets

# --- What may share a row or a table ---------------------------------------------------------------------------


def test_overrides_of_the_variant_make_a_row_and_others_a_table():
    records = [
        make("local", {0: 0.5}),
        make("local", {0: 0.6}, protocol__overrides=["local.radius = 4"], config="local.radius = 4\n"),
        make("local", {0: 0.7}, protocol__overrides=["train.steps = 9"], config="train.steps = 9\n"),
        make("linear", {0: 0.8}, protocol__overrides=["train.steps = 9"], config="train.steps = 9\n"),
    ]
    demo, shorter = sorted(tables(records), key=lambda table: len(table.protocol))
    assert {entry.label for entry in demo.rows} == {"local (radius = 4)", "local"}
    assert {entry.label for entry in shorter.rows} == {"linear", "local"}
    assert "train.steps = 9" in shorter.title
    assert "train.steps = 9" not in demo.title


def test_a_record_of_before_there_was_a_choice_shares_the_row_of_one_that_names_it():
    steps = "train.steps = 9\n"
    before, now, other = (
        make("local", {seed: 0.5}, config=f"{line}{steps}")
        for seed, line in enumerate(("", "train.compute_type = 'float32'\n", "train.compute_type = 'bfloat16'\n"))
    )
    rows = [row.accuracy for table in tables([before, now, other]) for row in table.rows]
    assert sorted(rows, key=len) == [{2: 0.5}, {0: 0.5, 1: 0.5}]


def test_records_of_one_run_with_different_answers_never_win():
    """Of one machine they contradict each other. Of two machines each has its row."""
    one, other = make("local", {0: 0.5, 1: 0.5}), make("local", {0: 0.9, 1: 0.5})
    seed_alone = make("local", {2: 0.3})
    for order in ([one, other, seed_alone], [seed_alone, other, one]):
        (table,) = tables(order)
        (row,) = table.rows
        assert row.accuracy == {2: 0.3}
        assert row.breaches == (f"run {one.run} has records with different answers, none of which counts",)
        assert len(set(row.runs)) == 3  # each has a page
        assert tables(order) == tables(order[::-1])
    (nothing,) = tables([one, other])[0].rows
    assert (nothing.mean, nothing.versus) == (None, None)

    newer = changed(other, "measured.versions", {"jax": "0.11.2"})
    elsewhere = changed(newer, "measured.hardware.device", "NVIDIA B200")
    for records, labels in (
        ([one, newer], {"local on jax 0.10.0": 0.5, "local on jax 0.11.2": 0.7}),
        ([elsewhere, one], {"local on NVIDIA H200, jax 0.10.0": 0.5, "local on NVIDIA B200, jax 0.11.2": 0.7}),
    ):
        (table,) = tables([*records, make("transformer", {0: 0.5, 1: 0.5})])
        assert {row.label: row.mean for row in table.rows if row.key[0] == "local"} == labels
        assert all(not row.breaches and row.versus for row in table.rows if row.key[0] == "local")


def test_a_record_of_the_project_does_not_contradict_ones_own():
    """Their machines may have one name and round differently."""
    own, shipped = make("local", {0: 0.5}), make("local", {0: 0.9})
    own = changed(own, "measured.finished_at", "2026-11-27T12:00:00+00:00")
    (table,) = make_board([own, shipped], TRACKS, shipped=[shipped]).tables
    found = {(row.label, row.mean, row.came, row.breaches) for row in table.rows}
    assert found == {("local on your machine", 0.5, False, ()), ("local on the project's machine", 0.9, True, ())}
    (table,) = make_board([own, shipped], TRACKS, shipped=[own, shipped]).tables
    assert [(row.label, row.mean) for row in table.rows] == [("local", None)]


def test_a_seed_of_two_runs_counts_from_the_one_with_more_seeds():
    """Beside other seeds a seed has other last bits, and so perhaps other answers."""
    for other in range(1, 9):  # whichever of the two names is the smaller one
        alone, together = make("local", {0: 0.5}), make("local", {0: 0.6, other: 0.7})
        for order in ([alone, together], [together, alone]):
            ((row,),) = (table.rows for table in tables(order))
            assert row.accuracy == {0: 0.6, other: 0.7}
            assert not row.breaches


def test_the_effective_configuration_makes_the_table():
    """Not the notation of what was given by hand, nor whether it was given by hand."""
    sets = {"train.steps": "240", "local.radius": "8"}
    tracks = {"demo": dataclasses.replace(TRACKS["demo"], values=lambda task, variant: sets)}
    config = "train.select = 'best'\ntrain.steps = 240\nadamw.b1 = 0.5\nlocal.radius = 8\n"
    of_hand = lambda seed, *lines, **more: make(
        "local", {seed: 0.5}, protocol__overrides=[*lines], config=config, **more
    )
    (table,) = make_board(
        [of_hand(0, "adamw.b1 = 0.5"), of_hand(1, "adamw.b1 = 5e-1", "train.steps = 240"), of_hand(2, "adamw.b1=.5")],
        tracks,
    ).tables
    assert table.title.endswith("protocol demo, adamw.b1 = 0.5")
    (row,) = table.rows
    assert (row.label, row.seeds) == ("local", 3)
    # four and forty steps under one protocol, whatever was given by hand
    shorter = [make("local", {0: 0.5}, config=config.replace("240", steps)) for steps in ("4", "40")]
    assert sorted(table.protocol for table in make_board(shorter, tracks).tables) == [
        "demo, train.steps = 4", "demo, train.steps = 40",
    ]  # fmt: skip


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
    pair = tables([make(accuracy={0: 0.5}), make(accuracy={1: 0.7}, **change)])
    assert len(pair) == 2
    assert sorted((own.label, own.mean) for table in pair for own in table.rows) == [("local", 0.5), ("local", 0.7)]


@pytest.mark.parametrize(
    "change", [{"variant__source_sha256": "a" * 64}, {"variant__version": 2}, {"config": "local.radius = 3\n"}]
)
def test_other_code_or_configuration_is_a_row_of_its_own(change):
    (table,) = tables([make(accuracy={0: 0.5}), make(accuracy={0: 0.7, 1: 0.9}, **change)])
    assert sorted(len(entry.accuracy) for entry in table.rows) == [1, 2]
    # and no two rows have the same name
    (sheet,) = sheets(make_board([make(accuracy={0: 0.5}), make(accuracy={0: 0.7, 1: 0.9}, **change)], TRACKS))
    assert len({entry.cells[0].text for entry in sheet.entries}) == 2


def test_an_old_and_a_new_record_of_one_configuration_share_a_row(tmp_path):
    """Configurations did not name the optimiser before schema 3, and wrote values in another notation."""
    new = make(accuracy={0: 0.5}, config="train.optimizer = @adamw()\ntrain.rate = 1e-3\ntrain.select = 'best'\n")
    text = "train.rate = 0.001\ntrain.select = \\\n    'best'\n"
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old(make(accuracy={1: 0.6}, config=text), 2)))
    assert dict(row(new, read(path)).accuracy) == {0: 0.5, 1: 0.6}
    # another value, or a new record that does not name it, is another configuration
    for other in (text.replace("0.001", "0.002"), "train.optimizer = 'lion'\n" + text):
        path.write_text(json.dumps(old(make(accuracy={1: 0.6}, config=other), 2)))
        assert len(tables([new, read(path)])[0].rows) == 2
    assert len(tables([new, make(accuracy={1: 0.6}, config=text)])[0].rows) == 2


def test_no_two_rows_have_the_same_name():
    alike = [make(accuracy={0: 0.5}, config=f"x = {place}", variant__source_sha256="a" * 64) for place in range(3)]
    names = [entry.cells[0].text for entry in sheets(make_board(alike, TRACKS))[0].entries]
    assert len({*names}) == 3
    assert {*names} == {row["variant"] for row in flat(make_board(alike, TRACKS))}


# --- Several sources of one variant -------------------------------------------------------------------------------


def tried(source: str, day: int, accuracy: float, **changes) -> Record:
    finished = f"2026-11-{day}T14:03:00+00:00"
    fields = {"variant__source_sha256": 64 * source, "measured__finished_at": finished, **changes}
    return make("mine", {0: accuracy} if accuracy else {}, **fields)


def test_an_older_source_is_shown_but_not_ranked_and_costs_the_others_nothing():
    rng = np.random.default_rng(0)
    right = {name: {0: rng.random(2000) < share} for name, share in (("transformer", 0.4), ("local", 0.43))}
    others = [answering(make(name, {0: 0.5}), own) for name, own in right.items()]
    present, first, second = tried("c", 28, 0.41), tried("a", 26, 0.9), tried("b", 27, 0.42)
    (before,) = tables([*others, present])
    (after,) = tables([first, *others, present, second])
    p = {own.label: own.versus and own.versus.p for own in after.rows}
    for own in before.rows:
        assert p[own.label] == (own.versus and own.versus.p), own.label
    assert [own.label for own in after.rows if not own.breaches] == ["local", "mine", "transformer"]
    older = {own.label: own for own in after.rows if own.breaches}
    assert [*older] == ["mine (source of 2026-11-26 14:03, aaaaaa)", "mine (source of 2026-11-27 14:03, bbbbbb)"]
    assert not any(own.versus for own in older.values())
    board = make_board([first, *others, present, second], TRACKS)
    (note,) = board.breaches[first.run]
    assert note == (
        "an older source; the present one is of 2026-11-28 14:03, cccccc; "
        f"'lra runs --put-away {first.run}' puts it away"
    )
    assert "2 rows are of another source" in sheets(board)[0].caption
    assert tables([*others, first], "mine")[0].reference == "mine"
    assert tables([*others, first, present], "mine")[0].reference == "mine"


def test_options_versions_and_failures_decide_what_supersedes():
    ranked = lambda *records: {own.label for own in tables([*records])[0].rows if not own.breaches}
    config = "train.optimizer = @adamw()\ntrain.select = 'best'\ntrain.steps = 240\nmine.radius = 4\n"
    other = {"protocol__overrides": ["mine.radius = 4"], "config": config}
    # another source with other options is the present one of these options
    assert ranked(tried("a", 26, 0.5), tried("b", 27, 0.5, **other)) == {"mine", "mine (radius = 4)"}
    failed = tried("b", 27, 0, status="failed", error="x")
    (table,) = tables([tried("a", 26, 0.5), failed])
    assert [(own.label, own.mean) for own in table.rows if not own.superseded] == [("mine", 0.5)]
    assert "a newer source, whose run failed; the present one is of 2026-11-26" in table.rows[1].superseded
    # of the project's own variants the version decides, not the time
    new = make("local", {0: 0.5}, variant__version=2)
    old_one = make("local", {0: 0.6}, measured__finished_at="2026-12-01T00:00:00+00:00")
    (table,) = tables([new, old_one])
    assert [own.label for own in table.rows] == ["local", "local (version 1)"]
    assert "the present one is 2" in table.rows[1].superseded
