"""Sweeps: which runs one machine made one after the other, so that their speeds may stand beside each other.

A machine that was busy yesterday need not be busy today. Records name no machine, so hardware and times decide.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from lra.leaderboard.record import Record

PAUSE = 3600.0  # seconds


class Sweep(NamedTuple):
    """Runs on one kind of hardware, between which the machine made no long pause.

    Attributes:
      hardware: the name of the device, and how many there were; for a CPU followed by its number of cores.
      since: when the first of the runs was finished, as its record says it.
    """

    hardware: str
    since: str = ""


def sweeps_of(records: Sequence[Record]) -> list[Sweep]:
    """The sweep of each record.

    A sweep goes on as long as the next run begins within an hour, or within the time that this run itself takes: the
    time of a run is without its evaluations.
    """
    sweeps = [Sweep(hardware_of(record), record.measured.finished_at) for record in records]
    runs: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for place, record in enumerate(records):
        measured = record.measured
        if (end := seconds(measured.finished_at)) is not None:
            runs[sweeps[place].hardware].append((end, measured.train_seconds + measured.compile_seconds, place))
    for of_machine in runs.values():
        before, sweep = float("-inf"), sweeps[0]
        for end, took, place in sorted(of_machine):
            sweep = sweep if end - took - before <= max(PAUSE, took) else sweeps[place]
            before, sweeps[place] = end, sweep
    return sweeps


def seconds(time: str) -> float | None:
    """A time as seconds since 1970; None if it is no time."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def minute(time: str) -> str:
    """A time of a record without seconds and time zone."""
    return time[:16].replace("T", " ")


def hardware_of(record: Record) -> str:
    """The name of a record's device, and how many there were; for a CPU followed by its number of cores."""
    facts = record.measured.hardware
    cores = facts.get("cores")
    cpu = f"{facts.get('cpu')}, {cores} core{'' if cores == 1 else 's'}"
    name = cpu if facts.get("platform") == "cpu" else facts.get("device")
    count = facts.get("devices", 1)
    return f"{count} x {name}"[:80] if isinstance(count, int) and count > 1 else str(name)[:80]
