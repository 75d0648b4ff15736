"""The command that trains."""

from argparse import Namespace

from lra.commands.data import announce
from lra.commands.output import print_json
from lra.errors import UsageError, UserError
from lra.leaderboard.record import Record, as_json
from lra.progress import Display


def run(options: Namespace) -> int:
    from lra import extension
    from lra.interrupt import Interrupted, interruptible
    from lra.leaderboard import store
    from lra.models.attention import VARIANTS
    from lra.plan import make_plan, task_of
    from lra.run import execute
    from lra.tasks.prepared import load

    extension.load_all(options.imports)
    announce(options, task_of(options.task, options.protocol))
    names = sorted(VARIANTS) if options.variant == "all" else options.variant.split(",")
    plans = [make_plan(options.task, name, options.protocol, seeds_of(options.seeds), options.gin) for name in names]
    data = load(plans[0].task, plans[0].source, plans[0].prepare_command)
    total = sum(plan.train.steps for plan in plans)
    records, failures = [], []
    with Display() as display, display.bar("all runs", total) as overall, interruptible() as stop:
        for plan in plans:
            if stop.is_set():
                raise Interrupted("stopped between two runs; the same command goes on with the next")
            recorded = None if options.again else store.find(options.results, plan.run_id(data.data_sha256))
            if recorded:
                display.say(f"{plan.variant.name}: {summary(recorded)} (recorded before; --again runs it again)")
                overall.skip(plan.train.steps)
                records.append(recorded)
                continue
            try:
                with display.bar(plan.variant.name, plan.train.steps, within=overall) as bar:
                    record = execute(
                        plan,
                        data,
                        options.results,
                        bar=bar,
                        stop=stop,
                        checkpoint_every=options.checkpoint_every,
                        anew=options.again,
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
            records.append(record)
    if options.json:
        print_json([as_json(record) for record in records])
    if failures:
        raise UserError(f"{len(failures)} of {len(plans)} runs failed: {', '.join(failures)}")
    return 0


def seeds_of(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text}: seeds are whole numbers with commas between them, e.g. 0,1,2") from None


def where(variant: str) -> str:
    from lra.models.attention import VARIANTS

    return VARIANTS[variant].where


def summary(record: Record) -> str:
    """One line on a record, for the log."""
    scores = [seed.test.accuracy for seed in record.seeds if seed.test]
    if not scores:
        steps = [seed.step for seed in record.seeds]
        if record.status != "diverged" or any(steps):
            return f"{record.status} at step {min(steps)}" if steps else record.status
        name = record.variant.name
        return f"diverged: the loss is NaN or infinite at the first step; 'lra check {name}' says more ({where(name)})"
    lost = len(record.seeds) - len(scores)
    text = ", ".join(f"{100 * score:.2f}" for score in scores)
    return f"test accuracy {text} % (floor {100 * record.task.floor.test:.2f} %)" + (
        f", {lost} seeds diverged" if lost else ""
    )
