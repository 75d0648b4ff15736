"""Fills what a list of specs lacks: checks all, says how long it will take, runs it, and names what failed."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lra.files import check_writable
from lra.interrupt import Interrupted, interruptible
from lra.leaderboard import store
from lra.progress import counted
from lra.spec import RunSpec
from lra.storage import is_remote
from lra.sweeps.cell import cells_of, check_models, keep
from lra.sweeps.executor import Executor
from lra.sweeps.sweep import Sweep
from lra.sweeps.table import Screen, line_of


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
        from lra.sweeps.outlook import Outlook  # only here: it brings in what trains

        check_writable(store.folder_of(results) / "record.json")
        check_models([entry.cell for entry in sweep.left])
        with interruptible(screen.say) as stop:
            session = executor.session(jobs_at_once)
            keep(results, [entry.cell for entry in sweep.entries])
            try:
                outlook = Outlook(sweep, session)
                screen.at_once = session.slots or len(sweep.left)
                screen.say(line_of(sweep, screen.at_once))

                def show(sweep: Sweep) -> None:
                    outlook.refresh()
                    screen.show(sweep)

                sweep.run(session, stop, show, until)
            finally:
                session.close()
        screen.say(line_of(sweep))
        left = len(sweep.left)
        if stop.is_set() and left:
            raise Interrupted(f"stopped with {counted(left, 'cell')} left; the same command goes on")
        if left:
            screen.say(f"the time is over with {counted(left, 'cell')} left; the same command goes on")
    if failures := sweep.failures():
        print(failures, file=sys.stderr)
    return sweep
