"""The commands on single records: `submit`, `enter`, `validate`, `compare`, `reproduce`."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.commands.command import Parser, add_bindings, add_imports, add_results, command
from lra.commands.leaderboard import shipped
from lra.commands.output import print_json, print_table
from lra.errors import UsageError, UserError, printable

if TYPE_CHECKING:
    from lra.comparison import Comparison
    from lra.leaderboard.record import Record
    from lra.leaderboard.row import Row
    from lra.leaderboard.statistics import Interval
    from lra.submission import Review


def add_submission(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's name, the first letters of one, or the path of a record")
    parser.add_argument(
        "--to", type=Path, default=Path(), metavar="DIR", help="the folder to write to (default: the current one)"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="execute the source of a variant from outside to check it, if 'lra check' has not checked it",
    )


@command(
    "leaderboard submit",
    "Write a run's record, checked, to a file that can be handed in, with the checks of its variant.",
    add_results,
    add_submission,
    examples=("0704d0", "0704d0 --to leaderboard/results"),
)
def leaderboard_submit(options: Namespace) -> int:
    """Checks a record and writes it to a new file, with what the checks say of a variant from outside."""
    from msgspec.structs import replace

    from lra.checks import CHECKS
    from lra.checks.recorded import checks_of
    from lra.leaderboard import store
    from lra.leaderboard.record import write
    from lra.progress import Display
    from lra.submission import notes_on, reviews

    (review,) = reviews([store.locate(options.run, [options.results])], shipped())
    if review.reasons or review.record is None:
        raise UserError(f"{review.file} may not enter: {'; '.join(review.reasons)}")
    with Display() as display, display.bar("checks", len(CHECKS)) as bar:
        checks = checks_of(review.record, options.trust, bar.advance)
    record = replace(review.record, variant=replace(review.record.variant, checks=checks))
    path, notes = write(record, options.to), [*notes_on(record)]
    if options.json:
        return print_json({"file": str(path.resolve()), "notes": notes})
    for note in notes:
        print(f"note: {printable(note)}")
    print(f"written to {path}: the whole run, with its predictions; nothing else has to go with it")
    print("to hand it in, add it to leaderboard/results in a pull request; there it is checked again by")
    print(f"\n    lra leaderboard validate {path}")
    return 0


def add_entry(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="NAME", help="the task whose test split was answered")
    parser.add_argument(
        "--protocol", metavar="NAME", help="the protocol whose data it is (default: the task's own sizes)"
    )
    parser.add_argument(
        "--predictions", required=True, type=Path, metavar="FILE.npz",
        help="arrays seeds [seeds], predictions [seeds, examples], labels [examples], and index [examples] if the rows "
        "have another order than the split",
    )  # fmt: skip
    parser.add_argument(
        "--about", required=True, type=Path, metavar="FILE.toml",
        help="name, parameters, paper, source, selection, framework and perhaps note, as declared",
    )  # fmt: skip


@command(
    "leaderboard enter",
    "Make a result from the answers of a model that another program trained; it has a table of its own.",
    add_results,
    add_bindings,
    add_entry,
    examples=("--task listops --protocol paper --predictions answers.npz --about my_mixer.toml",),
)
def leaderboard_enter(options: Namespace) -> int:
    """Scores predictions of a whole test split, and writes them with what their authors declare."""
    import msgspec

    from lra.entering import enter
    from lra.files import create
    from lra.leaderboard.external import file_name, mean
    from lra.leaderboard.store import folder_of
    from lra.plan import prepare_command
    from lra.recipe import task_and_source
    from lra.tasks import prepared

    task, source = task_and_source(options.task, options.protocol, options.gin)
    data = prepared.load(task, source, prepare_command(task, options.protocol, options.gin))
    result = enter(task, source, options.protocol, data, options.predictions, options.about)
    path = folder_of(options.results) / file_name(result)
    new = create(path, msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    if options.json:
        return print_json({"file": str(path.resolve()), "result": result.result, "accuracy": mean(result)})
    print(f"{result.about.name} on {task.name}: {100 * mean(result):.2f} %, mean of {len(result.seeds)} seeds")
    print(f"{'written to' if new else 'there already:'} {path}; 'lra leaderboard build' shows it in a table of its own")
    return 0


def add_files(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the path of a record")


@command(
    "leaderboard validate",
    "Say whether records may enter, and why not; exit code 1 if one may not.",
    add_files,
    examples=("listops.demo.my_attention.0704d0a1b2c3.json",),
)
def leaderboard_validate(options: Namespace) -> int:
    """Prints for each file whether it may enter. Raises UserError if one may not."""
    from lra.submission import reviews

    made = reviews(options.files, shipped())
    print_json([as_json(review) for review in made]) if options.json else print_reviews(made)
    refused = [str(review.file) for review in made if review.reasons]
    if refused:
        raise UserError(f"{len(refused)} of {len(made)} may not enter: {', '.join(refused)}")
    return 0


def as_json(review: "Review") -> dict:
    return {
        "file": str(review.file),
        "run": review.record.run if review.record else None,
        "enters": not review.reasons,
        "reasons": review.reasons,
        "notes": review.notes,
    }


def print_reviews(reviews: "list[Review]") -> None:
    for review in reviews:
        print(f"{review.file}: {'may not enter' if review.reasons else 'may enter'}")
        for reason in review.reasons:
            print(f"  {printable(reason)}")
        for note in review.notes:
            print(f"  note: {printable(note)}")


def add_sides(parser: Parser) -> None:
    parser.add_argument(
        "a", metavar="A", help="a run's name, the first letters of one, the path of a record, or a folder of records"
    )
    parser.add_argument("b", metavar="B", help="the same; of two folders, the variants that both have are compared")


@command(
    "compare",
    "Say whether B is better than A; exit code 1 if B is worse, 2 if they cannot be compared.",
    add_results,
    add_sides,
    examples=("0704d0 c89d2f", "results-of-a results-of-b"),
)
def compare(options: Namespace) -> int:
    """Compares two runs or two folders. The exit code is 1 if B is worse, 2 if they cannot be compared."""
    try:
        return compare_folders(options) if Path(options.a).is_dir() else compare_runs(options)
    except UserError as error:  # exit code 1 means that B is worse
        raise UsageError(str(error)) from error


def compare_runs(options: Namespace) -> int:
    from lra import comparison
    from lra.leaderboard import store
    from lra.leaderboard.reading import read

    folders = [options.results, shipped()]
    a, b = (comparison.row([read(store.locate(name, folders))]) for name in (options.a, options.b))
    compared = comparison.compare(a, b)
    sentence = comparison.sentence(compared)
    if options.json:
        apart = comparison.settings_apart(a, b)
        print_json(comparison_json(compared) | {"settings_apart": apart, "sentence": sentence})
        return int(compared.worse)
    names = ("", "variant", "run", "accuracy %", "95 % interval", "seeds", "parameters", "steps/s", "MB")
    rows = [
        [side, one.label, one.records[0].run, *interval(one.interval), str(len(one.accuracy)), f"{one.parameters:,}",
         *costs(one)]
        for side, one in (("A", a), ("B", b))
    ]  # fmt: skip
    seeds = compared.seeds.split()[0] if compared.test == "paired" else ""
    change = f"{b.parameters - a.parameters:+,}"
    rows.append(["B - A", "", "", *interval(compared.difference, "+"), seeds, change, *ratios(compared)])
    print_table(names, rows, numbers=True)
    if compared.same_hardware and not compared.same_sweep:
        print("steps/s are not compared: the runs lie more than an hour apart, and the machine may have had other work")
    if not compared.same_hardware:
        print(
            printable(f"steps/s and MB are of different hardware: {'; '.join(a.hardware)} and {'; '.join(b.hardware)}")
        )
    if caution := comparison.caution(a, b):
        print(printable(caution))
    print(sentence)
    return int(compared.worse)


def compare_folders(options: Namespace) -> int:
    from lra import comparison
    from lra.leaderboard import store

    if not Path(options.b).is_dir():
        raise UsageError(f"{options.a} is a folder and {options.b} is none; compare two runs or two folders")
    (of_a, bad_a), (of_b, bad_b) = (store.load([Path(name)]) for name in (options.a, options.b))
    if bad := [*bad_a, *bad_b]:
        raise UsageError(bad[0] + (f"; and {len(bad) - 1} more" if bad[1:] else ""))
    compared = comparison.pairs(of_a, of_b)
    if not compared:
        raise UsageError(f"{options.a} and {options.b} have records of no task, protocol and variant in common")
    sentence = comparison.summary(compared)
    worse = any(one.worse for one in compared.values())
    if options.json:
        pairs = [comparison_json(one) | {"sentence": comparison.sentence(one)} for one in compared.values()]
        print_json({"pairs": pairs, "sentence": sentence, "worse": worse})
        return int(worse)
    names = ("task", "protocol", "variant", "A %", "B %", "B - A", "95 % interval", "p", "seeds", "parameters",
             "steps/s", "MB")  # fmt: skip
    rows = [
        [*key, interval(one.a.interval)[0], interval(one.b.interval)[0], *interval(one.difference, "+"),
         shown(one.p, ".2g"), one.seeds, f"{one.b.parameters - one.a.parameters:+,}", *ratios(one)]
        for key, one in compared.items()
    ]  # fmt: skip
    print_table(names, rows, numbers=True)
    if any(one.same_hardware and not one.same_sweep for one in compared.values()):
        print("steps/s are not compared where A and B lie more than an hour apart")
    if not all(one.same_hardware for one in compared.values()):
        print("steps/s and MB are not compared where A and B ran on different hardware")
    print(sentence)
    return int(worse)


def interval(of: "Interval | None", sign: str = "") -> tuple[str, str]:
    """The mean and the limits of an interval, in per cent."""
    if of is None:
        return "-", "-"
    limits = "-" if of.low is None or of.high is None else f"{100 * of.low:.2f} to {100 * of.high:.2f}"
    return f"{100 * of.mean:{sign}.2f}", limits


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def costs(of: "Row") -> tuple[str, str]:
    """The speed and the memory of a row on each hardware."""
    speeds = [shown(cost.steps_per_second, ".4g") for cost in of.costs]
    return "; ".join(speeds), "; ".join(shown(cost.memory and cost.memory / 1e6, ",.1f") for cost in of.costs)


def ratios(of: "Comparison") -> tuple[str, str]:
    """Speed and memory of B as multiples of A's on each hardware.

    "-" if the hardware differs; of speed also if it was not measured in the same sweep.
    """
    if not of.same_hardware:
        return "-", "-"
    ratio = lambda a, b: f"x{b / a:.2f}" if a and b else "-"
    both = list(zip(of.a.costs, of.b.costs))
    speeds = "; ".join(ratio(a.steps_per_second, b.steps_per_second) for a, b in both if of.same_sweep) or "-"
    return speeds, "; ".join(ratio(a.memory, b.memory) for a, b in both)


def comparison_json(of: "Comparison") -> dict[str, Any]:
    def side(one: "Row") -> dict[str, Any]:
        accuracy = {str(seed): share for seed, share in one.accuracy.items()}
        names = ("hardware", "steps_per_second", "memory")
        costs = [{name: getattr(cost, name) for name in names} for cost in one.costs]
        return {
            "variant": one.label, "runs": [record.run for record in one.records], "accuracy": accuracy,
            "interval": one.interval and one.interval._asdict(), "diverged": one.diverged,
            "parameters": one.parameters, "costs": costs,
        }  # fmt: skip

    record = of.a.records[0]
    return {
        "task": record.task.name,
        "protocol": record.protocol.name,
        "a": side(of.a),
        "b": side(of.b),
        "difference": of.difference and of.difference._asdict(),
        "p": of.p,
        "test": of.test,
        "worse": of.worse,
    }


def add_reproduction(parser: Parser) -> None:
    parser.add_argument(
        "record", metavar="RECORD", help="a run's name, the first letters of one, or the path of a record"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="the folder to write to (default: reproduced/RUN in --results)"
    )
    parser.add_argument("--trust", action="store_true", help="execute the source of a variant from outside")


@command(
    "reproduce",
    "Make a run again from its record; exit code 1 if it does not come to the same within noise.",
    add_results,
    add_imports,
    add_reproduction,
    examples=("c89d2f", "listops.demo.my_attention.0704d0a1b2c3.json --trust"),
)
def reproduce(options: Namespace) -> int:
    """Repeats a run from its record. The exit code is 1 if the outcome is not the same within noise."""
    from lra import extension
    from lra.interrupt import interruptible
    from lra.leaderboard import store
    from lra.leaderboard.reading import read
    from lra.leaderboard.record import file_name
    from lra.progress import Display
    from lra.reproduction import compare_with, run_again

    extension.load_all(options.imports)  # one may have the record's task
    path = store.locate(options.record, [options.results, shipped()])
    record = read(path)
    folder = options.to or options.results / "reproduced" / record.run
    if store.folder_of(folder).resolve() == path.resolve().parent:
        raise UsageError(f"--to {folder} is where the record is; name another folder, so that it is not replaced")
    with Display() as display, interruptible(display.say) as stop:
        again = run_again(record, folder, options.trust, display, stop)
    outcome = compare_with(record, again)
    path = store.folder_of(folder) / file_name(again)
    if options.json:
        print_json({"run": record.run, "again": str(path), "outcome": outcome.outcome, "reasons": outcome.reasons})
        return int(not outcome.same)
    for reason in outcome.reasons:
        print(printable(reason))
    if outcome.reasons:
        print(f"then: {printable(made_with(record))}")
        print(f"now:  {printable(made_with(again))}")
    print(f"{record.run} comes to {OUTCOMES[outcome.outcome]} ({path})")
    return int(not outcome.same)


OUTCOMES = {
    "to the bit": "the same to the bit: predictions, losses, parameters",
    "within noise": "the same within noise",
    "not": "something else",
}


def made_with(record: "Record") -> str:
    """Hardware, versions and settings from outside, which may explain why the last bits of two runs differ."""
    from lra.leaderboard.config import environment_of

    measured = record.measured
    hardware = measured.hardware.get("device") or measured.hardware.get("cpu")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(measured.versions.items()))
    settings = "".join(f"; {setting}" for setting in environment_of(record))
    earlier = "; the first steps on another machine" if measured.hardware.get("earlier") else ""
    return f"{hardware}; {versions}{settings}{earlier}"
