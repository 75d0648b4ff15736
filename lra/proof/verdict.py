"""What a proof found of an implementation, and the choice between several."""

from collections.abc import Sequence
from typing import NamedTuple


class Verdict(NamedTuple):
    """What was found of an implementation of a call.

    Attributes:
      seconds: of the output and all gradients, in the median; None if the implementation is left out.
      spread: half of the range of the seconds.
      reason: why it is left out; empty if it is right.
    """

    implementation: str
    seconds: float | None = None
    spread: float = 0.0
    reason: str = ""


class Proof(NamedTuple):
    """What was found of all implementations of a call, and why some were not tried."""

    words: str
    verdicts: tuple[Verdict, ...]
    not_tried: tuple[tuple[str, str], ...] = ()

    @property
    def chosen(self) -> str:
        """The fastest right implementation: XLA, unless another is faster by more than what the times vary."""
        right = {verdict.implementation: verdict for verdict in self.verdicts if verdict.seconds is not None}
        if "xla" not in right:
            return "xla"
        best = min(right.values(), key=lambda verdict: verdict.seconds)
        return best.implementation if surely_less(best, right["xla"]) else "xla"

    @property
    def why(self) -> str:
        """The choice in words."""
        parts = []
        for verdict in sorted(self.verdicts, key=lambda verdict: verdict.seconds or float("inf")):
            if verdict.seconds is None:
                parts.append(f"{verdict.implementation} left out: {verdict.reason}")
            else:
                parts.append(f"{verdict.implementation} {milliseconds(verdict.seconds)}")
        return "; ".join([*parts, *(f"{name} not tried: {reason}" for name, reason in self.not_tried)])


def surely_less(one: Verdict, other: Verdict) -> bool:
    assert one.seconds is not None and other.seconds is not None
    return one.seconds + one.spread < other.seconds - other.spread


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
    return Proof(str(content["call"]), tuple(Verdict(**verdict) for verdict in verdicts), not_tried)
