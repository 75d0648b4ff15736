"""Commands on single records: to hand one in, to compare two, to make one again."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra.commands.command import Parser, add_results, command
from lra.commands.leaderboard import shipped
from lra.commands.output import print_json, print_table
from lra.errors import UsageError, UserError, printable

if TYPE_CHECKING:
    from lra.comparison import Comparison
    from lra.leaderboard.board import Row
    from lra.leaderboard.record import Record
    from lra.leaderboard.statistics import Interval
    from lra.submission import Verdict


def add_submission(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's name, the first letters of one, or the path of a record")
    parser.add_argument(
        "--to", type=Path, default=Path(), metavar="DIR", help="the folder to write to (default: this one)"
    )


@command(
    "leaderboard submit",
    "Write a run's record, checked, to a file that can be handed in.",
    add_results,
    add_submission,
)
def leaderboard_submit(options: Namespace) -> int:
    """Writes a record that may enter to a file of its own."""
    from lra.leaderboard import store
    from lra.leaderboard.record import write
    from lra.submission import verdicts

    (verdict,) = verdicts([store.locate(options.run, [options.results])], shipped())
    if verdict.reasons or verdict.record is None:
        raise UserError(f"{verdict.file} may not enter: {'; '.join(verdict.reasons)}")
    path = write(verdict.record, options.to)
    if options.json:
        return print_json({"file": str(path.resolve()), "notes": verdict.notes})
    for note in verdict.notes:
        print(f"note: {note}")
    print(f"written to {path}: the whole run, with its predictions; nothing else has to go with it")
    print("to hand it in, add it to leaderboard/results in a pull request; there it is checked again by")
    print(f"\n    lra leaderboard validate {path}")
    return 0


def add_files(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the path of a record")


@command(
    "leaderboard validate",
    "Say whether records may enter, and why not; exit code 1 if one may not.",
    add_files,
)
def leaderboard_validate(options: Namespace) -> int:
    """Says of each file whether it may enter; exit code 1 if one may not."""
    from lra.submission import verdicts

    found = verdicts(options.files, shipped())
    print_json([as_json(verdict) for verdict in found]) if options.json else print_verdicts(found)
    refused = [str(verdict.file) for verdict in found if verdict.reasons]
    if refused:
        raise UserError(f"{len(refused)} of {len(found)} may not enter: {', '.join(refused)}")
    return 0


def as_json(verdict: "Verdict") -> dict:
    return {
        "file": str(verdict.file),
        "run": verdict.record["run"] if verdict.record else None,
        "enters": not verdict.reasons,
        "reasons": verdict.reasons,
        "notes": verdict.notes,
    }


def print_verdicts(found: "list[Verdict]") -> None:
    for verdict in found:
        print(f"{verdict.file}: {'may not enter' if verdict.reasons else 'may enter'}")
        for reason in verdict.reasons:
            print(f"  {printable(reason)}")
        for note in verdict.notes:
            print(f"  note: {note}")


def add_sides(parser: Parser) -> None:
    parser.add_argument(
        "a", metavar="A", help="a run's name, the first letters of one, the path of a record, or a folder of records"
    )
    parser.add_argument("b", metavar="B", help="the same; of two folders, the variants that both have are compared")


@command(
    "compare",
    "Say whether B is better than A; exit code 0 if it is not worse, 1 if it is, 2 if nobody can say.",
    add_results,
    add_sides,
)
def compare(options: Namespace) -> int:
    """Compares two runs or two folders; exit code 1 if B is worse, 2 if they cannot be compared."""
    try:
        return compare_folders(options) if Path(options.a).is_dir() else compare_runs(options)
    except UserError as error:  # 1 says that B is worse
        raise UsageError(str(error)) from error


def compare_runs(options: Namespace) -> int:
    from lra import comparison
    from lra.leaderboard import store
    from lra.leaderboard.record import read

    folders = [options.results, shipped()]
    a, b = (comparison.row([read(store.locate(name, folders))]) for name in (options.a, options.b))
    found = comparison.compare(a, b)
    said = comparison.sentence(found)
    if options.json:
        print_json(comparison_json(found) | {"sentence": said})
        return int(found.worse)
    names = ("", "variant", "run", "accuracy %", "95 % interval", "seeds", "parameters", "steps/s", "MB")
    rows = [
        [side, one.label, one.records[0]["run"], *interval(one.interval), str(len(one.accuracy)), f"{one.parameters:,}",
         shown(one.steps_per_second, ".4g"), shown(one.memory and one.memory / 1e6, ",.1f")]
        for side, one in (("A", a), ("B", b))
    ]  # fmt: skip
    seeds = found.seeds.split()[0] if found.test == "paired" else ""
    change = f"{b.parameters - a.parameters:+,}"
    rows.append(["B - A", "", "", *interval(found.difference, "+"), seeds, change, *ratios(found)])
    print_table(names, rows, numbers=True)
    if a.hardware != b.hardware:
        print(printable(f"steps/s and MB are of different machines: {a.hardware} and {b.hardware}"))
    print(said)
    return int(found.worse)


def compare_folders(options: Namespace) -> int:
    from lra import comparison
    from lra.leaderboard import store

    if not Path(options.b).is_dir():
        raise UsageError(f"{options.a} is a folder and {options.b} is none; compare two runs or two folders")
    (of_a, bad_a), (of_b, bad_b) = (store.load([Path(name)]) for name in (options.a, options.b))
    if bad := [*bad_a, *bad_b]:
        raise UsageError(bad[0] + (f"; and {len(bad) - 1} more" if bad[1:] else ""))
    found = comparison.pairs(of_a, of_b)
    if not found:
        raise UsageError(f"{options.a} and {options.b} have records of no task, protocol and variant in common")
    said = comparison.summary(found)
    worse = any(one.worse for one in found.values())
    if options.json:
        pairs = [comparison_json(one) | {"sentence": comparison.sentence(one)} for one in found.values()]
        print_json({"pairs": pairs, "sentence": said, "worse": worse})
        return int(worse)
    names = ("task", "protocol", "variant", "A %", "B %", "B - A", "95 % interval", "p", "seeds", "parameters",
             "steps/s", "MB")  # fmt: skip
    rows = [
        [*key, interval(one.a.interval)[0], interval(one.b.interval)[0], *interval(one.difference, "+"),
         shown(one.p, ".2g"), one.seeds, f"{one.b.parameters - one.a.parameters:+,}", *ratios(one)]
        for key, one in found.items()
    ]  # fmt: skip
    print_table(names, rows, numbers=True)
    print(said)
    return int(worse)


def interval(found: "Interval | None", sign: str = "") -> tuple[str, str]:
    """A mean and its limits, in per cent."""
    if found is None:
        return "-", "-"
    limits = "-" if found.low is None or found.high is None else f"{100 * found.low:.2f} to {100 * found.high:.2f}"
    return f"{100 * found.mean:{sign}.2f}", limits


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def ratios(found: "Comparison") -> tuple[str, str]:
    """Speed and memory of B as multiples of A's."""
    speeds, memories = ((one(found.a), one(found.b)) for one in (lambda r: r.steps_per_second, lambda r: r.memory))
    speed, memory = (f"x{b / a:.2f}" if a and b else "-" for a, b in (speeds, memories))
    return speed, memory


