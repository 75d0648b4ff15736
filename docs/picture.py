"""Draws `docs/board.svg`, what the probes found, from the project's own records: `.venv/bin/python docs/picture.py`.

A row for each variant, by family. A strip for each probe, with a square for each level of difficulty: white at a guess,
dark where the best seed is always right. A number for each task of protocol `demo`: the mean accuracy. A test compares
the file.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from lra.commands.leaderboard import shipped
from lra.families import FAMILIES, FAMILY
from lra.leaderboard import store
from lra.leaderboard.board import Board, make_board
from lra.leaderboard.levels import Levels, best, levels_of
from lra.leaderboard.sheet import labels
from lra.tracks import tracks

FILE = Path(__file__).resolve().parent / "board.svg"
PROBES = {"intersect": "recall", "flipflop": "state", "hops": "composition", "range": "distance"}
NAME, SIDE, GAP, TOP, LEFT, NARROWEST, HEADING = 130, 20, 24, 62, 8, 140, 18  # pixels
LOW, HIGH = (255, 255, 255), (22, 78, 140)
FONT = "font-family='system-ui, sans-serif'"


@functools.cache
def own_board() -> Board:
    """The board of the records that come with the project."""
    return make_board(store.load([shipped()])[0], tracks(), families=FAMILY)


def probes(board: Board) -> dict[str, Levels]:
    """The tables by difficulty of protocol `probe`, in the order of the picture."""
    tables = {table.task: table for table in board.tables if table.protocol == "probe"}
    found = {task: levels_of(tables[task]) for task in PROBES if task in tables}
    return {task: levels for task, levels in found.items() if levels}


def strips(levels: Levels) -> dict[str, list[float]]:
    """For each row and level how far the best seed is from a guess to always right, from 0 to 1."""
    found = {}
    for place, name in enumerate(labels(levels.table.rows)):
        own, floor = best(levels, place) or (), levels.difficulty.floor
        found[name] = [
            max(0.0, (share - least) / (1 - least)) if share is not None and least < 1 else 1.0
            for share, least in zip(own, floor)
        ]
    return found


def accuracies(board: Board) -> dict[str, dict[str, float]]:
    """The mean accuracy of each row of protocol `demo` by task, in per cent."""
    tables = [table for table in board.tables if table.protocol == "demo"]
    return {
        table.task.removeprefix("synthetic_"): {
            name: 100 * row.mean for row, name in zip(table.rows, labels(table.rows)) if row.mean is not None
        }
        for table in tables
    }


def rows_by_family(board: Board) -> dict[str, list[str]]:
    """The names of the rows of the pictured tables, by family in the order of FAMILIES."""
    tables = [table for table in board.tables if table.protocol in ("probe", "demo")]
    found = {name: row.family for table in tables for row, name in zip(table.rows, labels(table.rows))}
    groups = {family: [name for name, own in found.items() if own == family] for family in FAMILIES}
    return {family: names for family, names in groups.items() if names}


def colour(share: float) -> str:
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in zip(LOW, HIGH))


def picture(board: Board) -> str:
    """The picture as SVG."""
    by_task = probes(board)
    drawn, numbers = {task: strips(levels) for task, levels in by_task.items()}, accuracies(board)
    total = lambda name: sum(sum(own[name]) / len(own[name]) for own in drawn.values() if own.get(name))
    groups = {
        family: sorted(rows, key=lambda name: (-sum(name in own for own in drawn.values()), -total(name), name))
        for family, rows in rows_by_family(board).items()
    }
    heights, y = {}, TOP
    for rows in groups.values():
        heights |= {name: y + HEADING + SIDE * place for place, name in enumerate(rows)}
        y += HEADING + SIDE * len(rows)
    starts, x = {}, LEFT + NAME
    for task, levels in by_task.items():
        starts[task] = x
        x += max(SIDE * len(levels.difficulty.levels), NARROWEST) + GAP
    for task in numbers:
        starts[f"{task}, demo"] = x
        x += SIDE * 3 + GAP
    width, height = max(x, 400), y + 34
    parts = [f"<rect width='{width}' height='{height}' fill='#ffffff'/>"]
    for task, levels in by_task.items():
        parts += head(starts[task], task, levels)
    for task in numbers:
        texts = (
            (16, task, 12, "#111111", "bold"),
            (31, "demo", 11, "#555555"),
            (TOP - 6, "accuracy, %", 9, "#555555"),
        )
        parts += [text(starts[f"{task}, demo"], *one) for one in texts]
    for family, rows in groups.items():
        parts.append(text(LEFT, heights[rows[0]] - 4, family, 10, "#555555", weight="bold"))
    for name, y in heights.items():
        parts.append(text(LEFT, y + 14, name, 12))
        for task, means in numbers.items():
            if name in means:
                parts.append(text(starts[f"{task}, demo"] + 4, y + 14, f"{means[name]:.1f}", 12))
        for task, own in drawn.items():
            if name in own:
                parts += [square(starts[task] + SIDE * level, y, share) for level, share in enumerate(own[name])]
    parts += legend(LEFT + NAME, height - 22)
    size = f"width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    title = "<title>Accuracy of the variants on the probes, by difficulty</title>"
    return "\n".join(
        [f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT} role='img'>", title, *parts, "</svg>", ""]
    )


def head(x: int, task: str, levels: Levels) -> list[str]:
    """The name of a probe, what it asks for, and its levels."""
    told = levels.difficulty
    texts = [text(x, 16, PROBES[task], 12, weight="bold"), text(x, 31, f"{task}: {told.name}", 11, "#555555")]
    return texts + [text(x + SIDE * (i + 0.5), TOP - 6, level, 9, "#555555", anchor="middle")
                    for i, level in enumerate(told.levels)]  # fmt: skip


def text(x: float, y: float, what: object, size: int, fill: str = "#111111", weight: str = "normal",
         anchor: str = "start") -> str:  # fmt: skip
    style = f"font-size='{size}' fill='{fill}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:g}' y='{y:g}' {style}>{escape(str(what))}</text>"


def square(x: float, y: float, share: float) -> str:
    side = SIDE - 2
    return f"<rect x='{x:g}' y='{y:g}' width='{side}' height='{side}' fill='{colour(share)}' stroke='#c8c8c8'/>"


def legend(x: int, y: int) -> list[str]:
    steps: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    squares = [square(x + 50 + SIDE * place, y, share) for place, share in enumerate(steps)]
    return [text(x, y + 13, "a guess", 11, "#555555"), *squares,
            text(x + 54 + SIDE * len(steps), y + 13, "always right", 11, "#555555")]  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(picture(own_board()), "utf-8")
