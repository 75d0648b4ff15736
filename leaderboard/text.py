"""Tables as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Sequence

from lra.leaderboard.board import Board, Table
from lra.leaderboard.row import Row
from lra.leaderboard.sheet import EACH, Cell, Entry, Sheet


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
    return escaped(cell.text) + (f"<sup>{' '.join(cell.marks)}</sup>" if cell.marks else "")


def hardware_below(sheet: Sheet) -> str:
    """The hardware of a table's rows, if the Markdown table has no column for it."""
    places = [place for place, column in enumerate(sheet.columns) if column.extra and column.name == "hardware"]
    return "; ".join(sorted({entry.cells[place].text for entry in sheet.entries for place in places} - {""}))


def escaped(text: str) -> str:
    """Any text as one line without Markdown markup."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    # Markdown ignores underscores inside words
    return re.sub(r"([\\|<>&*`\[\]#~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(plain.split()))


COLUMNS = (
    "task", "version", "protocol", "data_sha256", "variant", "variant_version", "source_sha256", "ranked",
    "accuracy_mean", "accuracy_low", "accuracy_high", "floor", "above_floor", "reference", "difference", "p", "seeds",
    "diverged", "learnt", "parameters", "steps_per_second", "memory_bytes", "hardware", "note", "runs",
)  # fmt: skip


def as_csv(board: Board) -> str:
    """The rows of all tables. Accuracies are shares, not per cent; numbers have ten digits."""
    return written(COLUMNS, (csv_row(table, row) for table in board.tables for row in table.rows))


def csv_row(table: Table, row: Row) -> list[object]:
    low, high = (row.interval.low, row.interval.high) if row.interval else (None, None)
    difference, p = (row.versus.difference, row.versus.p) if row.versus else (None, None)
    note = "; ".join([*([row.note] if row.note else []), *row.breaches])
    return [
        table.task, table.version, table.protocol, table.data, row.label, row.key[1], row.key[2], not row.breaches,
        row.mean, low, high, table.floor, row.above_floor, table.reference, difference, p, row.seeds, row.diverged,
        row.learnt, row.parameters, each([cost.steps_per_second for cost in row.costs]),
        each([cost.memory for cost in row.costs]), EACH.join(row.hardware), note,
        " ".join(row.runs),
    ]  # fmt: skip


def each(values: Sequence[float | None]) -> object:
    """The values of each hardware: one number, or a text of several in the order of the hardware column."""
    return values[0] if len(values) == 1 else EACH.join("" if value is None else str(plain(value)) for value in values)


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
        writer.writerow([plain(value) for value in row])
    return text.getvalue()


def plain(value: object) -> object:
    """A value that is the same on all hardware and that a spreadsheet does not take for a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
