"""Of several learning rates that a protocol allows, the one that is best on validation has the row."""

import dataclasses

from made_records import TRACKS, changed, make

from lra.leaderboard.board import make_board
from lra.leaderboard.sheet import sheets
from lra.leaderboard.tracks import breaches, changes
from lra.leaderboard.tuning import rates_of

BOTH = {**TRACKS, "demo": dataclasses.replace(TRACKS["demo"], learning_rates=(1e-3, 3e-3))}


def trained(rate, validation, test=0.5, variant="local", more=""):
    """A record with a learning rate; `validation` and `test` are the accuracies of its seeds, None if one diverged."""
    tests = [None if share is None else test for share in validation]
    overrides = tuple(filter(None, (f"cosine.base = {rate!r}", more)))
    config = "".join(sorted(f"{line}\n" for line in ("train.select = 'best'", *overrides)))
    record = make(variant, dict(enumerate(tests)), config=config, protocol__overrides=overrides)
    for seed, share in enumerate(validation):
        if share is not None:
            record = changed(record, f"seeds.{seed}.validation.accuracy", share)
            record = changed(record, f"curve.1.accuracy.{seed}", share)
    return record


def rows(*records):
    board = make_board(records, BOTH)
    return board, [row for table in board.tables for row in table.rows]


def test_the_best_on_validation_has_the_row_whatever_its_test_says():
    slow, fast = trained(1e-3, [0.8, 0.9], test=0.4), trained(3e-3, [0.7, 0.6], test=0.9)
    for records in ([slow, fast], [fast, slow]):
        board, (row,) = rows(*records)
        assert row.records == (slow,)
        assert row.rate == "0.001 (of 0.001, 0.003)"
        assert row.breaches == ()
        assert board.breaches[fast.run] == ("learning rate 0.003 is not the chosen one, 0.001",)
    (sheet,) = sheets(board)
    cells = dict(zip([column.name for column in sheet.columns], sheet.entries[0].cells))
    assert cells["learning rate"].text == "0.001 (of 0.001, 0.003)"


def test_a_rate_with_fewer_seeds_is_not_chosen():
    _, (row,) = rows(trained(1e-3, [0.5, 0.5]), trained(3e-3, [0.9]))
    assert row.rate.startswith("0.001 ")


def test_a_seed_that_diverged_counts_nothing():
    _, (row,) = rows(trained(1e-3, [0.5, 0.5]), trained(3e-3, [0.9, None]))
    assert row.rate.startswith("0.001 ")


def test_a_rate_alone_says_so_and_each_variant_chooses_for_itself():
    _, found = rows(
        trained(1e-3, [0.5]), trained(1e-3, [0.6], variant="linear"), trained(3e-3, [0.7], variant="linear")
    )
    assert {row.label: row.rate for row in found} == {"local": "0.001 (alone)", "linear": "0.003 (of 0.001, 0.003)"}


def test_other_settings_do_not_compete():
    """The rates of two settings of one variant are chosen apart."""
    _, found = rows(trained(1e-3, [0.5]), trained(3e-3, [0.9], more="local.radius = 3"))
    assert {row.label: row.rate for row in found} == {
        "local": "0.001 (alone)", "local (radius = 3)": "0.003 (alone)"
    }  # fmt: skip


def test_a_rate_outside_the_grid_is_a_table_of_its_own_that_is_not_ranked():
    other = trained(1e-2, [0.9])
    assert changes(other, BOTH["demo"]).others == ("cosine.base = 0.01",)
    assert breaches(other, BOTH["demo"]) == ("changes the protocol (cosine.base = 0.01)",)
    board, _ = rows(trained(1e-3, [0.5]), other)
    assert len(board.tables) == 2


def test_without_a_grid_nothing_is_chosen():
    assert rates_of([trained(1e-3, [0.5])], TRACKS) == [None]


def test_a_configuration_that_cannot_be_read_is_not_chosen_from():
    broken = make(config="cosine.base = open('x')\n")
    assert rates_of([broken], BOTH) == [None]
