"""The executor of Ray: each cell is an actor, which holds the accelerators and cores of the cell while it runs."""

import contextlib
import dataclasses
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from lra.errors import UsageError, UserError, printable
from lra.interrupt import STOPPED
from lra.sweeps import process
from lra.sweeps.executor import Ended, Lost, Running, State, Waiting
from lra.sweeps.job import Job

ANSWER = 5.0  # seconds that a cluster has to answer
# a cluster of this machine alone is not to be reached from outside; Ray reads this when it is imported
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
TRAVELS = ("LRA_HOME", "JAX_PLATFORMS")  # environment variables that count on the nodes as here


@dataclasses.dataclass(frozen=True)
class Ray:
    """Runs cells on the nodes of a Ray cluster. They need this environment of Python and the results folder.

    Attributes:
      address: HOST:PORT, ray://HOST:PORT, or auto for the cluster of this machine; None for a new one on this machine
        alone, unless the environment variable RAY_ADDRESS names another.
      gpus, tpus: GPUs or TPU chips of a cell. Several cells share a GPU if this is a fraction, and its memory.
      cpus: cores that Ray counts for a cell.
    """

    address: str | None = None
    gpus: float = 0
    tpus: int = 0
    cpus: float = 1

    def session(self, jobs_at_once: int | None) -> "RaySession":
        """Begins to work; arguments and errors as for `Executor`."""
        if self.gpus < 0 or (self.gpus > 1 and self.gpus % 1):
            raise UsageError(f"gpus={self.gpus} is neither a fraction of one GPU nor a number of them")
        if self.tpus < 0 or self.cpus < 0 or not any(self.needs().values()):
            raise UsageError(f"gpus={self.gpus}, tpus={self.tpus}, cpus={self.cpus}: a cell needs something; cpus=1")
        address = self.address or os.environ.get("RAY_ADDRESS")
        if address is None:
            os.environ.setdefault(*LOOPBACK)
        try:
            import ray
        except ImportError as error:
            raise UserError("Ray needs its package: pip install 'long-range-arena[ray]'") from error
        own = not ray.is_initialized()
        if own:
            connect(address)
        session = RaySession(self, jobs_at_once, own)
        if not session.places():
            have = "; ".join(sorted({in_words(node) for node in nodes()}))
            session.close()
            raise UserError(
                f"no node of the Ray cluster has {in_words(self.needs())}; the nodes have: {have or 'nothing'}"
            )
        return session

    def needs(self) -> dict[str, float]:
        """What a cell needs, in Ray's words."""
        return {"GPU": self.gpus, "TPU": self.tpus, "CPU": self.cpus}


def connect(address: str | None) -> None:
    """Connects to a cluster, or starts one.

    Raises:
      UserError: it is not there.
    """
    import ray
    from ray._private.services import canonicalize_bootstrap_address  # what ray.init calls

    where = address or "this machine"
    try:
        place = address
        if address and not address.startswith("ray://"):
            place = canonicalize_bootstrap_address(address)
        if place:  # Ray itself waits for minutes
            parts = urlsplit(place if "://" in place else f"//{place}")
            socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=ANSWER).close()
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        said = printable((str(error).strip().splitlines() or ["no reason"])[0])[:200].rstrip(".")
        raise UserError(
            f"no Ray cluster answers at {where} ({said}); start one with 'ray start --head', or leave the address "
            "out for one of this machine alone"
        ) from error


