"""The report in every form, whatever its texts contain."""

import xml.etree.ElementTree as ET

from msgspec.structs import replace

from lra.ci import report
from lra.ci.changes import Change, Now

from .test_changes import THEN

EVIL = "a | b <script>&\"'\x1b[31m\x00\n# c `d` ]]>\ud800"
CHANGES = [
    Change("local", "parameters: listops, demo", "same", "1,000", "1,000"),
    Change("local", "memory: cpu", "worse", "1,000", "1,200", "+20.00%"),
    Change("local", "check: shape", "worse", "holds", "fails", why=EVIL),
    Change("local", "step time", "left out", why="the baseline is of other hardware: cpu a, here b"),
    Change("linear", "operations: cpu", "better", "10", "9", "-10.00%"),
    Change("linear", "accuracy", "same", "37.00 %", "37.00 %", "+0.00 points", "the same bits, 8 seeds"),
]
# https://github.com/windyroad/JUnit-Schema: what an element must have, in this order of its children
SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"}
CASE = {"name", "classname", "time"}


def test_junit_has_a_case_for_each_quantity_and_is_valid():
    suites = ET.fromstring(report.junit(CHANGES, [EVIL]).encode())
    assert suites.tag == "testsuites"
    assert [suite.get("name") for suite in suites] == ["lra.ci.local", "lra.ci.linear"]
    for suite in suites:
        assert set(suite.attrib) >= SUITE
        tags = [child.tag for child in suite]
        assert tags == ["properties", *["testcase"] * (len(tags) - 3), "system-out", "system-err"]
        cases = suite.findall("testcase")
        assert all(set(case.attrib) >= CASE for case in cases)
        assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
        assert int(suite.get("tests")) == len(cases)
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
    failures = suites.findall("testsuite/testcase/failure")
    assert all(failure.get("type") and failure.get("message") for failure in failures)
    assert "1,000 in the baseline, 1,200 now (+20.00%)" in failures[0].text
    assert "a | b <script>&\"'" in failures[1].text, "a text comes back as it was"


def test_markdown_shows_what_moved_and_by_how_much():
    text = report.markdown(CHANGES, ["a note"])
    assert text.startswith("## lra ci: 2 of 6 quantities fail\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[2] == "| local | memory: cpu | 1,000 | 1,200 | +20.00% | **worse** |  |"
    assert len(table) == 2 + 5, "what is the same is counted; accuracy is shown"
    cells = [line.replace("\\|", "").count("|") for line in table]
    assert set(cells) == {8}, "no text leaves its cell"
    assert "<script>" not in text.replace("\\<", "")
    assert text.endswith("a note\n")


def test_markdown_of_nothing_says_so():
    assert "nothing got worse" in report.markdown(CHANGES[:1], [])


def test_notes_name_what_else_changed_and_the_way_to_keep_what_is_better():
    now = Now({}, {"jax": "1", "flax": "3"}, {}, "", {})
    said = report.notes(replace(THEN, versions={"jax": "1", "flax": "2"}), now, CHANGES)
    assert "flax 2, here 3" in said[0]
    assert "'lra ci baseline'" in said[1]
    assert report.notes(replace(THEN, versions={"jax": "1"}), now, CHANGES[:2]) == []
