"""The literature's numbers, each with its source and with notes on differences. They are not ranked with ours.

`published/*.json` holds the numbers as their sources print them. Averages are computed here. A note says where the
source prints another average.
"""

from collections.abc import Mapping
from importlib.resources import files

from msgspec import field

from lra.files import is_hidden
from lra.leaderboard.sheet import FLOOR, MARKS, Cell, Column, Entry, Sheet, number
from lra.leaderboard.statistics import above_floor
from lra.leaderboard.strict import Number, Part, WholeNumber, decode, shaped
from lra.leaderboard.tracks import FIVE, SIX
from lra.leaderboard.view import Point, Scaling

FAIL = "FAIL"  # how papers print a result at chance; in averages it counts the floor of the task
# the number of test examples and the majority-class floor of each task in the literature
SPLITS = {
    "listops": (2_000, 0.17), "text": (25_000, 0.5), "retrieval": (17_437, 0.5), "image": (10_000, 0.1),
    "pathfinder": (20_000, 0.5), "pathx": (20_000, 0.5),
}  # fmt: skip


class System(Part, frozen=True, kw_only=True):
    """A row of accuracies."""

    name: str
    source: str
    accuracy: dict[str, Number | str | None]  # by task: per cent, FAIL, or None without a number
    average: dict[str, Number] = field(default_factory=dict)  # as the source prints it: "five" or "six"
    notes: tuple[str, ...] = ()  # keys of the collection's notes


class Speed(Part, frozen=True, kw_only=True):
    """A row of speeds and memory."""

    name: str
    steps_per_second: dict[str, Number]  # by length
    gigabytes: dict[str, Number]
    notes: tuple[str, ...] = ()


class Collection(Part, frozen=True, kw_only=True):
    """A file: a table of systems, or of speeds."""

    title: str
    caption: str
    order: WholeNumber
    notes: dict[str, str]
    systems: tuple[System, ...] = ()
    speeds: tuple[Speed, ...] = ()


def collections() -> dict[str, Collection]:
    """All files of `published/`, by name.

    Raises:
      UserError: a file has the wrong shape; the message names the file.
    """
    by_name = {}
    for path in files("lra.leaderboard").joinpath("published").iterdir():
        if path.name.endswith(".json") and not is_hidden(path.name):
            by_name[path.name.removesuffix(".json")] = shaped(decode(path.read_bytes()), Collection, path.name)
    return dict(sorted(by_name.items(), key=lambda item: (item[1].order, item[0])))


def sheets() -> tuple[Sheet, ...]:
    """A table for each collection."""
    return tuple(
        system_sheet(name, collection) if collection.systems else speed_sheet(name, collection)
        for name, collection in collections().items()
    )


def scalings() -> tuple[Scaling, ...]:
    """Time and memory against length, for each collection that has speeds."""
    made = []
    for name, collection in collections().items():
        points = [
            Point(system.name, int(length), rate, 1000 * system.gigabytes[length])
            for system in collection.speeds
            for length, rate in system.steps_per_second.items()
        ]
        if points:
            made.append(Scaling(f"published-{name}", collection.title, collection.caption, tuple(points)))
    return tuple(made)


def averages(accuracy: Mapping[str, float | str | None]) -> dict[str, float | None]:
    """Both averages of the literature in per cent: over five tasks, and over six with Path-X.

    FAIL counts the floor of the task. An average is None if a number is missing.
    """
    means: dict[str, float | None] = {}
    for name, tasks in (("five", FIVE), ("six", SIX)):
        values = [100 * SPLITS[task][1] if accuracy.get(task) == FAIL else accuracy.get(task) for task in tasks]
        numbers = [value for value in values if isinstance(value, (int, float))]
        means[name] = sum(numbers) / len(numbers) if len(numbers) == len(tasks) else None
    return means


def system_sheet(name: str, collection: Collection) -> Sheet:
    columns = [
        Column("system", number=False),
        *(Column(f"{task} (floor {100 * floor:g})") for task, (_, floor) in SPLITS.items()),
    ]
    columns += [Column("average of five"), Column("average of six"), Column("source", number=False)]
    signs = {key: str(place) for place, key in enumerate(collection.notes, 1)}
    notes = [(signs[key], text) for key, text in collection.notes.items()]
    entries = []
    for system in collection.systems:
        accuracy, marks = system.accuracy, tuple(signs[key] for key in system.notes)
        own = averages(accuracy)
        cells = [Cell(system.name, system.name, marks)]
        cells += [accuracy_cell(task, accuracy.get(task)) for task in SIX]
        for kind in ("five", "six"):
            claimed = system.average.get(kind)
            value = own[kind]
            differs = claimed is not None and (value is None or abs(claimed - value) > 0.011)
            if differs:
                mean = "of its cells cannot be made" if value is None else f"of its cells is {value:.2f}"
                notes.append((str(len(notes) + 1), f"{system.name}: {claimed:.2f} as printed; the mean {mean}."))
            cell = number(value, ".2f")
            cells.append(Cell(cell.text, cell.value, (notes[-1][0],) if differs else ()))
        cells.append(Cell(system.source, system.source))
        entries.append(Entry(tuple(cells)))
    if any(FLOOR in cell.marks for entry in entries for cell in entry.cells):
        notes.append((FLOOR, MARKS[FLOOR]))
    return Sheet(
        f"published-{name}", collection.title, collection.caption, tuple(columns), tuple(entries), tuple(notes)
    )


def accuracy_cell(task: str, value: float | str | None) -> Cell:
    if value is None:
        return Cell()
    if isinstance(value, str):
        return Cell(value, None)
    examples, floor = SPLITS[task]
    return Cell(f"{value:.2f}", value, () if above_floor(value / 100, examples, floor) else (FLOOR,))


def speed_sheet(name: str, collection: Collection) -> Sheet:
    speeds = collection.speeds
    lengths = sorted({int(length) for system in speeds for length in system.steps_per_second})
    columns = [Column("system", number=False)]
    columns += [Column(f"steps/s, {length:,}") for length in lengths] + [
        Column(f"GB, {length:,}") for length in lengths
    ]
    signs = {key: str(place) for place, key in enumerate(collection.notes, 1)}
    entries = []
    for system in speeds:
        marks = tuple(signs[key] for key in system.notes)
        cells = [Cell(system.name, system.name, marks)]
        cells += [number(system.steps_per_second.get(str(length)), "g") for length in lengths]
        cells += [number(system.gigabytes.get(str(length)), "g") for length in lengths]
        entries.append(Entry(tuple(cells)))
    notes = tuple((signs[key], text) for key, text in collection.notes.items())
    return Sheet(f"published-{name}", collection.title, collection.caption, tuple(columns), tuple(entries), notes)
