"""The registry of commands, and the arguments that several commands share.

Modules of commands must not import JAX at their top, since `lra --help` imports all of them.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lra.errors import UsageError
from lra.interrupt import STOPPED
from lra.storage import path_of


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


EXIT_CODES = f"Exit codes: 0 done, 1 the work failed, 2 the call was wrong, {STOPPED} stopped by Ctrl-C or SIGTERM."
Arguments = Callable[[Parser], None]  # adds arguments to the parser of a command
Run = Callable[[argparse.Namespace], int]  # does what the options say and returns the exit code


@dataclass(frozen=True)
class Command:
    """A command of `lra`. A name of two words is an action of a group.

    Attributes:
      examples: calls that work as they stand, without `lra NAME`.
    """

    name: str
    summary: str
    add_arguments: tuple[Arguments, ...]
    run: Run
    examples: tuple[str, ...]

    @property
    def epilog(self) -> str:
        """The end of the help."""
        calls = [f"  lra {self.name} {words}".rstrip() for words in self.examples]
        return "\n".join(["examples:", *calls, "", EXIT_CODES])


REGISTERED: list[Command] = []


def command(name: str, summary: str, *add_arguments: Arguments, examples: tuple[str, ...]) -> Callable[[Run], Run]:
    """Registers a function as a command. The help lists the arguments in the order of `add_arguments`."""

    def register(run: Run) -> Run:
        REGISTERED.append(Command(name, summary, add_arguments, run, examples))
        return run

    return register


def add_common(parser: Parser) -> None:
    """Adds the arguments that every command takes."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, for a script")


def add_results(parser: Parser) -> None:
    parser.add_argument(
        "--results",
        type=path_of,
        default=Path("lra-results"),
        metavar="DIR",
        help="the folder of records, checkpoints and tables, also s3://... or gs://... (default: %(default)s)",
    )


def add_bindings(parser: Parser) -> None:
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="BINDING",
        help="set a parameter, e.g. 'train.steps = 500'; repeatable",
    )


def add_imports(parser: Parser) -> None:
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        dest="imports",
        help="load a Python file that registers variants or tasks; repeatable",
    )


def add_workers(parser: Parser, remark: str = "") -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help=f"the number of processes (default: %(default)s){remark}",
    )
