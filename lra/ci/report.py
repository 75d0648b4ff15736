"""Reports of changes: a table, Markdown for a summary page, and JUnit XML for viewers of test results."""

import datetime
import platform
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from lra.ci.baseline import Baseline
from lra.ci.changes import Change, Now, differing
from lra.leaderboard.text import escaped

HEADER = ("variant", "quantity", "baseline", "now", "change", "outcome", "what")
NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def notable(changes: Sequence[Change]) -> list[Change]:
    """The changes that a reader should see, failures first: all but unchanged exact quantities."""
    kept = [change for change in changes if change.outcome != "same" or change.quantity in ("step time", "accuracy")]
    return sorted(kept, key=lambda change: not change.fails)


def cells(change: Change) -> list[str]:
    return [change.variant, change.quantity, change.old, change.new, change.difference, change.outcome, change.why]


def sentence(changes: Sequence[Change]) -> str:
    """The number of changes with each outcome, in one sentence."""
    counts: Counter[str] = Counter(change.outcome for change in changes)
    words = {
        "worse": "worse", "missing": "could not be compared", "better": "better", "known": "failed before, too",
        "left out": "left out", "same": "the same",
    }  # fmt: skip
    return f"{len(changes)} quantities: " + ", ".join(
        f"{counts[key]} {word}" for key, word in words.items() if counts[key]
    )


def notes(then: Baseline, now: Now, changes: Sequence[Change]) -> list[str]:
    """Remarks that a reader needs besides the changes."""
    remarks = []
    if changed := differing(then.versions, now.versions):
        remarks.append(f"The baseline was made with {changed}: what moved may be theirs.")
    if any(change.outcome == "better" for change in changes):
        remarks.append(
            "What is better is worth a new baseline, or the next change may lose it again: 'lra ci baseline'."
        )
    return remarks


def markdown(changes: Sequence[Change], remarks: Sequence[str]) -> str:
    """A summary in Markdown, with a table of the notable changes."""
    bad = sum(change.fails for change in changes)
    lines = [f"## lra ci: {f'{bad} of {len(changes)} quantities fail' if bad else 'nothing got worse'}", ""]
    lines += [escaped(sentence(changes)) + ".", ""]
    if shown := notable(changes):
        lines += ["| " + " | ".join(HEADER) + " |", "|---|---|---:|---:|---:|---|---|"]
        for change in shown:
            texts = [escaped(cell) for cell in cells(change)]
            texts[5] = f"**{texts[5]}**" if change.fails else texts[5]
            lines.append("| " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"{escaped(note)}\n" for note in remarks)])


def junit(changes: Sequence[Change], remarks: Sequence[str]) -> str:
    """JUnit XML in the dialect of Ant and Jenkins, with a test case for each quantity of each variant."""
    suites = ET.Element("testsuites")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    for index, name in enumerate(dict.fromkeys(change.variant for change in changes)):
        own = [change for change in changes if change.variant == name]
        bad, left_out = sum(change.fails for change in own), sum(change.outcome == "left out" for change in own)
        suite = ET.SubElement(
            suites, "testsuite", name=xml(f"lra.ci.{name}"), package="lra.ci", id=str(index), timestamp=now,
            hostname=xml(platform.node() or "localhost"), tests=str(len(own)), failures=str(bad), errors="0",
            skipped=str(left_out), time="0",
        )  # fmt: skip
        ET.SubElement(suite, "properties")
        for change in own:
            case = ET.SubElement(
                suite, "testcase", classname=xml(f"lra.ci.{name}"), name=xml(change.quantity), time="0"
            )
            if change.fails:
                text = xml(in_words(change))
                ET.SubElement(case, "failure", message=text, type=change.outcome).text = text
            elif change.outcome == "left out":
                ET.SubElement(case, "skipped", message=xml(change.why))
        ET.SubElement(suite, "system-out").text = xml("\n".join(remarks))
        ET.SubElement(suite, "system-err")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def in_words(change: Change) -> str:
    moved = f"{change.old} in the baseline, {change.new} now" if change.old and change.new else change.old or change.new
    return (
        "; ".join(filter(None, [f"{moved} ({change.difference})" if change.difference else moved, change.why]))
        or change.outcome
    )


def xml(text: str) -> str:
    """The text with a question mark for each character that XML forbids."""
    return NO_XML.sub("?", text)
