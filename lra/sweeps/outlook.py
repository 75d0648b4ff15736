"""How long a sweep will still take, while it runs."""

import time

from lra.leaderboard import store
from lra.plan import Plan
from lra.sweeps.estimate import Timed, estimate, timed, work_of_step
from lra.sweeps.executor import Session
from lra.sweeps.sweep import WAITING, Entry, Sweep

REFRESH = 20.0  # seconds


class Outlook:
    """Says how long the cells of a sweep will take, and puts the shortest first.

    It knows the records in the results folder, and the speed of running cells once some of their steps were timed.
    """

    def __init__(self, sweep: Sweep, session: Session):
        self.sweep, self.session = sweep, session
        records, _ = store.load([sweep.results])
        self.known = timed(records)
        newest = max(records, key=lambda record: record.measured.finished_at, default=None)
        self.hardware = session.hardware or (newest.measured.hardware if newest else None)
        self.last, self.paced = 0.0, 0
        self.refresh()
        for entry in sweep.left:
            work = entry.cell.steps * (work_of_step(plan_of(entry)) or 0.0)
            entry.rank = work if entry.expected is None else entry.expected

    def refresh(self) -> None:
        """Estimates again what waits, from time to time."""
        running = [entry for entry in self.sweep.left if entry.steps_per_second]
        if time.monotonic() - self.last < REFRESH and len(running) <= self.paced:
            return
        self.last, self.paced = time.monotonic(), len(running)
        waiting = [entry for entry in self.sweep.left if entry.state == WAITING]
        if not self.hardware or not waiting:
            return
        now = [Timed(plan_of(one), one.steps_per_second or 0.0, 0.0, self.hardware) for one in running]
        seconds = estimate([plan_of(entry) for entry in waiting], [*self.known, *now], self.hardware)
        for entry, expected in zip(waiting, seconds):
            entry.expected = expected


def plan_of(entry: Entry) -> Plan:
    assert entry.cell.plan
    return entry.cell.plan
