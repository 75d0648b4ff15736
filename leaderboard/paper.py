"""A table for a paper: rows, tasks and columns that are asked for, as a LaTeX fragment and as CSV by seed."""

import csv
import io
from collections.abc import Sequence

from lra.errors import UsageError, unknown
from lra.leaderboard.board import Board, Table
from lra.leaderboard.latex import escaped
from lra.leaderboard.levels import levels_of
from lra.leaderboard.sheet import Cell, labels, levels_sheet, table_sheet

# by the name that is asked for: the column of the table, and the head in the paper
COLUMNS = {
    "accuracy": ("accuracy %", "acc. (%)"),
    "interval": ("95 % interval", "95 % interval"),
    "difference": ("", "difference"),  # its name has that of the reference
    "p": ("p", "$p$"),
    "seeds": ("seeds", "seeds"),
    "reaches": ("reaches", "reaches"),
    "parameters": ("parameters", "parameters"),
    "rate": ("learning rate", "learning rate"),
    "speed": ("steps/s", "steps/s"),
    "memory": ("MB", "MB"),
}
BEST = ("accuracy", "reaches")  # columns whose highest value is in bold
NONE = "--"


def tables_of(board: Board, protocol: str, tasks: Sequence[str]) -> list[Table]:
    """The table of each task; of several data of one task the one with the most rows.

    Raises:
      UsageError: the protocol or a task has none; the message offers the nearest name.
    """
    of_protocol = [table for table in board.tables if table.protocol == protocol]
    if not of_protocol:
        raise unknown("protocol with records", protocol, [table.protocol for table in board.tables])
    found: dict[str, Table] = {}
    for table in sorted(of_protocol, key=lambda table: (-len(table.rows), table.version, table.data)):
        found.setdefault(table.task, table)
    for task in tasks:
        if task not in found:
            raise unknown(f"task with records of protocol {protocol}", task, found)
    kept = {table.task for table in found.values()} if not tasks else {*tasks}
    inside = [table for table in of_protocol if table is found[table.task] and table.task in kept]
    return [found[task] for task in tasks] if tasks else inside


def cells_of(table: Table) -> dict[str, dict[str, Cell]]:
    """The cells of each row by the names of `COLUMNS`."""
    of_paper = {key: column for key, (column, _) in COLUMNS.items()} | {"difference": f"vs {table.reference}"}
    parts = [(table_sheet(table, False), of_paper)]
    if levels := levels_of(table):
        parts.append((levels_sheet(levels, False), {"reaches": of_paper["reaches"]}))
    cells: dict[str, dict[str, Cell]] = {name: {} for name in labels(table.rows)}
    for sheet, wanted in parts:
        names = [column.name for column in sheet.columns]
        for entry in sheet.entries:
            own = cells.get(entry.cells[0].text, {})
            own |= {key: entry.cells[names.index(column)] for key, column in wanted.items() if column in names}
    return cells


def paper(board: Board, protocol: str, tasks: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> str:
    r"""The LaTeX fragment, for `\input` where the package booktabs is loaded.

    Args:
      tasks, rows: in the order of the table; all of them if there are none. Rows are named as in the tables.
      columns: names of `COLUMNS`, which each task has.

    Raises:
      UsageError: a name does not exist.
    """
    for column in columns:
        if column not in COLUMNS:
            raise unknown("column", column, COLUMNS)
    tables = tables_of(board, protocol, tasks)
    cells = [cells_of(table) for table in tables]
    names = list(dict.fromkeys(name for own in cells for name in own))
    for row in rows:
        if row not in names:
            raise unknown("row", row, names)
    chosen = [*rows] or names
    many = len(columns) > 1
    heads = [COLUMNS[column][1] for column in columns]
    width = len(columns) * len(tables)
    lines = [rf"\begin{{tabular}}{{@{{}}l{'r' * width}@{{}}}}", r"\toprule"]
    of_tasks = [rf"\multicolumn{{{len(columns)}}}{{c}}{{{escaped(table.task)}}}" for table in tables]
    lines.append(" & ".join(["", *(of_tasks if many else map(escaped, (table.task for table in tables)))]) + r" \\")
    if many:
        spans = [range(2 + len(columns) * place, 2 + len(columns) * (place + 1)) for place in range(len(tables))]
        lines.append(" ".join(rf"\cmidrule(lr){{{span[0]}-{span[-1]}}}" for span in spans))
        lines.append(" & ".join(["", *(head.replace("%", r"\%") for _ in tables for head in heads)]) + r" \\")
    lines.append(r"\midrule")
    best = [{column: highest(own, chosen, column) for column in BEST} for own in cells]
    for name in chosen:
        line = [escaped(name)]
        for own, top in zip(cells, best):
            for column in columns:
                cell = own.get(name, {}).get(column, Cell())
                text = escaped(cell.text) if cell.text else NONE
                line.append(rf"\textbf{{{text}}}" if column in BEST and cell.text == top[column] else text)
        lines.append(" & ".join(line) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    data = ", ".join(f"{table.task} {table.version} {table.data[:12]}" for table in tables)
    return "\n".join([f"% protocol {protocol}; data {data}", *lines, ""])


def highest(cells: dict[str, dict[str, Cell]], rows: Sequence[str], column: str) -> str:
    """The text of the highest value of a column; all cells that print like it are in bold. None is no reach."""
    found = [cells[row][column] for row in rows if column in cells.get(row, {})]
    values = [(cell.value, cell.text) for cell in found if isinstance(cell.value, int | float) and cell.value > 0]
    return max(values)[1] if values else NONE


def by_seed(board: Board, protocol: str, tasks: Sequence[str], rows: Sequence[str]) -> str:
    """The accuracies of the same rows as CSV: a line for each task, row and seed; arguments as for `paper`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "protocol", "data_sha256", "row", "seed", "accuracy", "floor"))
    for table in tables_of(board, protocol, tasks):
        for row, name in zip(table.rows, labels(table.rows)):
            if not rows or name in rows:
                for seed, share in row.accuracy.items():
                    writer.writerow(
                        (table.task, protocol, table.data, name, seed, f"{share:.10g}", f"{table.floor:.10g}")
                    )
    return text.getvalue()


def split_names(text: str) -> list[str]:
    """Names in a list with commas. Commas in brackets belong to a name, as in "local (radius = 2, causal = True)".

    >>> split_names("local (radius = 2, causal = True),s5")
    ['local (radius = 2, causal = True)', 's5']

    Raises:
      UsageError: a name is empty.
    """
    names, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            names.append("")
        else:
            names[-1] += letter
    if not all(name.strip() for name in names):
        raise UsageError(f"'{text}' has an empty name; separate names by one comma")
    return [name.strip() for name in names]
