"""Which implementation each op of a run's train step gets, and why: by proof, by name, or as a record says."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
from jax.extend.backend import clear_backends

from lra import settings
from lra.errors import UserError, unknown
from lra.files import write_atomically
from lra.leaderboard.record import KernelUse
from lra.models.kernels import backends
from lra.models.kernels.backends import Op
from lra.plan import Plan, trace
from lra.proof import store
from lra.proof.call import Call, call_of
from lra.proof.supervise import MINUTE, supervise
from lra.proof.verdict import Proof

AUTO = "auto"
FILE = "kernels.json"  # in the folder of a run
LEAST_TOKENS = 20_000_000  # a run of fewer ends before a proof would pay

Say = Callable[[str], None]


class Decision(NamedTuple):
    implementation: str
    why: str


class Choice:
    """Decides for the ops of a program that is traced inside `backends.deciding(choice)`, and notes what it decided.

    Attributes:
      uses: what the ops got that were traced, by the keys of their calls.
    """

    def __init__(self, seeds: int, decide: Callable[[Call], Decision]):
        self.seeds, self.decide = seeds, decide
        self.uses: dict[str, KernelUse] = {}

    def __call__(self, op: Op, static: Any, x: Any) -> str:
        call = call_of(op, static, x, self.seeds)
        if call.key not in self.uses:
            implementation, why = self.decide(call)
            self.uses[call.key] = KernelUse(call=call.words, key=call.key, implementation=implementation, why=why)
        return self.uses[call.key].implementation

    @property
    def words(self) -> list[str]:
        """Each op with the implementations that its calls got."""
        return sorted({f"{use.call.split(' of ')[0]}: {use.implementation}" for use in self.uses.values()})

    @property
    def is_all_xla(self) -> bool:
        return all(use.implementation == "xla" for use in self.uses.values())


def always(implementation: str, why: str, seeds: int) -> Choice:
    """A choice of one implementation for all ops that have it; XLA for the others.

    Raises, when an op is traced:
      UserError: the implementation does not admit the operands.
    """

    def decide(call: Call) -> Decision:
        backend = call.load().backends.get(implementation)
        if backend is None:
            return Decision("xla", f"{call.op} has no implementation '{implementation}'")
        try:
            backend.admits(call.static, call.operands)
        except NotImplementedError as error:
            raise UserError(
                f"--kernels {implementation}: {call.op} cannot use it here ({error}); say --kernels {AUTO}"
            ) from error
        return Decision(implementation, why)

    return Choice(seeds, decide)


def named(name: str, seeds: int) -> Choice:
    """The choice of `--kernels NAME`.

    Raises:
      UsageError: there is no such implementation.
      UserError: it is for other devices.
    """
    if name not in backends.NAMES:
        raise unknown("implementation", name, (AUTO, *backends.NAMES))
    platform = settings.device().platform
    if not backends.is_for(name, platform):
        where = " and ".join(backends.PLATFORMS[name])
        raise UserError(f"--kernels {name} is for {where}, and this device is a {platform}; say --kernels {AUTO}")
    return always(name, "asked for", seeds)


def as_recorded(uses: Iterable[KernelUse], seeds: int) -> Choice:
    """The choice that a record, or the folder of a run, says."""
    before = {use.key: use for use in uses}
    platform = settings.device().platform

    def decide(call: Call) -> Decision:
        if call.key not in before:
            return Decision("xla", "the record has no such call")
        name = before[call.key].implementation
        lacks = dict(call.rivals(platform)).get(name, "there is none of that name here") if name != "xla" else ""
        if lacks:
            return Decision("xla", f"the record has {name}, which cannot be used here: {lacks}")
        return Decision(name, before[call.key].why)

    return Choice(seeds, decide)


def by_proof(
    plan: Plan,
    lengths: Sequence[int],
    devices: int,
    say: Say = lambda text: None,
    stop: threading.Event | None = None,
) -> Choice:
    """The choice of `--kernels auto`: what was proven on this machine, now or before.

    Args:
      lengths: of the batches of the train step.
      devices: how many the run trains on.
      say: is told what is proven, and what could not be.
      stop: once set, the proof ends.
    """
    seeds = len(plan.seeds)
    if tokens_of(plan) < LEAST_TOKENS:
        return always("xla", "the run is too short for a proof to pay", seeds)
    if devices > 1:
        return always("xla", "several devices train the run, and proofs are of one", seeds)
    return proven_for(plan, lengths, lambda text: say(f"{plan.variant.name}: {text}"), stop)


def proven_for(
    plan: Plan, lengths: Sequence[int], say: Say = lambda text: None, stop: threading.Event | None = None
) -> Choice:
    """What is proven right and fastest for the train step of a plan; arguments as for `by_proof`."""
    calls = calls_of(plan, lengths)
    proofs, problem = proven(calls, say, stop=stop)
    by_key = {call.key: proof for call, proof in zip(calls, proofs) if proof}

    def decide(call: Call) -> Decision:
        if call.key in by_key:
            return Decision(by_key[call.key].chosen, by_key[call.key].why)
        return Decision("xla", f"not proven: {problem or 'the train step has calls that the model alone has not'}")

    return Choice(len(plan.seeds), decide)


def tokens_of(plan: Plan) -> int:
    """The tokens of all train steps of all seeds, padding included."""
    return len(plan.seeds) * plan.train.steps * plan.train.batch_size * plan.source.max_length


def calls_of(plan: Plan, lengths: Iterable[int]) -> list[Call]:
    """The calls of ops that the train step of a plan makes on batches of these lengths."""
    calls: dict[str, Call] = {}

    def note(op: Op, static: Any, x: Any) -> str:
        call = call_of(op, static, x, len(plan.seeds))
        calls[call.key] = call
        return "xla"

    for length in lengths:
        with backends.deciding(note):
            trace(plan, plan.train.at_once, length)
    return list(calls.values())


def proven(
    calls: Sequence[Call],
    say: Say = lambda text: None,
    limit: float = MINUTE,
    again: bool = False,
    stop: threading.Event | None = None,
) -> tuple[list[Proof | None], str]:
    """The proof of each call, None where there is none, and why that is, in words.

    A call without a rival of XLA needs no proof. What was proven on this machine before is not proven again.

    Args:
      again: whether it is.
      stop: once set, the proof ends.
    """
    platform, facts = settings.device().platform, store.machine()
    before: Mapping[str, Proof] = {} if again else store.load(facts)
    proofs: list[Proof | None] = []
    trials: list[tuple[int, tuple[Call, list[str]]]] = []
    not_tried: list[tuple[tuple[str, str], ...]] = []
    for number, call in enumerate(calls):
        rivals = list(call.rivals(platform))
        not_tried.append(tuple((name, why) for name, why in rivals if why))
        names = [name for name, why in rivals if not why]
        known = before.get(store.name_of(call)) if names else Proof(call.words, ())
        proofs.append(known and known._replace(not_tried=not_tried[number]))
        if known is None:
            trials.append((number, (call, names)))
    if not trials:
        return proofs, ""
    time = f", {limit:.0f} s at most" if limit < float("inf") else ""
    say(f"proving kernels of {len(trials)} ops on this device{time}")
    if platform == "tpu" and not jax.live_arrays():
        clear_backends()  # one process at a time has a TPU

    def found(place: int, proof: Proof) -> None:
        number, (call, _) = trials[place]
        proofs[number] = proof._replace(not_tried=not_tried[number])
        say(f"{proof.words}: {proof.chosen} ({proof.why})")
        if lost := store.keep(facts, {store.name_of(call): proof}):
            say(f"the proof is not kept: {lost}")

    problem = supervise([trial for _, trial in trials], platform, found, stop or threading.Event(), limit)
    if problem:
        say(f"kernels that were not proven: XLA is taken, since {problem}")
    return proofs, problem


def begin_with(folder: Path, uses: Iterable[KernelUse]) -> None:
    """Notes in the folder of a run what its ops got, so that a run that goes on keeps it."""
    write_atomically(folder / FILE, msgspec.json.format(msgspec.json.encode(list(uses)), indent=1) + b"\n")


def begun_with(folder: Path) -> list[KernelUse] | None:
    """What `begin_with` has noted; None if it has not."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=list[KernelUse])
    except (OSError, msgspec.DecodeError):
        return None


def choice_of(
    kernels: str | Sequence[KernelUse],
    plan: Plan,
    lengths: Sequence[int],
    devices: int,
    say: Say,
    stop: threading.Event | None = None,
) -> Choice:
    """The choice for a run.

    Args:
      kernels: "auto", the name of an implementation, or what a record says.

    Raises:
      UsageError, UserError: as `named`.
    """
    if not isinstance(kernels, str):
        return as_recorded(kernels, len(plan.seeds))
    if kernels == AUTO:
        return by_proof(plan, lengths, devices, say, stop)
    return named(kernels, len(plan.seeds))
