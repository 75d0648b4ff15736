"""Errors that a person at the command line is meant to read: one line, no traceback."""

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """The text without what a terminal would take for a command, a line break or another direction."""
    return "".join(char if char.isprintable() else " " for char in text)


class UserError(Exception):
    """The work could not be done. The message names the thing and the way out; the exit code is 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        # what a message quotes, a file's name for example, may have lines of its own, or commands to the terminal
        super().__init__(printable(" ".join(message.splitlines())))


class UsageError(UserError):
    """The call itself was wrong. The exit code is 2."""

    exit_code = 2


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist; offers the nearest that does, or else lists them all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"no {what} is called '{name}'; {hint}")
