"""A comparison as a table, as Markdown for a summary page, and as JUnit's XML for whatever shows test results."""

import datetime
import platform
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from lra.ci.baseline import Baseline
from lra.ci.compare import Now, Row, differing
from lra.leaderboard.text import escaped

HEADER = ("variant", "quantity", "baseline", "now", "change", "verdict", "what")
NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def notable(rows: Sequence[Row]) -> list[Row]:
    """What moved or could not be compared, failures first; and what is measured with chance, wherever it is."""
    kept = [row for row in rows if row.verdict != "same" or row.quantity in ("step time", "accuracy")]
    return sorted(kept, key=lambda row: not row.fails)


def cells(row: Row) -> list[str]:
    return [row.variant, row.quantity, row.old, row.new, row.change, row.verdict, row.why]


def verdict(rows: Sequence[Row]) -> str:
    """All in one sentence."""
    counts: Counter[str] = Counter(row.verdict for row in rows)
    words = {
        "worse": "worse", "missing": "could not be compared", "better": "better", "known": "failed before, too",
        "left out": "left out", "same": "the same",
    }  # fmt: skip
    return f"{len(rows)} quantities: " + ", ".join(
        f"{counts[key]} {word}" for key, word in words.items() if counts[key]
    )


def notes(then: Baseline, now: Now, rows: Sequence[Row]) -> list[str]:
    """What else a reader has to know."""
    found = []
    if changed := differing(then["versions"], now.versions):
        found.append(f"The baseline was made with {changed}: what moved may be theirs.")
    if any(row.verdict == "better" for row in rows):
        found.append("What is better is worth a new baseline, or the next change may lose it again: 'lra ci baseline'.")
    return found


def markdown(rows: Sequence[Row], said: Sequence[str]) -> str:
    """A summary with a table of what is notable."""
    bad = sum(row.fails for row in rows)
    lines = [f"## lra ci: {f'{bad} of {len(rows)} quantities fail' if bad else 'nothing got worse'}", ""]
    lines += [escaped(verdict(rows)) + ".", ""]
    if shown := notable(rows):
        lines += ["| " + " | ".join(HEADER) + " |", "|---|---|---:|---:|---:|---|---|"]
        for row in shown:
            texts = [escaped(cell) for cell in cells(row)]
            texts[5] = f"**{texts[5]}**" if row.fails else texts[5]
            lines.append("| " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"{escaped(note)}\n" for note in said)])


def junit(rows: Sequence[Row], said: Sequence[str]) -> str:
    """A test case for each quantity of each variant, as Ant and Jenkins have their XML."""
    suites = ET.Element("testsuites")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    for index, name in enumerate(dict.fromkeys(row.variant for row in rows)):
        own = [row for row in rows if row.variant == name]
        bad, left_out = sum(row.fails for row in own), sum(row.verdict == "left out" for row in own)
        suite = ET.SubElement(
            suites, "testsuite", name=xml(f"lra.ci.{name}"), package="lra.ci", id=str(index), timestamp=now,
            hostname=xml(platform.node() or "localhost"), tests=str(len(own)), failures=str(bad), errors="0",
            skipped=str(left_out), time="0",
        )  # fmt: skip
        ET.SubElement(suite, "properties")
        for row in own:
            case = ET.SubElement(suite, "testcase", classname=xml(f"lra.ci.{name}"), name=xml(row.quantity), time="0")
            if row.fails:
                text = xml(in_words(row))
                ET.SubElement(case, "failure", message=text, type=row.verdict).text = text
            elif row.verdict == "left out":
                ET.SubElement(case, "skipped", message=xml(row.why))
        ET.SubElement(suite, "system-out").text = xml("\n".join(said))
        ET.SubElement(suite, "system-err")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def in_words(row: Row) -> str:
    moved = f"{row.old} in the baseline, {row.new} now" if row.old and row.new else row.old or row.new
    return "; ".join(filter(None, [f"{moved} ({row.change})" if row.change else moved, row.why])) or row.verdict


def xml(text: str) -> str:
    """A text without the characters that XML cannot have."""
    return NO_XML.sub("?", text)
