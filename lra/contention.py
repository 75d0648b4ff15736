"""How much of this process's cores other programs take: a speed that was measured on a busy machine says little."""

import os
from pathlib import Path
from typing import NamedTuple

STAT = Path("/proc/stat")
IDLE = (3, 4)  # the columns "idle" and "iowait" of /proc/stat, after the name of the core
COUNTED = 8  # from "user" to "steal"; the time of guests is part of "user"


class Clock(NamedTuple):
    """The time of this process's cores since the machine was started, in core seconds: all, in use, used by itself."""

    total: float
    busy: float
    own: float


def clock() -> Clock | None:
    """The present state; None where the system does not tell."""
    try:
        lines = STAT.read_text("ascii").splitlines()
    except OSError:
        return None
    own = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = os.sysconf("SC_CLK_TCK")
    rows = [[int(x) / ticks for x in line.split()[1 : COUNTED + 1]] for line in lines if line.partition(" ")[0] in own]
    if len(rows) < len(own):
        return None
    total = sum(map(sum, rows))
    return Clock(total, total - sum(row[column] for row in rows for column in IDLE), sum(os.times()[:2]))


class Contention:
    """The share of the cores that other programs took, over all spans that were measured.

    Attributes:
      total, others: core seconds, those of this process's cores and those of them that others took.
    """

    def __init__(self, total: float = 0.0, others: float = 0.0):
        self.total, self.others = total, others
        self.began: Clock | None = None

    def begin(self) -> None:
        """Begins a span."""
        self.began = clock()

    def end(self) -> None:
        """Ends the span and adds it."""
        if self.began is not None and (now := clock()):
            self.total += now.total - self.began.total
            self.others += now.busy - now.own - self.began.busy + self.began.own
        self.began = None

    @property
    def share(self) -> float | None:
        """From 0 to 1; None if nothing was measured."""
        return round(min(1.0, max(0.0, self.others / self.total)), 3) if self.total > 0 else None
