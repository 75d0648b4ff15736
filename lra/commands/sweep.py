"""The command `lra sweep`, which runs what a list of cells lacks."""

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.output import print_json
from lra.commands.training import seeds_of
from lra.errors import UsageError

if TYPE_CHECKING:
    from lra.sweeps.specs import Grid

STATUS = "status"


def add_cells(parser: Parser) -> None:
    parser.add_argument(
        "sweep", nargs="?", metavar="SWEEP",
        help="a sweep by name (table1) or its gin file, over which the options count; 'status' says how far all sweeps "
        "of --results are, and runs nothing",
    )  # fmt: skip
    parser.add_argument("--tasks", metavar="NAME[,NAME...]", help="the tasks, or 'all' of the protocol")
    parser.add_argument("--variants", metavar="NAME[,NAME...]", help="the variants, or 'all' (default: all)")
    parser.add_argument("--protocols", metavar="NAME[,NAME...]", help="the protocols: demo, probe, paper")
    parser.add_argument(
        "--seeds", nargs="+", metavar="N[,N...]", help="groups of seeds; those of a group train together (default: 0)"
    )


def add_running(parser: Parser) -> None:
    parser.add_argument(
        "--executor", default="local", metavar="NAME[:OPTION=VALUE,...]",
        help="where the cells run: local, ray or slurm, e.g. slurm:partition=gpu,gpus=1 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N", help="the most cells that run at once (default: 1)")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop at checkpoints after N minutes")
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
        "status",
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

    from lra.sweeps.cell import kept
    from lra.sweeps.executor import executor_of
    from lra.sweeps.fill import fill
    from lra.sweeps.sweep import DONE, Sweep
    from lra.sweeps.table import as_json, picture_of, table_of

    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs} is not at least 1")
    if options.sweep == STATUS:
        state = Sweep(kept(options.results), options.results)
        return print_json(as_json(state)) if options.json else show(picture_of(state))
    executor = executor_of(options.executor)
    specs = grid_of(options).specs(list(map(str, options.imports)))
    done = fill(
        specs, options.results, executor, options.jobs, options.minutes, options.kernels, options.checkpoint_every
    )
    if options.json:
        print_json(as_json(done))
    elif done.counts[DONE]:
        show(table_of(done))
    done.require_success()
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

    from lra import extension
    from lra.sweeps.specs import Grid, named, read, with_overrides

    extension.load_all(options.imports)  # the bindings may be of a task or variant that they register
    grid = read(named(options.sweep)) if options.sweep else Grid()
    lists = {name: getattr(options, name) for name in ("tasks", "variants", "protocols")}
    values = {name: tuple(text.split(",")) for name, text in lists.items() if text is not None}
    grid = dataclasses.replace(grid, **values)
    if options.seeds:
        grid = dataclasses.replace(grid, seeds=tuple(map(seeds_of, options.seeds)))
    return with_overrides(grid, options.gin)