def nodes() -> list[dict[str, float]]:
    """What each living node of the cluster has, in Ray's words."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def in_words(resources: dict[str, float]) -> str:
    """What a node has, or a cell needs."""
    return (
        " and ".join(f"{resources[name]:g} {name}" for name in ("GPU", "TPU", "CPU") if resources.get(name))
        or "nothing"
    )


class Keeper:
    """The actor of a cell: it starts the process on its node and waits for it."""

    def __init__(self) -> None:
        self.started: subprocess.Popen[bytes] | None = None

    def where(self) -> str:
        """The name of the node."""
        return socket.gethostname()

    def run(self, text: str, variables: dict[str, str], start: Callable[..., "subprocess.Popen[bytes]"]) -> int:
        """Runs a job; returns the exit code of its process."""
        self.started = start(Job.from_json(text), variables)
        return self.started.wait()

    def stop(self) -> None:
        """Asks the process to stop at a checkpoint."""
        if self.started:
            self.started.terminate()


@dataclasses.dataclass
class Kept:
    """A job of the session: its actor, and what the actor has promised to say."""

    actor: Any
    where: Any
    code: Any
    state: State = dataclasses.field(default_factory=Waiting)
    cancelled: bool = False


class RaySession:
    """Jobs of a Ray cluster; attributes and methods as for `Session`.

    Args:
      own: whether the connection is closed with the session.
    """

    start = staticmethod(process.start)

    def __init__(self, options: Ray, jobs_at_once: int | None, own: bool):
        self.options, self.jobs_at_once, self.own = options, jobs_at_once, own
        self.slots: int | None = jobs_at_once or self.places()
        self.hardware: Mapping[str, Any] | None = None  # nodes may differ
        self.jobs: dict[str, Kept] = {}

    def places(self) -> int:
        """How many cells the nodes have room for."""
        needs = {name: need for name, need in self.options.needs().items() if need}
        # the small number forgives that 1 / 0.1 is less than 10
        return sum(min(int(node.get(name, 0) / need + 1e-6) for name, need in needs.items()) for node in nodes())

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        import ray

        options = self.options
        keeper = ray.remote(Keeper).options(
            num_cpus=options.cpus, num_gpus=options.gpus, resources={"TPU": options.tpus} if options.tpus else None,
            max_restarts=0, max_task_retries=0, max_concurrency=3,
        )  # fmt: skip
        variables = {name: os.environ[name] for name in TRAVELS if name in os.environ}
        if 0 < options.gpus < 1:
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * options.gpus:.2f}"
        names = []
        for job in jobs:
            actor = keeper.remote()
            names.append(actor._actor_id.hex())
            code = actor.run.remote(job.to_json(), variables, self.start)
            self.jobs[names[-1]] = Kept(actor, actor.where.remote(), code)
        return names

    def ask(self, names: Sequence[str]) -> dict[str, State]:
        self.slots = self.jobs_at_once or max(1, self.places())  # nodes come and go
        for kept in self.jobs.values():
            if isinstance(kept.state, Waiting | Running):
                kept.state = self.state_of(kept)
        return {name: self.jobs[name].state for name in names}

    def state_of(self, kept: Kept) -> State:
        import ray
        from ray.exceptions import RayError

        if not ray.wait([kept.code], timeout=0)[0]:
            if isinstance(kept.state, Running):
                return kept.state
            if not ray.wait([kept.where], timeout=0)[0]:
                return Waiting(f"for {in_words(self.options.needs())}")
            with contextlib.suppress(RayError):
                return Running(ray.get(kept.where))
            return kept.state
        try:
            code: int = ray.get(kept.code)
        except RayError as error:
            kill(kept.actor)  # it may live on beyond a network that failed
            if kept.cancelled:
                return Ended(STOPPED)
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["its node is gone"]
            return Lost(f"Ray lost it: {printable(lines[0])[:200]}")
        kill(kept.actor)  # gives its cores back
        return Ended(code)

    def cancel(self, names: Sequence[str]) -> None:
        for kept in map(self.jobs.__getitem__, names):
            if not kept.cancelled and isinstance(kept.state, Waiting | Running):
                kept.cancelled = True
                if isinstance(kept.state, Running):
                    kept.actor.stop.remote()
                else:
                    kill(kept.actor)

    def close(self) -> None:
        import ray

        for kept in self.jobs.values():
            if isinstance(kept.state, Waiting | Running):
                kill(kept.actor)
        if self.own:
            ray.shutdown()


def kill(actor: Any) -> None:
    """Ends an actor. The process that it has started stops at a checkpoint, for its standard input ends."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(actor)
