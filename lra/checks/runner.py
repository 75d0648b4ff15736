"""Runs the checks of a variant."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from lra.checks.check import CHECKS, Check, DoesNotApply, InNoLayer
from lra.checks.subject import SHAPE, Subject
from lra.configuration import build, layered, parse_override
from lra.errors import UserError, unknown
from lra.models.attention import VARIANTS, Variant
from lra.recipe import parsed, variant_named

Status = Literal["holds", "fails", "excepted", "does not apply", "not run"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
      details: what is wrong, in words; why the check does not apply, or was not run.
      reason: why it need not hold, as the variant declares.
    """

    check: str
    status: Status
    details: tuple[str, ...] = ()
    reason: str = ""


def options_of(variant: Variant, overrides: Sequence[str] = ()) -> Any:
    """The options under which a variant is checked: its small ones, and over them those given by hand.

    Raises:
      UsageError: an override is not valid.
    """
    small = [parse_override(f"{variant.name}.{name} = {value!r}") for name, value in variant.small.items()]
    return build(variant.name, layered(small, parsed(overrides)))


class Subjects:
    """The layers of a variant that are checked, built when they are first needed.

    A variant whose layers differ is checked as each of two; one that hands something on as the second, which is
    given what the first makes of it.
    """

    def __init__(self, variant: Variant, overrides: Sequence[str] = ()):
        self.variant, self.overrides = variant, tuple(overrides)
        self.layers = [0]
        if variant.by_layer:
            self.layers = [1] if variant.form == "carrying mixer" else [0, 1]
        self.subject = functools.cache(self.build)

    def build(self, layer: int) -> Subject:
        options = options_of(self.variant, self.overrides)
        subject = Subject(self.variant, dataclasses.replace(SHAPE, layer=layer, layers=2), options)
        subject.overrides = self.overrides
        return subject

    def __call__(self, check: Check) -> Iterator[str]:
        layers = self.layers[:1] if check.once else self.layers
        found = [list(check.find(self.subject(layer))) for layer in layers]
        lacking = all(any(isinstance(wrong, InNoLayer) for wrong in wrongs) for wrongs in found)
        for layer, wrongs in zip(layers, found):
            where = f"layer {layer}: " if len(layers) > 1 else ""
            yield from (f"{where}{wrong}" for wrong in wrongs if lacking or not isinstance(wrong, InNoLayer))


def run_check(check: Check, subjects: Subjects) -> Result:
    """One check on one variant. Whatever the variant raises is what is wrong with it."""
    try:
        details = tuple(dict.fromkeys(subjects(check)))
    except DoesNotApply as why:
        return Result(check.name, "does not apply", (str(why),))
    except Exception as error:
        details = (str(subjects.variant.blame(error)),)
    if not details:
        return Result(check.name, "holds")
    reason = subjects.variant.exceptions.get(check.name, "")
    return Result(check.name, "excepted" if reason else "fails", details, reason)


def check_variant(
    name: str, overrides: Sequence[str] = (), advance: Callable[[int], Any] = lambda count: None
) -> list[Result]:
    """All checks of a registered variant. If it cannot be called at all, the others are not run.

    Raises:
      UsageError: there is no such variant, or it declares an exception to a check that does not exist.
    """
    variant = variant_named(name)
    for excepted in variant.exceptions:
        if excepted not in CHECKS:
            raise UserError(f"{variant.where}: {unknown('check', excepted, CHECKS)}")
    options_of(variant, overrides)  # a wrong binding is the caller's fault, no finding
    subjects = Subjects(variant, overrides)
    results: list[Result] = []
    for check in CHECKS.values():
        if results and results[0].status == "fails":
            results.append(Result(check.name, "not run", (f"{results[0].check} fails",)))
        else:
            results.append(run_check(check, subjects))
        advance(1)
    return results


def parametrize_with_checks(names: Iterable[str], overrides: Sequence[str] = ()) -> Callable[..., Any]:
    """A pytest decorator: the test is called with a function `check`, once for each variant and check.

        @parametrize_with_checks(["mine"])
        def test_mine(check):
            check()

    `check()` raises AssertionError with what is wrong, skips what does not apply, and expects a declared exception
    to fail.
    """
    import pytest

    def parameters() -> Iterator[Any]:
        for name in names:
            subjects = Subjects(VARIANTS[name], overrides)
            for check in CHECKS.values():
                yield pytest.param(functools.partial(assert_check, check, subjects), id=f"{name}-{check.name}")

    return pytest.mark.parametrize("check", list(parameters()))


def assert_check(check: Check, subjects: Subjects) -> None:
    import pytest

    result = run_check(check, subjects)
    if result.status == "does not apply":
        pytest.skip(result.details[0])
    if result.status == "excepted":
        pytest.xfail(result.reason)
    assert result.status == "holds", f"{subjects.variant.where}: {'; '.join(result.details)}: {check.meaning}"
