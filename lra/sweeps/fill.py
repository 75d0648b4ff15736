"""Fills what a list of specs lacks: checks all, says how long it will take, runs it, and names what failed."""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lra.files import check_writable
from lra.interrupt import Interrupted, interruptible
from lra.leaderboard import store
from lra.spec import RunSpec
from lra.storage import is_remote
from lra.sweeps.cell import cells_of, check_models
from lra.sweeps.estimate import Timed, estimate, timed, work_of_step
from lra.sweeps.executor import Executor, Session
from lra.sweeps.sweep import WAITING, Sweep
from lra.sweeps.table import Screen, line_of

FORECAST_EVERY = 20.0  # seconds


def fill(
    specs: Sequence[RunSpec],
    results: Path,
    executor: Executor,
    jobs_at_once: int | None = None,
    minutes: float | None = None,
    kernels: str = "auto",
    checkpoint_every: float = 30.0,
) -> Sweep:
    """Runs the cells that have no record, the shortest first. Returns the sweep at its end.

    Args:
      jobs_at_once: the most cells that run at once; None for what the executor thinks best.
      minutes: after which what runs is stopped at a checkpoint; None for no limit.
      kernels, checkpoint_every: as for `execute`.

    Raises:
      Interrupted: it was stopped on request.
      UsageError, UserError: specs are wrong, the results folder cannot be written, or the executor cannot work.
    """
    until = time.monotonic() + (float("inf") if minutes is None else 60 * minutes)
    results = results if is_remote(results) else results.absolute()
    sweep = Sweep(cells_of(specs), results, kernels, checkpoint_every)
    with Screen(sweep) as screen:
        sweep.say = screen.say
        if not sweep.left:
            screen.say(line_of(sweep))
            return sweep
        check_writable(store.folder_of(results) / "record.json")
        check_models([entry.cell for entry in sweep.left])
        with interruptible(screen.say) as stop:
            session = executor.session(jobs_at_once)
            try:
                forecast = Forecast(sweep, session)
                screen.say(line_of(sweep))
                screen.at_once = session.slots or len(sweep.left)
                run(sweep, session, stop, screen, forecast, until)
            finally:
                session.close()
        screen.say(line_of(sweep))
        left = len(sweep.left)
        if stop.is_set() and left:
            raise Interrupted(f"stopped; {left} of {len(sweep.entries)} cells are left, and the same command goes on")
        if left:
            screen.say(f"the time is over; {left} cells are left, and the same command goes on")
    if failures := sweep.failures():
        print(failures, file=sys.stderr)
    return sweep


def run(
    sweep: Sweep, session: Session, stop: threading.Event, screen: Screen, forecast: "Forecast", until: float
) -> None:
    """Runs a sweep and shows it."""

    def show(sweep: Sweep) -> None:
        forecast.refresh()
        screen.show(sweep)

    sweep.run(session, stop, show, until)


class Forecast:
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
            work = entry.cell.plan.train.steps * (work_of_step(entry.cell.plan) or 0.0)
            entry.rank = work if entry.expected is None else entry.expected

    def refresh(self) -> None:
        """Estimates again what waits, from time to time."""
        running = [entry for entry in self.sweep.left if entry.steps_per_second]
        if time.monotonic() - self.last < FORECAST_EVERY and len(running) <= self.paced:
            return
        self.last, self.paced = time.monotonic(), len(running)
        waiting = [entry for entry in self.sweep.left if entry.state == WAITING]
        if not self.hardware or not waiting:
            return
        now = [Timed(one.cell.plan, one.steps_per_second or 0.0, 0.0, self.hardware) for one in running]
        seconds = estimate([entry.cell.plan for entry in waiting], [*self.known, *now], self.hardware)
        for entry, expected in zip(waiting, seconds):
            entry.expected = expected
