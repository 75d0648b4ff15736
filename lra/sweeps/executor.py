"""The protocol of executors: where the processes of cells run."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from lra.sweeps.job import Job


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
    """

    slots: int | None

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
