"""The numbers of the leaderboard: a table for each task, data and protocol, and an overview of all tasks.

They are a pure function of the records; neither the order nor the folder of a record matters.
"""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from lra.families import OUTSIDE
from lra.leaderboard import statistics
from lra.leaderboard.config import identity_sha256
from lra.leaderboard.duplicates import contradicting, without_repeats
from lra.leaderboard.editions import editions
from lra.leaderboard.record import Measurements, Record
from lra.leaderboard.row import Row, compared, row_of, score
from lra.leaderboard.sweeps import Sweep, hardware_of, sweeps_of
from lra.leaderboard.tracks import FIVE, SIX, Changes, Track, breaches, changes
from lra.leaderboard.tuning import rates_of

REFERENCE = "transformer"


class Held(NamedTuple):
    """A record with its name on the board.

    Attributes:
      breaches: the rules of its protocol's track that it breaks.
      sweep: the sweep in which its speed was measured.
      came: whether it came with the project.
      rate: its learning rate in words if it was chosen; else empty.
    """

    record: Record
    name: str
    breaches: tuple[str, ...]
    sweep: Sweep
    came: bool
    rate: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of one task, one set of data and one protocol. Ranked rows come first, the best at the top.

    Attributes:
      version: the version of the task.
      rules: the rules of the protocol's track, in words; empty if the protocol has no track.
      data: the SHA-256 of the data.
      floor: the accuracy of always giving the most frequent label, as a share.
      examples: the number of test examples.
      reference: the label of the row that the others are compared with; empty if there is none.
      sweep: the sweep whose speeds stand beside each other; None if no speed was measured.
      is_arenas: whether the task is one of the arena's, and not one from outside.
    """

    task: str
    version: str
    protocol: str
    rules: str
    data: str
    floor: float
    examples: int
    rows: tuple[Row, ...]
    reference: str
    sweep: Sweep | None
    is_arenas: bool = True

    @property
    def title(self) -> str:
        foreign = "" if self.is_arenas else ", not a task of the arena"
        return f"{self.task} {self.version}, protocol {self.protocol}{foreign}"


class Line(NamedTuple):
    """A variant in an overview.

    Attributes:
      cells: the rows of the variant, by task.
      five: the mean accuracy over LRA's five tasks without Path-X; None if a task is missing.
      six: the mean accuracy with Path-X; a seed that learnt nothing on Path-X counts 50 %. None if a task is missing.
      points, rank: Borda points and rank over the tasks of the overview; None if a task is missing.
    """

    key: tuple[str, ...]
    label: str
    cells: Mapping[str, Row]
    five: float | None
    six: float | None
    points: float | None
    rank: int | None

    @property
    def family(self) -> str:
        return next(iter(self.cells.values())).family

    @property
    def came(self) -> bool:
        """Whether all its records came with the project."""
        return all(row.came for row in self.cells.values())


@dataclasses.dataclass(frozen=True)
class Overview:
    """All tasks of a protocol side by side. Lines are sorted by average, Borda points and name."""

    protocol: str
    rules: str
    tables: tuple[Table, ...]
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Board:
    """All tables and overviews. Tables of tasks from outside come last, and are in no overview.

    Attributes:
      breaches: why a record is not ranked, by the record's name: the rules of its track that it breaks, or the source
        that took its place.
    """

    tables: tuple[Table, ...]
    overviews: tuple[Overview, ...]
    breaches: Mapping[str, tuple[str, ...]]

    @property
    def mixed(self) -> bool:
        """Whether rows that came with the project stand beside others."""
        return len({row.came for table in self.tables for row in table.rows}) > 1


def make_board(
    records: Iterable[Record],
    tracks: Mapping[str, Track],
    reference: str = REFERENCE,
    shipped: Iterable[Record] = (),
    arena: Collection[str] | None = None,
    families: Mapping[str, str] | None = None,
) -> Board:
    """The tables of some records, in a fixed order.

    Options of a variant, or settings from outside, that are not the protocol's make a separate row. All other values
    that are not the protocol's make a separate table. If records of one run have different answers, each machine has a
    row of its own, and so have the project's records; if they are of one machine, neither counts. Of several sources of
    one variant the newest is ranked. Of several learning rates that the protocol allows, the chosen one has the row.

    Args:
      tracks: the track of each protocol, by name. Tables have this order; those of other protocols come last.
      reference: the variant, or the label of the row, that all other rows are compared with.
      shipped: the records that came with the project, whether they are among the others or not.
      arena: the names of the arena's tasks; None takes all tasks for the arena's.
      families: the family of each of the project's variants, by name; None tells no families.
    """
    records = without_repeats(records)
    names, sweeps = names_of(records), sweeps_of(records)
    of_project: dict[str, list[Measurements]] = defaultdict(list)
    for record in shipped:
        of_project[record.run].append(record.measured)
    groups: dict[tuple[str, ...], dict[tuple[str, ...], list[Held]]] = defaultdict(lambda: defaultdict(list))
    passed: dict[str, tuple[str, ...]] = {}
    for record, name, sweep, rates in zip(records, names, sweeps, rates_of(records, tracks)):
        if rates and rates.own != rates.chosen:
            passed[name] = (f"learning rate {rates.own:g} is not the chosen one, {rates.chosen:g}",)
            continue
        variant, task, track = record.variant, record.task, tracks.get(record.protocol.name)
        changed = changes(record, track)
        group = (task.name, task.version, ", ".join([record.protocol.name, *changed.others]), task.data_sha256)
        key = (label(record, changed), str(variant.version), variant.source_sha256 or "", identity_sha256(record))
        held = Held(
            record, name, breaches(record, track), sweep, record.measured in of_project[record.run],
            rates.words if rates else "",
        )  # fmt: skip
        groups[group][key].append(held)
    rules = {name: track.rules for name, track in tracks.items()}
    tables = [table_of(group, rows, rules, reference, families) for group, rows in sorted(groups.items())]
    if arena is not None:
        tables = [dataclasses.replace(table, is_arenas=table.task in arena) for table in tables]
    order = [*tracks]
    number = lambda protocol: order.index(protocol) if protocol in order else len(order)
    protocols = sorted({table.protocol for table in tables}, key=lambda protocol: (number(protocol), protocol))
    rank = lambda table: (not table.is_arenas, protocols.index(table.protocol), place(table), table.version, table.data)
    tables.sort(key=rank)
    of_protocols = [[table for table in tables if table.protocol == name and table.is_arenas] for name in protocols]
    overviews = [overview_of(name, own) for name, own in zip(protocols, of_protocols) if own]
    reasons = passed | {held.name: held.breaches for rows in groups.values() for same in rows.values() for held in same}
    for row in (row for table in tables for row in table.rows if row.superseded):
        reasons |= {name: (*reasons[name], row.superseded) for name in row.runs}
    return Board(tuple(tables), tuple(overview for overview in overviews if len(overview.tables) > 1), reasons)


def names_of(records: Sequence[Record]) -> list[str]:
    """A name for each record: its run, and a part of its hash if another record is of the same run."""
    runs = Counter(record.run for record in records)
    digest = lambda record: hashlib.sha256(msgspec.json.encode(record)).hexdigest()[:6]
    return [record.run if runs[record.run] == 1 else f"{record.run}-{digest(record)}" for record in records]


def label(record: Record, changed: Changes) -> str:
    """The name of the variant, with its options and the settings from outside that are not the protocol's."""
    own = [*changed.variant, *changed.environment]
    return record.variant.name + (f" ({', '.join(own)})" if own else "")


