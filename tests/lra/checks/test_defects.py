"""The checks find every defect that the tests know, and none is a check that nothing can fail."""

import pytest

from lra.checks import CHECKS, long, run_check
from lra.checks.runner import Subjects
from lra.models.attention import VARIANTS

from . import lengths, mistakes  # noqa: F401, which file their own
from .defects import DEFECTS, register


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_found(name, monkeypatch):
    monkeypatch.setattr(long, "OPERATIONS", 1.5e8)  # dense defects show at 257 tokens, too
    result = run_check(CHECKS[DEFECTS[name].check], Subjects(VARIANTS[register(name)]))
    assert result.status == "fails"
    assert result.details


def test_every_check_has_a_defect_that_it_finds():
    assert {defect.check for defect in DEFECTS.values()} == set(CHECKS)