def comparison_json(found: "Comparison") -> dict[str, Any]:
    def side(one: "Row") -> dict[str, Any]:
        accuracy = {str(seed): share for seed, share in one.accuracy.items()}
        return {
            "variant": one.label, "runs": [record["run"] for record in one.records], "accuracy": accuracy,
            "interval": one.interval and one.interval._asdict(), "diverged": one.diverged,
            "parameters": one.parameters, "steps_per_second": one.steps_per_second, "memory_bytes": one.memory,
            "hardware": one.hardware,
        }  # fmt: skip

    record = found.a.records[0]
    return {
        "task": record["task"]["name"],
        "protocol": record["protocol"]["name"],
        "a": side(found.a),
        "b": side(found.b),
        "difference": found.difference and found.difference._asdict(),
        "p": found.p,
        "test": found.test,
        "worse": found.worse,
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
    add_reproduction,
)
def reproduce(options: Namespace) -> int:
    """Makes a run again from its record; exit code 1 if it does not come to the same."""
    from lra.interrupt import interruptible
    from lra.leaderboard import store
    from lra.leaderboard.record import file_name, read
    from lra.progress import Display
    from lra.reproduction import run_again, verdict

    path = store.locate(options.record, [options.results, shipped()])
    record = read(path)
    folder = options.to or options.results / "reproduced" / record["run"]
    if store.folder_of(folder).resolve() == path.resolve().parent:
        raise UsageError(f"--to {folder} is where the record is; name another folder, so that it is not replaced")
    with Display() as display, interruptible() as stop:
        again = run_again(record, folder, options.trust, display, stop)
    found = verdict(record, again)
    path = store.folder_of(folder) / file_name(again)
    if options.json:
        print_json({"run": record["run"], "again": str(path), "outcome": found.outcome, "reasons": found.reasons})
        return int(not found.same)
    for reason in found.reasons:
        print(printable(reason))
    if found.reasons:
        print(f"then: {printable(made_with(record))}")
        print(f"now:  {printable(made_with(again))}")
    print(f"{record['run']} comes to {SAID[found.outcome]} ({path})")
    return int(not found.same)


SAID = {
    "to the bit": "the same to the bit: predictions, losses, parameters",
    "within noise": "the same within noise",
    "not": "something else",
}


def made_with(record: "Record") -> str:
    """The machine and the versions that may be why the last bits of a run differ."""
    found = record["measured"]
    hardware = found["hardware"].get("device") or found["hardware"].get("cpu")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    return f"{hardware}; {versions}"
