"""Errors for users: one line without a traceback."""

import difflib
import traceback
from collections.abc import Container, Iterable


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


def line_in(files: Container[str], error: BaseException) -> str | None:
    """The last line of some files that led to an error, as "FILE, line 3"; None if none did."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def blamed_on(what: str, error: BaseException) -> UserError:
    """The error for what a user's own code raised; the exit code stays.

    >>> print(blamed_on("task 'mine' failed at mine.py, line 3", KeyError("x")))
    task 'mine' failed at mine.py, line 3: KeyError: 'x'
    """
    kind = UsageError if isinstance(error, UsageError) else UserError
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return kind(f"{what}: {reason}".splitlines()[0])


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist. It offers the nearest known name, or else lists all.

    >>> print(unknown("variant", "locall", ["local", "luna"]))
    no variant is called 'locall'; did you mean 'local'?
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"no {what} is called '{name}'; {hint}")