def place(table: Table) -> tuple[int, str]:
    """The position of a table in LRA's customary order of tasks. A stand-in has the position of its task."""
    name = table.rows[0].task.stands_in_for or table.task
    return (SIX.index(name) if name in SIX else len(SIX), table.task)


def table_of(
    group: tuple[str, ...],
    records: Mapping[tuple[str, ...], Sequence[Held]],
    rules: Mapping[str, str],
    reference: str,
    families: Mapping[str, str] | None,
) -> Table:
    name, version, protocol, data = group
    rows = editions([row for key, same in sorted(records.items()) for row in rows_of(key[:3], same)])
    if families is not None:
        rows = [dataclasses.replace(row, family=family_of(row, families)) for row in rows]
    rows.sort(key=lambda row: (bool(row.breaches), row.mean is None, -(row.mean or 0), row.key, row.records[0].run))
    base = next((row for row in rows if reference in (row.label, row.key[0]) and not row.superseded), None)
    info = rows[0].task
    return Table(
        name, version, protocol, rules.get(protocol, ""), data, info.floor.test, info.examples.test,
        tuple(compared(rows, base)), base.label if base else "", sweep_of(records.values()),
    )  # fmt: skip


def family_of(row: Row, families: Mapping[str, str]) -> str:
    variant = row.records[0].variant
    return OUTSIDE if variant.source_sha256 else families.get(variant.name, OUTSIDE)


