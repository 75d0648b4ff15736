"""The command line. JAX is imported only by the commands that need it."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

import lra
from lra.commands import COMMANDS, GROUPS
from lra.commands.command import EXIT_CODES, Parser, add_common
from lra.errors import UsageError, UserError, printable, unknown
from lra.interrupt import STOPPED, heard_at_once


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UsageError: a command or an option does not exist or is incomplete; the message names the nearest.
    """
    parsers = make_parsers()
    refuse_unknown_names(words, parsers)
    options, rest = parsers[""].parse_known_args(words)
    if options.command is None and not rest:
        parsers[""].print_help()
        raise SystemExit(2)
    if rest:
        known = parsers[name_of(options)]._option_string_actions
        raise unknown("option" if rest[0].startswith("-") else "argument", rest[0], known)
    return options


def make_parsers() -> dict[str, Parser]:
    """The parsers by name: `lra` itself under the empty name, each group, and each command."""
    parser = Parser(prog="lra", description=lra.__doc__, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"lra {lra.__version__}")
    parsers = {"": parser}
    below = {"": parser.add_subparsers(dest="command", metavar="COMMAND")}
    for command in COMMANDS.values():
        group, _, word = command.name.rpartition(" ")
        if group not in below:
            parsers[group] = below[""].add_parser(group, help=GROUPS[group], description=GROUPS[group])
            below[group] = parsers[group].add_subparsers(dest="action", metavar="ACTION")
        made = below[group].add_parser(
            word,
            help=command.summary,
            description=command.summary,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # an example is a line
            allow_abbrev=False,
        )
        for add_arguments in (add_common, *command.add_arguments):
            add_arguments(made)
        parsers[command.name] = made
    return parsers


def refuse_unknown_names(words: Sequence[str], parsers: dict[str, Parser]) -> None:
    """Raises UsageError if the command or the action does not exist, or if a group has no action."""
    first, second = [*words, "", ""][:2]
    commands = [name for name in parsers if name and " " not in name]
    if words and not first.startswith("-") and first not in commands:
        raise unknown("command", first, commands)
    if first in GROUPS:
        actions = [name.removeprefix(f"{first} ") for name in parsers if name.startswith(f"{first} ")]
        if len(words) < 2:
            raise UsageError(f"lra {first} does nothing by itself; say lra {first} {' or '.join(actions)}")
        if not second.startswith("-") and second not in actions:
            raise unknown(f"action of lra {first}", second, actions)


def name_of(options: argparse.Namespace) -> str:
    """The name of the parser that was called: a command, a group, or empty for `lra` itself."""
    return " ".join(filter(None, (options.command, getattr(options, "action", None))))


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    words = sys.argv[1:] if words is None else words
    print_what_can_be()
    debug = "--debug" in words
    try:
        options = parse(words)
        with heard_at_once(stopping):
            return int(COMMANDS[name_of(options)].run(options))
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
        return STOPPED
    except BrokenPipeError:  # `lra tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        reason = printable(f"{type(error).__name__}: {error}".splitlines()[0])
        if isinstance(error, ValueError) and "jax" not in sys.modules:  # it was raised while JAX was imported
            print(f"lra: JAX refuses its settings ({error}); unset that variable", file=sys.stderr)
            return 1
        # the machine, not the code, refuses a folder or a disk
        blame = "the machine refused that" if isinstance(error, OSError) else "that is a defect"
        print(f"lra: {reason}; {blame}, --debug shows where", file=sys.stderr)
        return 1


def stopping() -> None:
    """Answers Ctrl-C, which a computation of JAX hears only when it ends."""
    print("lra: stopping; Ctrl-C again ends at once", file=sys.stderr)


def print_what_can_be() -> None:
    """Makes standard output show a question mark for a character that it does not have, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
