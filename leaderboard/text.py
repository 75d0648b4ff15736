"""Tables as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Sequence

from lra.leaderboard import external_sheet
from lra.leaderboard.board import Board
from lra.leaderboard.external import External
from lra.leaderboard.flat import COLUMNS, flat, joined, plain
from lra.leaderboard.sheet import Cell, Entry, Sheet


def markdown(ours: Sequence[Sheet], published: Sequence[Sheet]) -> str:
    """All tables as a Markdown page."""
    page = ["# Leaderboard", ""]
    for sheet in ours:
        page += section(sheet)
    if published:
        page += ["# From the literature", "", "As published, in no ranking with the tables above.", ""]
        for sheet in published:
            page += section(sheet)
    return "\n".join(page)


def section(sheet: Sheet) -> list[str]:
    kept = [place for place, column in enumerate(sheet.columns) if not column.extra]
    columns = [sheet.columns[place] for place in kept]
    lines = [f"## {escaped(sheet.title)}", "", escaped(sheet.caption), ""]
    lines.append("| " + " | ".join(escaped(column.name) for column in columns) + " |")
    lines.append("|" + "|".join("---:" if column.number else "---" for column in columns) + "|")
    for entry in sheet.entries:
        lines.append("| " + " | ".join(marked(entry.cells[place]) for place in kept) + " |")
    for mark, text in sheet.notes:
        lines += ["", f"<sup>{mark}</sup> {escaped(text)}"]
    if hardware := hardware_below(sheet):
        lines += ["", f"Steps of one seed, all seeds of a run together, on: {escaped(hardware)}."]
    return [*lines, ""]


def marked(cell: Cell) -> str:
    return escaped(cell.text) + (f"<sup>{escaped(cell.signs)}</sup>" if cell.marks else "")


def hardware_below(sheet: Sheet) -> str:
    """The hardware of a table's rows, if the Markdown table has no column for it."""
    places = [place for place, column in enumerate(sheet.columns) if column.extra and column.name == "hardware"]
    return "; ".join(sorted({entry.cells[place].text for entry in sheet.entries for place in places} - {""}))


def escaped(text: str) -> str:
    """Any text as one line without Markdown markup."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    # Markdown ignores underscores inside words
    safe = re.sub(r"([\\|<>&*`\[\]#~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(plain.split()))
    return safe.replace("$", "<span>$</span>")  # GitHub's way to write a dollar that begins no formula


def as_csv(board: Board) -> str:
    """The rows of all tables."""
    return written(COLUMNS, ([joined(value) for value in row.values()] for row in flat(board)))


def elsewhere_csv(results: Sequence[External]) -> str:
    """The rows of the tables of results from elsewhere."""
    return written(external_sheet.DATA, (row.values() for row in external_sheet.flat(results)))


def published_csv(published: Sequence[Sheet]) -> str:
    """The cells of the literature's tables, one line a number."""

    def lines(sheet: Sheet, entry: Entry) -> list[list[object]]:
        notes = dict(sheet.notes)
        return [
            [sheet.title, entry.cells[0].text, column.name, cell.value if cell.value is not None else cell.text,
             " ".join(notes[mark] for mark in (*entry.cells[0].marks, *cell.marks))]
            for column, cell in zip(sheet.columns[1:], entry.cells[1:])
            if cell.text
        ]  # fmt: skip

    rows = (line for sheet in published for entry in sheet.entries for line in lines(sheet, entry))
    return written(("table", "system", "column", "value", "notes"), rows)


def written(header: Sequence[str], rows: object) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(header)
    for row in rows:  # type: ignore[attr-defined]
        writer.writerow([cell(value) for value in row])
    return text.getvalue()


def cell(value: object) -> object:
    """A value as JSON writes it, unless a spreadsheet takes it for a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return plain(value)