def sweep_of(rows: Iterable[Sequence[Held]]) -> Sweep | None:
    """The sweep whose speeds a table shows: the one with the most rows of the user's own, then with the most rows."""
    own: Counter[Sweep] = Counter()
    total: Counter[Sweep] = Counter()
    for held in rows:
        timed = [one for one in held if one.record.measured.steps_per_second]
        total.update({one.sweep for one in timed})
        own.update({one.sweep for one in timed if not one.came})
    return max(total, key=lambda sweep: (own[sweep], total[sweep], sweep.since, sweep.hardware), default=None)


def rows_of(key: tuple[str, ...], held: Sequence[Held]) -> list[Row]:
    """The row of a variant; one for each machine if records of one run have different answers."""
    parts: dict[str, list[Held]] = {"": [*held]}
    if contradicting([one.record for one in held]):
        machines = [machine(one.record) for one in held]
        if all(facts == machines[0] for facts in machines):  # two machines may have one name
            machines = [{"origin": "the project's machine" if one.came else "your machine"} for one in held]
        names = dict.fromkeys(name for facts in machines for name in facts)
        differing = [name for name in names if len({facts.get(name) for facts in machines}) > 1]
        parts = defaultdict(list)
        for one, facts in zip(held, machines):
            parts[", ".join(facts.get(name, f"no {name}") for name in differing)].append(one)
    rows = []
    for where, part in sorted(parts.items()):
        records = [one.record for one in part]
        left_out = contradicting(records)
        reasons = [reason for one in part for reason in one.breaches]
        reasons += [f"run {one.run} has records with different answers, none of which counts" for one in left_out]
        sweeps = [one.sweep for one in part]
        row = row_of((*key, where) if where else key, records, reasons, left_out, sweeps)
        label = f"{row.label} on {where}" if where else row.label
        came = all(one.came for one in part)
        rows.append(
            dataclasses.replace(row, label=label, runs=tuple(one.name for one in part), came=came, rate=part[0].rate)
        )
    return rows


def machine(record: Record) -> dict[str, str]:
    """What explains that the last bits of two records of one run differ: hardware and versions, in words."""
    versions = record.measured.versions
    return {"hardware": hardware_of(record)} | {name: f"{name} {versions[name]}" for name in sorted(versions)}


def overview_of(protocol: str, tables: Sequence[Table]) -> Overview:
    """The overview of a protocol. If a task has several sets of data, the one with the most rows is taken."""
    chosen: dict[str, Table] = {}
    for table in sorted(tables, key=lambda table: (-len(table.rows), table.version, table.data)):
        chosen.setdefault(table.task, table)
    columns = sorted(chosen.values(), key=place)
    cells: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for table in columns:
        for row in sorted(table.rows, key=lambda row: -row.seeds):
            if not row.breaches:
                cells[row.key].setdefault(table.task, row)
    complete = [key for key in sorted(cells) if all(table.task in cells[key] for table in columns)]
    means = [[score(cells[key][table.task]) for table in columns] for key in complete]
    points = statistics.borda(np.array(means)).tolist() if len(complete) > 1 else []
    ranked = dict(zip(complete, zip(points, statistics.ranks(points))))
    lines = []
    for key, by_task in cells.items():
        own, rank = ranked.get(key, (None, None))
        named = next(iter(by_task.values())).label
        lines.append(Line(key, named, by_task, average(by_task, FIVE), average(by_task, SIX), own, rank))
    lines.sort(key=lambda line: (-(line.five or -1), -(line.points if line.points is not None else -1), line.key))
    return Overview(protocol, columns[0].rules, tuple(columns), tuple(lines))


def average(cells: Mapping[str, Row], tasks: Sequence[str]) -> float | None:
    """The mean score over some tasks; None if one is missing."""
    return float(np.mean([score(cells[task]) for task in tasks])) if all(task in cells for task in tasks) else None
