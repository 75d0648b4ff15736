"""Tables as they are shown: the same cells in the terminal, in Markdown, in LaTeX and on the site."""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from lra.leaderboard.board import Board, Line, Overview, Table
from lra.leaderboard.config import identity_sha256
from lra.leaderboard.levels import Levels, best, levels_of, masters, reach
from lra.leaderboard.row import Row, score
from lra.leaderboard.statistics import ALPHA, Interval
from lra.leaderboard.sweeps import minute
from lra.leaderboard.tracks import FIVE, SIX

EACH = "; "  # separates the values of a cell, one for each sweep; names of hardware may have commas
FLOOR, FEW, DIFFERENT, APART, BUSY = "†", "‡", "*", "§", "¶"
MUCH = 0.1  # the share of the cores from which other programs make a speed doubtful
OWN, PROJECT = "own", "project"  # where a row is from
MARKS = {
    FLOOR: "not distinguishable from the floor (binomial test, p > 0.001)",
    FEW: "fewer than three seeds",
    DIFFERENT: "differs from the reference on the same test examples (p < 0.05, corrected for the number of rows)",
    APART: "in brackets: measured on another machine or at another time than the other steps/s; no comparison",
    BUSY: f"measured while other programs took {100 * MUCH:.0f} % of the cores or more",
}
NO_TRACK = "Settings of its own: in no ranking."


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
      number: whether it is aligned to the right.
      extra: whether only CSV and the site have it. The site hides it behind a switch.
    """

    name: str
    number: bool = True
    extra: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a sheet.

    Attributes:
      value: the value by which a column is sorted; None comes last.
      marks: signs that `Sheet.notes` explains.
      interval: the 95 % interval in per cent, if there is one.
    """

    text: str = ""
    value: float | str | None = None
    marks: tuple[str, ...] = ()
    interval: Interval | None = None

    @property
    def signs(self) -> str:
        """The marks as one text, with commas, so that 1 and 7 are not read as 17."""
        return ",".join(self.marks)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of a sheet.

    Attributes:
      runs: the names of the runs behind the row.
      ranked: False if the row breaks a rule of its track, or a later source took its place.
      came: whether the row came with the project.
    """

    cells: tuple[Cell, ...]
    runs: tuple[str, ...] = ()
    ranked: bool = True
    came: bool = False


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table as it is shown.

    Attributes:
      name: a short name for links: letters, digits and hyphens.
      notes: each mark with its meaning.
      floor: the floor of the task, in per cent; None if there are several tasks.
      source: what of the board the sheet shows; None for the literature.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    notes: tuple[tuple[str, str], ...] = ()
    floor: float | None = None
    source: Table | Levels | Overview | None = None


def sheets(board: Board) -> list[Sheet]:
    """All tables of a board: for each protocol the overview, if it has several tasks, then its tables."""
    made: list[Sheet] = []
    overviews = {overview.protocol: overview for overview in board.overviews}
    for table in board.tables:
        if overview := overviews.pop(table.protocol, None):
            made.append(overview_sheet(overview, board.mixed))
        made.append(table_sheet(table, board.mixed))
        if levels := levels_of(table):
            made.append(levels_sheet(levels, board.mixed))
    return unique(made)


def unique(sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheets, renamed where two have the same name."""
    seen: Counter[str] = Counter()
    result = []
    for sheet in sheets:
        seen[sheet.name] += 1
        count = seen[sheet.name]
        result.append(sheet if count == 1 else dataclasses.replace(sheet, name=f"{sheet.name}-{count}"))
    return result


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "table"


