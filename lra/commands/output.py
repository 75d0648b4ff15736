"""Prints JSON, tables and warnings."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lra.errors import printable

if TYPE_CHECKING:
    from lra.leaderboard.sheet import Sheet

# the columns whose cells may have several lines
PROSE = (
    "what",
    "protocols set",
    "from",
    "train / val / test",
    "scored",
    "framework",
    "paper",
    "code",
    "note",
    "record",
)
NARROWEST = 12  # the fewest characters in a line of theirs


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
      numbers: whether all columns but the first and those of PROSE are numbers. They are aligned to the right. They and
        the first column are as wide as they need, even if the lines become longer than those of the terminal.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a pipe has no width
    cells = [[printable(cell) for cell in row] for row in rows]
    least = [NARROWEST * (name in PROSE) for name in names]
    if numbers:
        columns = ([name, *(row[place] for row in cells)] for place, name in enumerate(names))
        least = [width or max(map(cell_len, column)) for width, column in zip(least, columns)]
        console.width = max(console.width, sum(least) + 3 * len(least))  # a column is followed by three spaces
    view = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, (name, width) in enumerate(zip(names, least)):
        prose = name in PROSE
        right = numbers and index > 0 and not prose
        view.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=not prose, min_width=width)
    for row in cells:
        view.add_row(*map(Text, row))
    console.print(view, highlight=False)
