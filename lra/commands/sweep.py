"""The command `lra sweep`, which runs what a list of cells lacks."""

import os
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.output import print_json
from lra.commands.training import seeds_of
from lra.errors import UsageError
from lra.interrupt import Interrupted, interruptible

if TYPE_CHECKING:
    from lra.sweeps.specs import Grid


def add_cells(parser: Parser) -> None:
    parser.add_argument(
        "sweep", nargs="?", metavar="SWEEP", help="a sweep by name (table1) or its gin file; the options count over it"
    )
    parser.add_argument("--tasks", metavar="NAME[,NAME...]", help="the tasks, or 'all' of the protocol")
    parser.add_argument("--variants", metavar="NAME[,NAME...]", help="the variants, or 'all' (default: all)")
    parser.add_argument("--protocols", metavar="NAME[,NAME...]", help="the protocols: demo, paper")
    parser.add_argument(
        "--seeds", nargs="+", metavar="N[,N...]", help="groups of seeds; those of a group train together (default: 0)"
    )


def add_running(parser: Parser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="the most cells that run at once (default: 1)")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop at checkpoints after N minutes")
    parser.add_argument("--status", action="store_true", help="say how far the cells are, and run nothing")
    parser.add_argument(
        "--checkpoint-every", type=float, default=30.0, metavar="SECONDS",
        help="the time between two checkpoints (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--kernels", default="auto", metavar="NAME", help="the implementation of the ops, as for 'lra run'"
    )


@command(
    "sweep",
    "Train and score what a list of cells lacks, each in a process of its own.",
    add_results,
    add_bindings,
    add_imports,
    add_cells,
    add_running,
    examples=(
        "--tasks listops --variants local,linear --protocols demo --seeds 0,1,2",
        "table1 --variants transformer --jobs 8",
        "table1 --status",
    ),
)
def sweep(options: Namespace) -> int:
    # this process computes nothing: the accelerators are for the cells
    asked = os.environ.get("JAX_PLATFORMS")
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    jax.config.update("jax_platforms", "cpu")
    if asked is None:
        del os.environ["JAX_PLATFORMS"]
    else:
        os.environ["JAX_PLATFORMS"] = asked

    from lra.files import check_writable
    from lra.leaderboard.store import folder_of
    from lra.storage import is_remote
    from lra.sweeps.cell import cells_of, check_models
    from lra.sweeps.local import Local
    from lra.sweeps.sweep import DONE, Sweep
    from lra.sweeps.table import Screen, as_json, line_of, table_of

    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs} is not at least 1")
    began = time.monotonic()
    results = options.results if is_remote(options.results) else options.results.absolute()
    cells = cells_of(grid_of(options).specs(list(map(str, options.imports))))
    state = Sweep(cells, results, options.kernels, options.checkpoint_every)
    with Screen(state) as screen:
        state.say = screen.say
        if options.status:
            return print_json(as_json(state)) if options.json else show(table_of(state))
        missing = [entry.cell for entry in state.left]
        screen.say(f"{line_of(state)}; {len(missing)} have no record")
        if missing:
            check_writable(folder_of(results) / "record.json")
            check_models(missing)
            with interruptible(screen.say) as stop:
                session = Local().session(options.jobs)
                try:
                    minutes = float("inf") if options.minutes is None else 60 * options.minutes
                    state.run(session, stop, screen.show, began + minutes)
                finally:
                    session.close()
            left = len(state.left)
            if stop.is_set():
                raise Interrupted(f"stopped; {left} of {len(cells)} cells are left, and the same command goes on")
            if left:
                screen.say(f"the time is over; {left} of {len(cells)} cells are left, and the same command goes on")
        screen.say(line_of(state))
    if failures := state.failures():
        print(failures, file=sys.stderr)
    if options.json:
        print_json(as_json(state))
    elif state.counts[DONE]:
        show(table_of(state))
    state.require_success()
    return 0


def show(table: object) -> int:
    """Prints a table on standard output."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table, highlight=False)
    return 0


def grid_of(options: Namespace) -> "Grid":
    """The grid that file and options describe together."""
    import dataclasses

    from lra.sweeps.specs import Grid, named, read, with_overrides

    grid = read(named(options.sweep)) if options.sweep else Grid()
    lists = {name: getattr(options, name) for name in ("tasks", "variants", "protocols")}
    values = {name: tuple(text.split(",")) for name, text in lists.items() if text is not None}
    grid = dataclasses.replace(grid, **values)
    if options.seeds:
        grid = dataclasses.replace(grid, seeds=tuple(map(seeds_of, options.seeds)))
    return with_overrides(grid, options.gin)
