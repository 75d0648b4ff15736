"""The command `lra run`, which trains."""

import shlex
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.data import announce
from lra.commands.output import print_json
from lra.errors import UsageError, UserError

if TYPE_CHECKING:
    from lra.leaderboard.record import Record
    from lra.spec import RunSpec
    from lra.tasks import Source
    from lra.tasks.prepared import Prepared


def add_runs(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="NAME", help="the task; 'lra tasks' lists them")
    parser.add_argument("--variant", required=True, metavar="NAME[,NAME...]", help="the variants to train, or 'all'")
    parser.add_argument("--protocol", required=True, metavar="NAME", help="sizes and recipe: demo, probe or paper")
    parser.add_argument(
        "--seeds", default="0", metavar="N[,N...]", help="the seeds, trained together (default: %(default)s)"
    )
    parser.add_argument("--again", action="store_true", help="run even if there is a record, and replace it")
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="the time between two checkpoints (default: %(default)s)",
    )
    parser.add_argument(
        "--kernels",
        default="auto",
        metavar="NAME",
        help="the implementation of the ops: auto (the fastest that is proven right on this device), xla, or another "
        "name that 'lra kernels' lists (default: %(default)s)",
    )
    parser.add_argument(
        "--trace", type=Path, metavar="DIR", help="write a profile of some steps of each variant there, for Perfetto"
    )


@command(
    "run",
    "Train and score variants, and write their records.",
    add_results,
    add_bindings,
    add_imports,
    add_runs,
    examples=(
        "--task listops --variant local --protocol demo --seeds 0,1,2 --gin 'local.radius = 4'",
        "--import my_attention.py --task listops --variant my_attention --protocol demo",
    ),
)
def run(options: Namespace) -> int:
    from lra.execution import execute, recorded
    from lra.files import check_writable
    from lra.interrupt import Interrupted, interruptible
    from lra.leaderboard.record import as_json
    from lra.plan import resolve
    from lra.progress import Display
    from lra.recipe import task_named
    from lra.tasks.prepared import load
    from lra.trainer import work_beside_steps

    if options.trace:
        check_writable(options.trace / "trace")
    specs = specs_of(options)  # imports the files, one of which may have the task
    announce(options, task_named(options.task, options.protocol))
    plans = [resolve(spec) for spec in specs]
    # by the parameters of the data, which a protocol's file for one variant may set
    by_source: dict[Source, Prepared] = {}
    for plan in plans:
        if plan.source not in by_source:
            by_source[plan.source] = load(plan.task, plan.source, plan.prepare_command)
    total = sum(plan.train.steps for plan in plans)
    more = sum((Counter(work_beside_steps(plan, by_source[plan.source])) for plan in plans), Counter())
    records, failures = [], []
    with Display() as display, display.bar("all runs", total, more) as overall, interruptible(display.say) as stop:
        for plan in plans:
            if stop.is_set():
                raise Interrupted("stopped between two runs; the same command goes on with the next")
            data = by_source[plan.source]
            beside = work_beside_steps(plan, data)
            try:
                before = None if options.again else recorded(plan, data, options.results)
                if before:
                    display.say(f"{plan.variant.name}: {summary(before)} (recorded before; --again runs it again)")
                    display.say(named(before, options.results))
                    with display.bar(plan.variant.name, plan.train.steps, beside, overall):
                        pass  # nothing of it is left to do
                    records.append(before)
                    continue
                with display.bar(plan.variant.name, plan.train.steps, beside, overall) as bar:
                    record = execute(
                        plan,
                        data,
                        options.results,
                        bar=bar,
                        stop=stop,
                        checkpoint_every=options.checkpoint_every,
                        anew=options.again,
                        trace=options.trace and options.trace / plan.variant.name,
                        kernels=options.kernels,
                    )
            except Interrupted:
                raise
            except UserError as error:
                if len(plans) == 1:
                    raise
                display.say(f"{plan.variant.name}: {error}")
                failures.append(plan.variant.name)
                continue
            display.say(f"{plan.variant.name}: {summary(record)}")
            display.say(named(record, options.results))
            records.append(record)
    if options.json:
        print_json([as_json(record) for record in records])
    if failures:
        raise UserError(f"{len(failures)} of {len(plans)} runs failed: {', '.join(failures)}")
    if lost := [record.variant.name for record in records if record.status == "diverged"]:
        raise UserError(f"all seeds of {', '.join(lost)} diverged; the record says so")
    return 0


def specs_of(options: Namespace) -> "list[RunSpec]":
    """The specs that the options name, one for each variant."""
    from lra import extension
    from lra.models.attention import VARIANTS
    from lra.spec import RunSpec

    extension.load_all(options.imports)
    names = sorted(VARIANTS) if options.variant == "all" else options.variant.split(",")
    imports = tuple(map(str, options.imports))
    return [
        RunSpec(options.task, name, options.protocol, seeds_of(options.seeds), tuple(options.gin), imports)
        for name in names
    ]


def seeds_of(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text}: seeds are whole numbers with commas between them, e.g. 0,1,2") from None


def named(record: "Record", results: Path) -> str:
    """One line with the name of a run and where its record is."""
    from lra.leaderboard.record import file_name
    from lra.leaderboard.store import folder_of

    return f"  run {record.run}: {folder_of(results) / file_name(record)}"


def summary(record: "Record") -> str:
    """One line about a record, for the log."""
    scores = [seed.test.accuracy for seed in record.seeds if seed.test]
    if not scores:
        steps = [seed.step for seed in record.seeds]
        if record.status != "diverged" or any(steps):
            return f"{record.status} at step {min(steps)}" if steps else record.status
        from lra import extension
        from lra.models.attention import VARIANTS

        name = record.variant.name
        file = extension.loaded_from(name)
        check = shlex.join(["lra", "check", *(["--import", str(file)] if file else []), name])
        where = VARIANTS[name].where
        return f"diverged: the loss is NaN or infinite at the first step; '{check}' says more ({where})"
    lost = len(record.seeds) - len(scores)
    text = ", ".join(f"{100 * score:.2f}" for score in scores)
    return f"test accuracy {text} % (floor {100 * record.task.floor.test:.2f} %)" + (
        f", {lost} seeds diverged" if lost else ""
    )
