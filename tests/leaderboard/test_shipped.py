"""What the project's own records say together: each variant sees as far as it declares, and the picture is theirs."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import make  # noqa: E402
import picture  # noqa: E402

from lra.commands.leaderboard import shipped  # noqa: E402
from lra.leaderboard.reading import read  # noqa: E402
from lra.submission import reviews  # noqa: E402

RANGE = [row.records[0] for row in picture.probes(picture.own_board())["range"].table.rows]
BOUNDED = [record for record in RANGE if make.declared_reach(record) is not None]
DEVIATIONS = 5.0  # standard deviations of a share; there are some hundred shares


@pytest.mark.parametrize("record", BOUNDED, ids=lambda one: " ".join([one.variant.name, *one.protocol.overrides]))
def test_nothing_is_known_of_what_lies_beyond_the_declared_reach(record):
    """In `range` a guess is right 1 time in 8, on each level that begins beyond what the first token can see."""
    reach, told = make.declared_reach(record), record.task.difficulty
    beyond = [place for place, level in enumerate(told.levels) if level > reach]
    examples = record.task.examples.test / len(told.levels)
    for seed in record.seeds:
        for place in beyond:
            floor = told.floor[place]
            spread = np.sqrt(floor * (1 - floor) / examples)
            assert abs(seed.by_level[place] - floor) < DEVIATIONS * spread, told.levels[place]


def test_some_rows_cannot_see_all_tokens_and_some_can():
    reaches = {make.declared_reach(record) for record in RANGE}
    assert None in reaches
    assert 16 in reaches  # `local`: two layers of radius 8


def test_a_record_of_either_learning_rate_may_enter():
    """They are what the row's rate was chosen from."""
    of_one = [*shipped().glob("range.probe.transformer.*.json")]
    assert {read(path).protocol.overrides for path in of_one} == {(), ("cosine.base = 0.001",)}
    assert [review.reasons for review in reviews(of_one, shipped())] == [(), ()]


def test_the_picture_is_that_of_the_records():
    drawn = picture.picture(picture.own_board())
    assert picture.FILE.read_text("utf-8") == drawn, "run `.venv/bin/python docs/picture.py`"
