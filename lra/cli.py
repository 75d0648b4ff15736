"""The command line. Nothing heavy is imported before a command needs it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import lra
from lra.errors import UsageError, UserError, unknown

GROUPS = {
    "ci": "A gate for a repository that changes a variant: compares with a baseline.",
    "leaderboard": "Tables and pages from records, and records for others' tables.",
}
EPILOG = "Exit codes: 0 done, 1 the work failed, 2 the call was wrong."


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UsageError: a command or an option does not exist (names the nearest) or is incomplete.
    """
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--json", action="store_true", help="print JSON on standard output, for a script")
    results = Parser(add_help=False)
    results.add_argument(
        "--results", type=Path, default=Path("lra-results"), metavar="DIR", help="default: %(default)s"
    )
    bindings = Parser(add_help=False)
    bindings.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="BINDING",
        help="a parameter, e.g. 'train.steps = 500'; repeatable",
    )
    imports = Parser(add_help=False)
    imports.add_argument(
        "--import", action="append", default=[], metavar="FILE", type=Path, dest="imports",
        help="a Python file that registers variants; repeatable",
    )  # fmt: skip

    parser = Parser(prog="lra", description=lra.__doc__, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"lra {lra.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    groups: dict[str, argparse._SubParsersAction] = {}

    def command(name: str, summary: str, *parents: Parser) -> Parser:
        """A command, or with a name of two words an action of one."""
        first, _, action = name.partition(" ")
        if action and first not in groups:
            groups[first] = commands.add_parser(first, help=GROUPS[first], description=GROUPS[first]).add_subparsers(
                dest="action", metavar="ACTION", parser_class=Parser
            )
        return (groups[first] if action else commands).add_parser(
            action or first,
            help=summary,
            description=summary,
            epilog=EPILOG,
            parents=[common, *parents],
            allow_abbrev=False,
        )

    command("tasks", "List the tasks, and what of them is prepared.")
    command("variants", "List the attention variants, with their parameters and what their checks found.", imports)

    check = command("check", "Check that variants are what they say; exit code 1 if one is not.", bindings, imports)
    check.add_argument("variants", nargs="+", metavar="NAME", help="or 'all'")
    check.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes (default: %(default)s)",
    )

    new = command("new", "Write a file with an attention variant to begin with.")
    new.add_argument("name", metavar="NAME")

    prepare = command("prepare", "Write a task's examples to disk, once, for training.", bindings)
    prepare.add_argument("task", metavar="TASK")
    prepare.add_argument(
        "--from",
        dest="read_from",
        type=Path,
        metavar="PATH",
        help="the publisher's files: a folder, or their archive as downloaded (default: generate, or ask TFDS)",
    )
    prepare.add_argument("--protocol", metavar="NAME", help="the sizes of this protocol (default: the task's own)")
    prepare.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes (default: %(default)s); the examples do not depend on it",
    )
    prepare.add_argument("--force", action="store_true", help="replace what is prepared")

    show = command("show", "Print examples of a prepared task as a person reads them.", bindings)
    show.add_argument("task", metavar="TASK")
    show.add_argument("--protocol", metavar="NAME", help="as it was prepared (default: the task's own parameters)")
    show.add_argument(
        "--split", default="train", metavar="NAME", help="train, validation or test (default: %(default)s)"
    )
    show.add_argument(
        "--first", type=int, default=0, metavar="N", help="position of the first one (default: %(default)s)"
    )
    show.add_argument("--count", type=int, metavar="N", help="how many (default: 3, on a contact sheet 40)")
    show.add_argument("--png", type=Path, metavar="FILE", help="draw images on a contact sheet, with their labels")

    export = command("export", "Write Pathfinder's images as LRA does: a folder of PNGs, for other programs.", bindings)
    export.add_argument("task", metavar="TASK")
    export.add_argument("folder", type=Path, metavar="DIR")
    export.add_argument("--protocol", metavar="NAME", help="the sizes of this protocol (default: the task's own)")
    export.add_argument("--count", type=int, metavar="N", help="the first so many images (default: all)")
    export.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="processes")

    run = command("run", "Train and score variants, and write their records.", results, bindings, imports)
    run.add_argument("--task", required=True, metavar="NAME")
    run.add_argument("--variant", required=True, metavar="NAME[,NAME...]", help="or 'all'")
    run.add_argument("--protocol", required=True, metavar="NAME")
    run.add_argument("--seeds", default="0", metavar="N[,N...]", help="trained together (default: %(default)s)")
    run.add_argument("--again", action="store_true", help="run even if there is a record, and replace it")
    run.add_argument("--checkpoint-every", type=float, default=30.0, metavar="SECONDS", help="default: %(default)s")

    bench = command(
        "bench", "Time kernels, or the training steps of variants, on the device at hand.", results, bindings, imports
    )
    bench.add_argument("what", metavar="WHAT", help="kernels or variants")
    bench.add_argument("--variant", default="all", metavar="NAME[,NAME...]", help="of variants (default: %(default)s)")
    bench.add_argument(
        "--lengths", metavar="N[,N...]", help="default: LRA's, 1024,2048,3072,4096; of kernels up to 65536"
    )
    bench.add_argument("--minutes", type=float, metavar="N", help="begin nothing new after so many (default: no limit)")
    bench.add_argument("--again", action="store_true", help="forget what was measured before")

    build = command("leaderboard build", "Make all tables and the site from records.", results)
    build.add_argument(
        "folders", nargs="*", type=Path, metavar="DIR", help="with records (default: --results and the project's own)"
    )
    build.add_argument("--out", type=Path, metavar="DIR", help="where to (default: leaderboard in --results)")
    build.add_argument("--reference", default="transformer", metavar="ROW", help="compared with (default: %(default)s)")
    build.add_argument("--check", action="store_true", help="write nothing, and fail if a file is not what would be")

    submit = command("leaderboard submit", "Write a run's record, checked, to a file that can be handed in.", results)
    submit.add_argument("run", metavar="RUN", help="its name, how that begins, or a record's file")
    submit.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")

    validate = command(
        "leaderboard validate", "Say whether records may enter, and why not; exit code 1 if one may not."
    )
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")

    compared = command(
        "compare", "Say whether B is better than A; exit code 0 if it is not worse, 1 if it is, 2 if nobody can say.",
        results,
    )  # fmt: skip
    compared.add_argument("a", metavar="A", help="a run, a record's file, or a folder of records")
    compared.add_argument("b", metavar="B", help="the same, with which A is compared where both have a variant")

    reproduce = command(
        "reproduce", "Make a run again from its record; exit code 1 if it does not come to the same within noise.",
        results,
    )  # fmt: skip
    reproduce.add_argument("record", metavar="RECORD", help="a run, or a record's file")
    reproduce.add_argument("--to", type=Path, metavar="DIR", help="where to (default: reproduced/RUN in --results)")
    reproduce.add_argument("--trust", action="store_true", help="execute the source of a variant from outside")

    gate = Parser(add_help=False)
    gate.add_argument("variants", nargs="*", metavar="NAME", help="default: those of the baseline")
    gate.add_argument("--file", type=Path, default=Path("lra-ci.json"), metavar="FILE", help="default: %(default)s")
    gate.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes for all but time (default: %(default)s)",
    )
    command("ci baseline", "Measure variants and write a baseline, a file to commit.", bindings, imports, gate)
    gated = command("ci run", "Measure again; exit code 1 if anything got worse.", bindings, imports, gate)
    gated.add_argument("--junit", type=Path, metavar="FILE", help="write the result as JUnit's XML")
    gated.add_argument("--markdown", type=Path, metavar="FILE", help="write the result as Markdown")

    if words and not words[0].startswith("-") and words[0] not in commands.choices:
        raise unknown("command", words[0], commands.choices)
    if words and words[0] in groups:
        actions = groups[words[0]].choices
        if len(words) < 2:
            raise UsageError(f"lra {words[0]} does nothing by itself; say lra {words[0]} {' or '.join(actions)}")
        if not words[1].startswith("-") and words[1] not in actions:
            raise unknown(f"action of lra {words[0]}", words[1], actions)
    options, rest = parser.parse_known_args(words)
    if options.command is None and not rest:
        parser.print_help()
        raise SystemExit(2)
    if rest:
        known = commands.choices[options.command] if options.command else parser
        if options.command in groups:
            known = groups[options.command].choices[options.action]
        raise unknown("option" if rest[0].startswith("-") else "argument", rest[0], known._option_string_actions)
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    words = sys.argv[1:] if words is None else words
    debug = "--debug" in words
    try:
        options = parse(words)
        import lra.commands

        name = "_".join(filter(None, (options.command, getattr(options, "action", None))))
        return int(getattr(lra.commands, name)(options))
    except UserError as error:
        if debug:
            raise
        print(f"lra: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if debug:
            raise
        print(
            "lra: interrupted; the same command goes on or starts over, nothing is half-written",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # `lra tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"lra: {reason}; that is a defect, --debug shows where", file=sys.stderr)
        return 1
