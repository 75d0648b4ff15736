"""A check: a promise about variants, and a function that finds what breaks it."""

import dataclasses
from collections.abc import Callable, Iterable

from lra.checks.subject import Subject


class DoesNotApply(Exception):
    """Raised by a check that does not apply to a variant. The message is the reason."""


class InNoLayer(str):
    """A finding that counts only if all checked layers have it: one layer is enough to keep the promise."""


class Unchecked(str):
    """Why a part of a check was not run: what it presupposes does not hold. It is no finding."""


def of_the_machine(error: Exception) -> bool:
    """Whether an error says that memory or disk ran out, or could not be used, which is no property of a variant."""
    return isinstance(error, OSError | MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@dataclasses.dataclass(frozen=True)
class Check:
    """A promise about variants.

    Attributes:
      promise: what holds for a variant that passes, without its subject.
      meaning: the consequence for users of a variant that fails.
      find: yields the findings on a layer, in words; none if the promise is kept.
      once: whether it is enough to check one layer.
    """

    name: str
    promise: str
    meaning: str
    find: Callable[[Subject], Iterable[str]]
    once: bool


CHECKS: dict[str, Check] = {}


def check(name: str, promise: str, meaning: str, *, once: bool = False) -> Callable[..., Callable[..., Iterable[str]]]:
    """Registers a function of a `Subject` as a check; arguments as for `Check`."""

    def add(find: Callable[[Subject], Iterable[str]]) -> Callable[[Subject], Iterable[str]]:
        CHECKS[name] = Check(name, promise, meaning, find, once)
        return find

    return add
