"""The process of a cell, on a machine that has other files than the one that submitted the cell."""

import dataclasses

import pytest
from conftest import SMALL

from lra import claims
from lra.errors import UserError
from lra.models.attention import VARIANTS
from lra.spec import RunSpec
from lra.sweeps import worker
from lra.sweeps.cell import cells_of

MINE = """from beside import identity
from lra import register_attention


@register_attention("travelling")
def travelling(q, k, v, mask):
    return identity(v)
"""


@pytest.fixture
def job(home, tmp_path, monkeypatch):
    """A cell of a variant of two files, which are gone once the cell is submitted."""
    monkeypatch.setenv("LRA_HOME", str(home))
    before = dict(VARIANTS)
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "beside.py").write_text("def identity(x):\n    return x\n")
    (folder / "mine.py").write_text(MINE)
    spec = RunSpec("listops", "travelling", "demo", (0,), tuple(SMALL), (str(folder / "mine.py"),))
    (cell,) = cells_of([spec])
    submitted = cell.job(tmp_path / "results", "auto", 30.0)
    folder.rename(tmp_path / "elsewhere")
    yield submitted
    VARIANTS.clear()
    VARIANTS.update(before)


def test_a_node_without_the_file_of_a_variant_takes_the_one_that_travelled(job):
    spec = worker.provided(job)
    assert spec.imports != job.spec.imports
    (cell,) = cells_of([spec])
    assert cell.run == job.run


def test_a_node_with_another_file_under_the_same_name_takes_the_one_that_travelled(job, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.py").write_text(MINE.replace("from beside import identity\n", "identity = abs\n"))
    (cell,) = cells_of([worker.provided(job)])
    assert cell.run == job.run


def test_a_node_on_which_the_cell_is_another_run_trains_nothing(job, tmp_path):
    results = tmp_path / "results"
    other = dataclasses.replace(job, run="0" * 12)
    claim = claims.take(results, other.run)
    with (
        pytest.raises(UserError, match=f"is run {other.run} where it was submitted and run {job.run} here") as caught,
        claims.held(claim),
    ):
        worker.train(other, results, claim)
    assert "\n" not in str(caught.value)
    assert not (results / "records").exists()
    assert claims.look(results)[other.run][1].state == claims.FAILED
