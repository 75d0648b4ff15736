"""The command `lra runs`, which lists the runs of a results folder."""

import dataclasses
import shlex
from argparse import Namespace

from lra.commands.command import Parser, add_results, command
from lra.commands.output import print_json, print_table, warn
from lra.errors import UsageError

LONGEST = 80  # characters of a status; an error may be longer


def add_put_away(parser: Parser) -> None:
    parser.add_argument(
        "--put-away",
        metavar="RUN",
        help="move the record of this run to put-away in --results, so that no table and no list has it",
    )


@command(
    "runs",
    "List the runs of a results folder, those that run or were stopped too, or put one away.",
    add_results,
    add_put_away,
    examples=("", "--put-away 0704d0", "--json --results lra-results"),
)
def runs(options: Namespace) -> int:
    from lra.leaderboard.store import shortened
    from lra.runs import runs_in

    if options.put_away is not None:
        return put_away(options)
    listed, left_out = runs_in(options.results)
    if options.json:
        print_json([dataclasses.asdict(run) | {"record": run.record and str(run.record)} for run in listed])
    elif listed:
        rows = [
            [run.run, run.task or "?", ", ".join([run.protocol or "?", *shortened(run.changes)]),
             (run.variant or "?") + (f" ({', '.join(run.options)})" if run.options else ""),
             "?" if run.seeds is None else ",".join(map(str, run.seeds)), run.status[:LONGEST],
             "-" if run.accuracy is None else f"{100 * run.accuracy:.2f}", run.date[:16].replace("T", " ") or "?",
             str(run.record.relative_to(options.results)) if run.record else "-"]
            for run in listed
        ]  # fmt: skip
        print_table(
            ("run", "task", "protocol", "variant", "seeds", "status", "accuracy %", "date, UTC", "record"), rows
        )
        print(f"records are in {options.results}; compare, submit and reproduce take the first letters of a run's name")
    else:
        print(f"{options.results} has no runs; 'lra run' makes them")
    for line in left_out:
        warn(line)
    return 0


def put_away(options: Namespace) -> int:
    """Moves the record of a run out of the tables."""
    from lra.leaderboard import store
    from lra.storage import is_remote

    there = store.records_folder(options.results)
    path = store.locate(options.put_away, [options.results])
    if path.resolve().parent != there.resolve():
        raise UsageError(f"{path} is not in {there}; name a run that 'lra runs' lists, or its --results")
    moved = store.put_away(path, options.results)
    if options.json:
        return print_json({"record": str(path), "moved_to": str(moved)})
    if is_remote(moved):
        print(f"put away as {moved}")
    else:
        print(f"put away; this brings it back:\n\n    {shlex.join(['mv', str(moved), str(path)])}")
    return 0