def table_sheet(table: Table, mixed: bool) -> Sheet:
    """One task under one protocol.

    Args:
      mixed: whether the board has both rows that came with the project and others.
    """
    versus = f"vs {table.reference}" if table.reference else "difference"
    columns = [
        Column("variant", number=False), Column("family", number=False, extra=True),
        Column("from", number=False), Column("accuracy %"), Column("95 % interval"),
        Column("above floor", extra=True), Column(versus), Column("p"), Column("seeds"),
        Column("diverged", extra=True), Column("learnt nothing", extra=True), Column("parameters"),
        Column("learning rate", number=False), Column("steps/s"), Column("MB"),
        Column("measured since", number=False, extra=True),
        Column("hardware", number=False, extra=len({row.hardware for row in table.rows}) == 1),
        Column("note", number=False),
    ]  # fmt: skip
    names = labels(table.rows)
    entries = [
        Entry(row_cells(table, row, name, mixed), row.runs, not row.breaches, row.came)
        for row, name in zip(table.rows, names)
    ]
    floor = f"Majority-class floor {100 * table.floor:.2f} %"
    caption = f"{floor}, {table.examples:,} test examples, data {table.data[:12]}. {table.rules or NO_TRACK}"
    if others := sum(bool(row.superseded) for row in table.rows):
        are = "1 row is" if others == 1 else f"{others} rows are"
        caption += f" {are} of another source or version than the present one: not compared, not counted in p."
    return tidy(
        Sheet(slug(f"{table.protocol} {table.task}"), table.title, caption, tuple(columns), tuple(entries),
              floor=100 * table.floor, source=table)
    )  # fmt: skip


def levels_sheet(levels: Levels, mixed: bool) -> Sheet:
    """A table by difficulty: what the best seed of each row has on each level, and how many seeds master it."""
    table, told = levels.table, levels.difficulty
    trained = [level for level, there in zip(told.levels, told.trained) if there]
    columns = [Column("variant", number=False), Column("family", number=False), Column("from", number=False)]
    columns += [Column("reaches"), Column("seeds")]
    columns += [Column(f"{level}") for level in told.levels]
    entries = []
    for place, (row, name) in enumerate(zip(table.rows, labels(table.rows))):
        seeds, farthest = levels.rows[place], best(levels, place)
        count = reach(farthest, told.floor) if farthest else 0
        as_far = sum(reach(own, told.floor) >= count for own in seeds)
        cells = [
            Cell(name, name),
            family_cell(row),
            origin_cell(row, mixed),
            Cell(f"{told.levels[count - 1]}", told.levels[count - 1]) if count else Cell("none", 0),
            Cell(f"{as_far} of {row.seeds}" if count else "", as_far),
        ]
        for level, floor in enumerate(told.floor):
            share = farthest[level] if farthest else None
            found = sum(masters(own[level], floor) for own in seeds)
            some = f" ({found} of {row.seeds})" if 0 < found < row.seeds and floor < 1 else ""
            cells.append(Cell() if share is None else Cell(f"{100 * share:.1f}{some}", 100 * share))
        entries.append(Entry(tuple(cells), row.runs, not row.breaches, row.came))
    guess = [Cell("(a guess)"), Cell(), Cell(), Cell(), Cell(), *(Cell(f"{100 * x:.1f}", 100 * x) for x in told.floor)]
    entries.append(Entry(tuple(guess)))
    sentences = [
        f"Accuracy in per cent by {told.name}, of the seed that reaches farthest. A seed reaches a level if it is "
        "nearer to 100 than to a guess on this one and all before; in brackets how many seeds are, if not all or none.",
        "" if all(told.trained) else f"The training examples have {', '.join(map(str, trained))} only.",
    ]
    return tidy(
        Sheet(slug(f"{table.protocol} {table.task} levels"), f"{levels.task}, protocol {table.protocol}",
              " ".join(filter(None, sentences)), tuple(columns), tuple(entries), source=levels)
    )  # fmt: skip


def family_cell(row: Row | Line) -> Cell:
    return Cell(row.family, row.family or None)


def origin_cell(row: Row | Line, mixed: bool) -> Cell:
    origin = PROJECT if row.came else OWN
    return Cell(origin, origin) if mixed else Cell()


