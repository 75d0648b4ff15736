"""The protocol of executors: where the processes of cells run."""

import dataclasses
import importlib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lra.errors import UsageError, unknown
from lra.sweeps.job import Job

PLACES = {"local": "lra.sweeps.local:Local", "ray": "lra.sweeps.ray:Ray", "slurm": "lra.sweeps.slurm:Slurm"}


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A job waits for its place."""

    why: str = ""


@dataclasses.dataclass(frozen=True)
class Running:
    """The process of a job runs."""

    where: str = ""


@dataclasses.dataclass(frozen=True)
class Ended:
    """The process of a job has ended, with the exit codes of `process.start`; negative: with a signal."""

    code: int


@dataclasses.dataclass(frozen=True)
class Lost:
    """A job vanished with its machine, through no fault of its cell."""

    why: str


State = Waiting | Running | Ended | Lost


class Session(Protocol):
    """An executor at work.

    Attributes:
      slots: the most jobs that should be submitted and not ended; None for any number.
      hardware: that on which a cell trains, as `environment.hardware` has it; None if it is not known beforehand.
    """

    slots: int | None
    hardware: Mapping[str, Any] | None

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Submits jobs; returns a name of each, by which a user finds it in the scheduler.

        Raises:
          UserError: the cluster refuses them.
        """

    def ask(self, names: Sequence[str]) -> dict[str, State]:
        """The state of some jobs."""

    def cancel(self, names: Sequence[str]) -> None:
        """Stops jobs at a checkpoint and drops those that wait. It does not wait until they have ended."""

    def close(self) -> None:
        """Gives everything back."""


class Executor(Protocol):
    """The options of an executor, a frozen dataclass."""

    def session(self, jobs_at_once: int | None) -> Session:
        """Begins to work.

        Args:
          jobs_at_once: the most jobs that run at once; None for what the executor thinks best.

        Raises:
          UserError: its package is not installed, the cluster is not there, or no machine has what is asked for.
        """


def executor_of(text: str) -> Executor:
    """The executor that a text describes: its name, and options after a colon.

    >>> executor_of("local")
    Local()

    Raises:
      UsageError: there is no such executor or option, or an option has another type.
    """
    name, _, options = text.partition(":")
    if name not in PLACES:
        raise unknown("executor", name, PLACES)
    module, _, attribute = PLACES[name].partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    hints, values = typing.get_type_hints(kind), {}
    for word in filter(None, options.split(",")):
        option, _, value = word.partition("=")
        if option not in hints:
            raise unknown(f"option of executor {name}", option, hints)
        values[option] = converted(f"--executor {name}: {option}", value, hints[option])
    return kind(**values)


def converted(what: str, text: str, hint: Any) -> Any:
    """An option in its type, which may admit None too."""
    (kind,) = [one for one in typing.get_args(hint) or (hint,) if one is not type(None)]
    try:
        return kind(text)
    except ValueError:
        words = {int: "a whole number", float: "a number"}
        raise UsageError(f"{what} = {text!r} is not {words.get(kind, kind.__name__)}") from None
