"""Errors for users: one line without a traceback."""

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """The text with control characters, line breaks and direction marks replaced by spaces."""
    return "".join(char if char.isprintable() else " " for char in text)


class UserError(Exception):
    """The work could not be done. The message names the cause and the way out. The exit code is 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        # a message may quote a file name that contains line breaks or control characters
        super().__init__(printable(" ".join(message.splitlines())))


class UsageError(UserError):
    """The call was wrong. The exit code is 2."""

    exit_code = 2


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist. It offers the nearest known name, or else lists all.

    >>> print(unknown("variant", "locall", ["local", "luna"]))
    no variant is called 'locall'; did you mean 'local'?
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"no {what} is called '{name}'; {hint}")