def row_cells(table: Table, row: Row, name: str, mixed: bool) -> tuple[Cell, ...]:
    interval = percent(row.interval)
    unlearnt = len(row.accuracy) - row.learnt
    notes = [row.note] if row.note else []
    if row.task.unlearnt is not None and row.seeds:
        notes.append(f"{row.learnt} of {row.seeds} seeds learnt")
    else:
        notes += [f"{row.diverged} of {row.seeds} seeds diverged"] if row.diverged else []
        notes += [f"{unlearnt} of {row.seeds} seeds learnt nothing"] if unlearnt else []
    notes += [f"not ranked: {breach}" for breach in row.breaches]
    limits = interval and interval.low is not None and interval.high is not None
    return (
        Cell(name, name),
        family_cell(row),
        origin_cell(row, mixed),
        accuracy_cell(row),
        Cell(f"{interval.low:.2f} to {interval.high:.2f}", interval.low) if limits and interval else Cell(),
        number(None if row.mean is None else 100 * (row.mean - table.floor), "+.2f"),
        number(row.versus and 100 * row.versus.difference, "+.2f"),
        p_cell(row),
        Cell(str(row.seeds), row.seeds, (FEW,) if row.few else ()),
        Cell(str(row.diverged), row.diverged),
        Cell(str(unlearnt), unlearnt),
        number(row.parameters, ","),
        Cell(row.rate, row.rate),
        speed_cell(table, row),
        numbers([cost.memory and cost.memory / 1e6 for cost in row.costs], ",.0f"),
        words_cell(minute(cost.since) for cost in row.costs),
        words_cell(row.hardware),
        Cell("; ".join(notes), "; ".join(notes)),
    )


def accuracy_cell(row: Row) -> Cell:
    if row.mean is None:
        return Cell()
    return Cell(f"{100 * row.mean:.2f}", 100 * row.mean, () if row.above_floor else (FLOOR,), percent(row.interval))


def p_cell(row: Row) -> Cell:
    if row.versus is None:
        return Cell()
    p = row.versus.p
    return Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p, (DIFFERENT,) if p < ALPHA else ())


def speed_cell(table: Table, row: Row) -> Cell:
    """The speeds of a row. Those that were not measured in the table's sweep are in brackets, and not sorted."""
    if all(cost.steps_per_second is None for cost in row.costs):
        return Cell()
    beside = [cost.steps_per_second for cost in row.costs if cost.sweep == table.sweep]
    texts = ["-" if cost.steps_per_second is None else f"{cost.steps_per_second:.3g}" for cost in row.costs]
    apart = [cost.steps_per_second is not None and cost.sweep != table.sweep for cost in row.costs]
    text = EACH.join(f"({text})" if other else text for text, other in zip(texts, apart))
    busy = any(cost.steps_per_second is not None and cost.others >= MUCH for cost in row.costs)
    marks = ((APART,) if any(apart) else ()) + ((BUSY,) if busy else ())
    return Cell(text, beside[0] if beside else None, marks)


def number(value: float | None, form: str) -> Cell:
    return Cell() if value is None else Cell(format(value, form), value)


def numbers(values: Sequence[float | None], form: str) -> Cell:
    """The values of each sweep, in the order of the hardware column. The column is sorted by the first value."""
    if all(value is None for value in values):
        return Cell()
    return Cell(EACH.join("-" if value is None else format(value, form) for value in values), values[0])


def words_cell(values: Iterable[str]) -> Cell:
    """The words of each sweep."""
    text = EACH.join(value or "unknown" for value in values)
    return Cell(text, text)


def percent(interval: Interval | None) -> Interval | None:
    return interval and Interval(*(None if x is None else 100 * x for x in interval))  # type: ignore[arg-type]


def labels(rows: Sequence[Row | Line]) -> list[str]:
    """The names of rows. Equal labels are told apart by what differs: version, source, configuration."""
    alike: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        alike[row.label].append(place)
    names = [row.label for row in rows]
    for places in alike.values():
        told = {place: facts(rows[place]) for place in places if len(places) > 1}
        for place, own in told.items():
            differing = [fact for name, fact in own.items() if len({other[name] for other in told.values()}) > 1]
            names[place] += f" [{', '.join(differing)}]" if differing else ""
    return names


