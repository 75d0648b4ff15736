"""Tables from records: which rows there are, what stands in them, and how they are written."""

import csv
import dataclasses
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from lra.leaderboard.record import Record

HEADER = ("variant", "accuracy %", "± std", "above floor", "seeds", "parameters", "steps/s", "note")


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant in one table, all its records merged.

    Attributes:
      accuracy: of each seed on the full test split, by seed.
      steps_per_second: steps of one seed; the seeds of a run train together and each one's steps count.
    """

    variant: str
    accuracy: dict[int, float]
    diverged: int
    parameters: int
    steps_per_second: float | None
    hardware: str
    note: str

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.accuracy.values()) if self.accuracy else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation over seeds; None for fewer than two."""
        return statistics.stdev(self.accuracy.values()) if len(self.accuracy) > 1 else None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that may be compared: one task, one set of data, one protocol."""

    task: str
    protocol: str
    data: str
    floor: float
    examples: int
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        return f"{self.task}, protocol {self.protocol}"

    @property
    def caption(self) -> str:
        return f"Majority-class floor {100 * self.floor:.2f} %, {self.examples:,} test examples, data {self.data[:12]}."


def tables(records: Iterable[Record]) -> list[Table]:
    """The tables of some records, in a fixed order, best variant first.

    Bindings given by hand that touch the variant itself make a row of their own; others make the protocol another
    one, and so a table of its own.
    """
    groups: dict[tuple[str, ...], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in sorted(records, key=lambda record: record["run"]):
        name = record["variant"]["name"]
        own = [line for line in record["protocol"]["overrides"] if line.startswith(f"{name}.")]
        other = [line for line in record["protocol"]["overrides"] if not line.startswith(f"{name}.")]
        label = name if not own else f"{name} ({', '.join(line.removeprefix(f'{name}.') for line in own)})"
        protocol = ", ".join([record["protocol"]["name"], *other])
        task = record["task"]
        key = (task["name"], task["version"], protocol, task["data_sha256"])
        groups[key][label].append(record)
    result = []
    for (name, version, protocol, data), variants in sorted(groups.items()):
        rows = [merge(label, same) for label, group in variants.items() for same in by_code(group)]
        rows.sort(key=lambda row: (row.mean is None, -(row.mean or 0), row.variant))
        info = next(iter(variants.values()))[0]["task"]
        result.append(
            Table(
                f"{name} {version}",
                protocol,
                data,
                info["floor"]["test"],
                info["examples"]["test"],
                tuple(rows),
            )
        )
    return result


def by_code(records: list[Record]) -> list[list[Record]]:
    """Records of one label whose numbers may be averaged: the same configuration and the same code of the variant."""
    groups = defaultdict(list)
    for record in records:
        variant = record["variant"]
        groups[record["config_sha256"], variant["version"], variant["source_sha256"] or ""].append(record)
    return [groups[key] for key in sorted(groups)]


def merge(label: str, records: list[Record]) -> Row:
    """One row from the records of one configuration with different seeds; a seed counts once."""
    accuracy: dict[int, float] = {}
    diverged: set[int] = set()
    for record in records:
        for seed in record["seeds"]:
            if seed["test"] is not None:
                accuracy.setdefault(seed["seed"], seed["test"]["accuracy"])
            else:
                diverged.add(seed["seed"])
    rates = [
        record["measured"]["steps_per_second"] * len(record["seeds"])
        for record in records
        if record["measured"]["steps_per_second"]
    ]
    hardware = sorted({hardware_of(record) for record in records})
    notes = [status for status in ("failed", "out of memory") if any(record["status"] == status for record in records)]
    if lost := len(diverged - accuracy.keys()):
        notes.append(f"{lost} of {lost + len(accuracy)} seeds diverged")
    return Row(
        label, accuracy, lost, records[0]["parameters"], statistics.fmean(rates) if rates else None,
        ", ".join(hardware), "; ".join(notes),
    )  # fmt: skip


def hardware_of(record: Record) -> str:
    """A device's name; a CPU's has the number of cores behind it."""
    found = record["measured"]["hardware"]
    if found.get("platform") == "cpu":
        return f"{found.get('cpu')}, {found.get('cores')} cores"
    return str(found.get("device"))


def cells(table: Table, row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of HEADER."""
    show = lambda value, form: "" if value is None else format(value, form)
    above = None if row.mean is None else 100 * (row.mean - table.floor)
    return (
        row.variant,
        show(None if row.mean is None else 100 * row.mean, ".2f"),
        show(None if row.std is None else 100 * row.std, ".2f"),
        show(above, "+.2f"),
        str(len(row.accuracy)),
        f"{row.parameters:,}",
        show(row.steps_per_second, ".1f"),
        row.note,
    )


def header(table: Table) -> tuple[str, ...]:
    """HEADER without a column that would be empty."""
    return HEADER if any(row.note for row in table.rows) else HEADER[:-1]


def markdown(found: Sequence[Table]) -> str:
    """All tables as a Markdown page."""
    page = ["# Leaderboard", ""]
    for table in found:
        names = header(table)
        page += [f"## {escaped(table.title)}", "", table.caption, ""]
        page += ["| " + " | ".join(names) + " |", "|" + "|".join(["---"] + ["---:"] * (len(names) - 1)) + "|"]
        for row in table.rows:
            page.append("| " + " | ".join(escaped(text) for text in cells(table, row)[: len(names)]) + " |")
        hardware = sorted({row.hardware for row in table.rows})
        page += ["", f"Steps of one seed, all seeds of a run together, on: {escaped('; '.join(hardware))}.", ""]
    return "\n".join(page)


def escaped(text: str) -> str:
    """A text from a record, which may hold anything, such that it stays in its cell or line of a Markdown page."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def as_csv(found: Sequence[Table]) -> str:
    """All tables as one CSV, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(
        ["task", "protocol", "data_sha256", "variant", "accuracy_mean", "accuracy_std", "floor", "seeds", "diverged",
         "parameters", "steps_per_second", "hardware", "note"]
    )  # fmt: skip
    for table in found:
        for row in table.rows:
            writer.writerow(
                [table.task, table.protocol, table.data, row.variant, row.mean, row.std, table.floor, len(row.accuracy),
                 row.diverged, row.parameters, row.steps_per_second, row.hardware, row.note]
            )  # fmt: skip
    return text.getvalue()
