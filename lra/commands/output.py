"""Prints JSON, tables and warnings."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lra.errors import printable

if TYPE_CHECKING:
    from lra.leaderboard.sheet import Sheet

PROSE = (
    "what",
    "protocols set",
    "from",
    "train / val / test",
    "paper",
    "note",
    "record",
)  # the columns whose cells may have several lines


def print_json(value: Any) -> int:
    """Prints a value as JSON. Returns the exit code 0."""
    print(json.dumps(value, indent=1))
    return 0


def warn(text: str) -> None:
    """Prints a warning on standard error: of what could not be kept, although the command did its work."""
    print(f"lra: warning: {printable(text)}", file=sys.stderr)


def print_sheet(sheet: "Sheet") -> None:
    """Prints a table of results with its title and notes."""
    kept = [place for place, column in enumerate(sheet.columns) if not column.extra]
    print("\n" + printable(f"{sheet.title}. {sheet.caption}".strip()))
    rows = [[entry.cells[place].text + entry.cells[place].signs for place in kept] for entry in sheet.entries]
    print_table([sheet.columns[place].name for place in kept], rows, numbers=True)
    for mark, meaning in sheet.notes:
        print(printable(f"{mark} {meaning}"))


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> None:
    """Prints a table.

    Args:
      numbers: whether all columns but the first and "note" are aligned to the right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a pipe has no width
    view = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(names):
        right = numbers and index > 0 and name != "note"
        prose = name in PROSE
        view.add_column(
            name, justify="right" if right else "left", overflow="fold", no_wrap=not prose, min_width=12 * prose
        )
    for row in rows:
        view.add_row(*(Text(printable(cell)) for cell in row))
    console.print(view, highlight=False)