def facts(row: Row | Line) -> dict[str, str]:
    """What tells rows of one label apart, in words."""
    first = row.records[0] if isinstance(row, Row) else next(iter(row.cells.values())).records[0]
    return {
        "version": f"version {row.key[1]}",
        "source": f"source {row.key[2][:6]}" if row.key[2] else "the project's",
        "configuration": f"configuration {identity_sha256(first)[:6]}",
    }


def overview_sheet(overview: Overview, mixed: bool) -> Sheet:
    """All tasks of a protocol, with both averages of the literature if the protocol has their tasks."""
    tasks = [table.task for table in overview.tables]
    columns = [Column("variant", number=False), Column("family", number=False), Column("from", number=False)]
    columns += [Column(f"{table.task} (floor {100 * table.floor:.1f})") for table in overview.tables]
    averages = {"average of five": "five", "average of six": "six"}
    columns += [Column(name) for name in averages] + [Column("Borda points"), Column("Borda rank")]
    entries = []
    for line, name in zip(overview.lines, labels(overview.lines)):
        cells = [Cell(name, name), family_cell(line), origin_cell(line, mixed)]
        cells += [overview_cell(line.cells.get(task)) for task in tasks]
        for average in averages.values():
            value = getattr(line, average)
            cells.append(number(None if value is None else 100 * value, ".2f"))
        cells += [number(line.points, "g"), number(line.rank, "d")]
        runs = tuple(run for row in line.cells.values() for run in row.runs)
        entries.append(Entry(tuple(cells), runs, came=line.came))
    some = lambda what: any(getattr(line, what) is not None for line in overview.lines)
    borda = "Borda: on each task a point for every row that is worse, half for an equal one; rows that have all tasks."
    six = f"Average of six: with {SIX[-1]}, each seed of which that diverged or learnt nothing counts 50."
    sentences = ["Accuracy in per cent, mean over seeds."]
    sentences += [f"Average of five: {', '.join(FIVE)}."] if some("five") else []
    sentences += [six] if some("six") else []
    sentences += [borda] if some("points") else []
    sentences += [overview.rules or NO_TRACK]
    return tidy(
        Sheet(
            slug(f"{overview.protocol} overview"), f"All tasks, protocol {overview.protocol}", " ".join(sentences),
            tuple(columns), tuple(entries), source=overview,
        )
    )  # fmt: skip


def overview_cell(row: Row | None) -> Cell:
    if row is None:
        return Cell()
    if row.mean is None:
        return Cell("diverged" if row.diverged else row.note, None)
    marks = ((FLOOR,) if not row.above_floor else ()) + ((FEW,) if row.few else ())
    by_success = row.task.unlearnt is not None
    of = f" ({row.learnt} of {row.seeds})" if by_success else ""
    value = 100 * (score(row) if by_success else row.mean)
    return Cell(f"{100 * row.mean:.2f}{of}", value, marks, percent(row.interval))


def tidy(sheet: Sheet) -> Sheet:
    """The sheet without columns that are empty in every row, and with a note for each mark that occurs."""
    kept = [
        place
        for place in range(len(sheet.columns))
        if sheet.columns[place].name in ("variant", "accuracy %")
        or any(
            cell.text and (cell.text, cell.value) != ("0", 0) for cell in (one.cells[place] for one in sheet.entries)
        )
    ]
    entries = tuple(
        dataclasses.replace(entry, cells=tuple(entry.cells[place] for place in kept)) for entry in sheet.entries
    )
    used = {mark for entry in entries for cell in entry.cells for mark in cell.marks}
    return dataclasses.replace(
        sheet, columns=tuple(sheet.columns[place] for place in kept), entries=entries,
        notes=(*sheet.notes, *((mark, text) for mark, text in MARKS.items() if mark in used)),
    )  # fmt: skip
