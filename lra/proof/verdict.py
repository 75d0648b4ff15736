"""What a proof found of an implementation, and the choice between several."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Verdict(NamedTuple):
    """What was found of an implementation of a call.

    Attributes:
      times: seconds of the output and all gradients, in rounds in which the right implementations took turns; empty if
        this one is left out.
      reason: why it is left out; empty if it is right.
    """

    implementation: str
    times: tuple[float, ...] = ()
    reason: str = ""

    @property
    def seconds(self) -> float:
        """The median of the times; infinite without any."""
        return statistics.median(self.times) if self.times else float("inf")


class Proof(NamedTuple):
    """What was found of all implementations of a call, and why some were not tried."""

    words: str
    verdicts: tuple[Verdict, ...]
    not_tried: tuple[tuple[str, str], ...] = ()

    @property
    def chosen(self) -> str:
        """The fastest right implementation: XLA, unless another was faster in every round."""
        xla = next((verdict.times for verdict in self.verdicts if verdict.implementation == "xla"), ())
        faster = [verdict for verdict in self.verdicts if verdict.times and all(map(less, verdict.times, xla))]
        return min(faster, key=lambda verdict: verdict.seconds).implementation if xla and faster else "xla"

    @property
    def why(self) -> str:
        """What was found, in words."""
        parts = []
        for verdict in sorted(self.verdicts, key=lambda verdict: verdict.seconds):
            took = milliseconds(verdict.seconds) if verdict.times else f"left out: {verdict.reason}"
            parts.append(f"{verdict.implementation} {took}")
        parts += [f"{name} not tried: {reason}" for name, reason in self.not_tried]
        return "; ".join(parts) or "it has no other implementation for this device"


def less(one: float, other: float) -> bool:
    return one < other


def milliseconds(seconds: float) -> str:
    """A time in words.

    >>> milliseconds(0.00123), milliseconds(1.5)
    ('1.23 ms', '1500 ms')
    """
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{1e3 * seconds:.0f} ms"


def as_json(proof: Proof) -> dict:
    """A proof as plain JSON."""
    return {
        "call": proof.words,
        "verdicts": [verdict._asdict() for verdict in proof.verdicts],
        "not_tried": [list(pair) for pair in proof.not_tried],
    }


def from_json(content: dict) -> Proof:
    """The proof that `as_json` wrote.

    Raises:
      KeyError, TypeError, ValueError: it did not.
    """
    verdicts: Sequence[dict] = content["verdicts"]
    not_tried = tuple((str(name), str(reason)) for name, reason in content["not_tried"])
    return Proof(str(content["call"]), tuple(map(verdict_of, verdicts)), not_tried)


def verdict_of(content: dict) -> Verdict:
    """The verdict of a JSON object."""
    return Verdict(str(content["implementation"]), tuple(map(float, content["times"])), str(content["reason"]))
