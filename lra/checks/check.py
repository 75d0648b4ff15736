"""What a check is: a name, what it promises, what it means when that does not hold, and a function that finds out."""

import dataclasses
from collections.abc import Callable, Iterable

from lra.checks.subject import Subject


class DoesNotApply(Exception):
    """Raised by a check that has nothing to say on a variant; its message says why."""


class InNoLayer(str):
    """A finding of something that one layer has to have: it counts if all layers that are checked lack it."""


@dataclasses.dataclass(frozen=True)
class Check:
    """A promise about variants.

    Attributes:
      promise: what holds for a variant that keeps it.
      meaning: what it means for a user when it does not.
      find: yields what is wrong with a layer, in words; nothing if the promise is kept.
      once: whether one layer is enough.
    """

    name: str
    promise: str
    meaning: str
    find: Callable[[Subject], Iterable[str]]
    once: bool


CHECKS: dict[str, Check] = {}


def check(name: str, promise: str, meaning: str, *, once: bool = False) -> Callable[..., Callable[..., Iterable[str]]]:
    """Adds a function of a `Subject` to the checks."""

    def add(find: Callable[[Subject], Iterable[str]]) -> Callable[[Subject], Iterable[str]]:
        CHECKS[name] = Check(name, promise, meaning, find, once)
        return find

    return add
