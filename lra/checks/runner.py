"""Runs the checks of a variant."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from lra import compilation, settings
from lra.checks.check import CHECKS, Check, DoesNotApply, InNoLayer, Unchecked, of_the_machine
from lra.checks.subject import SHAPE, Subject, options_of
from lra.errors import UserError, unknown
from lra.models.attention import VARIANTS, Variant
from lra.recipe import variant_named

Status = Literal["holds", "fails", "excepted", "does not apply", "not run"]


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a check.

    Attributes:
      check: the name of the check.
      details: the findings in words, or why the check does not apply or was not run: what it presupposes does not hold.
      reason: why the variant is excepted from the check, as it declares.
    """

    check: str
    status: Status
    details: tuple[str, ...] = ()
    reason: str = ""


class Subjects:
    """The layers of a variant that are checked. They are built at first use.

    One layer is checked. If the layers of the variant differ, each of two layers is checked. If the variant carries
    values between layers, the second layer is checked, with the values that the first layer gives it.
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
        """The findings of a check on all layers."""
        layers = self.layers[:1] if check.once else self.layers
        by_layer = [list(check.find(self.subject(layer))) for layer in layers]
        lacking = all(any(isinstance(finding, InNoLayer) for finding in findings) for findings in by_layer)
        for layer, findings in zip(layers, by_layer):
            where = f"layer {layer}: " if len(layers) > 1 else ""
            for finding in findings:
                if isinstance(finding, Unchecked):
                    yield finding
                elif lacking or not isinstance(finding, InNoLayer):
                    yield f"{where}{finding}"


@settings.fixed()
def run_check(check: Check, subjects: Subjects) -> Result:
    """The result of a check on a variant. An exception of the variant is a finding."""
    details: tuple[str, ...]
    try:
        found = tuple(dict.fromkeys(subjects(check)))
        details = tuple(finding for finding in found if not isinstance(finding, Unchecked))
        if found and not details:
            return Result(check.name, "not run", found)
    except DoesNotApply as why:
        return Result(check.name, "does not apply", (str(why),))
    except Exception as error:
        if of_the_machine(error) and not subjects.variant.line_of(error):
            return Result(check.name, "not run", (f"{type(error).__name__}: {error}".splitlines()[0],))
        details = (str(subjects.variant.blame(error)),)
    if not details:
        return Result(check.name, "holds")
    reason = subjects.variant.exceptions.get(check.name, "")
    return Result(check.name, "excepted" if reason else "fails", details, reason)


def check_variant(
    name: str, overrides: Sequence[str] = (), advance: Callable[[int], Any] = lambda count: None
) -> list[Result]:
    """Runs all checks of a registered variant; if the first one fails, the others are not run.

    >>> [result.check for result in check_variant("my_attention") if result.status == "fails"]  # doctest: +SKIP
    []

    Args:
      overrides: gin bindings of the variant's options.
      advance: called with 1 after each check.

    Raises:
      UsageError: there is no such variant, or an override is not valid.
      UserError: the variant declares an exception to a check that does not exist, or no variant can work in this
        process.
    """
    settings.require()
    compilation.keep()
    variant = variant_named(name)
    for excepted in variant.exceptions:
        if excepted not in CHECKS:
            raise UserError(f"{variant.where}: {unknown('check', excepted, CHECKS)}")
    options_of(variant, overrides)  # a wrong binding is the caller's fault, no finding
    subjects = Subjects(variant, overrides)
    results: list[Result] = []
    for check in CHECKS.values():
        if results and results[0].status == "fails":
            results.append(Result(check.name, "not run", (f"'{results[0].check}' fails",)))
        else:
            results.append(run_check(check, subjects))
        advance(1)
    return results


def parametrize_with_checks(names: Iterable[str], overrides: Sequence[str] = ()) -> Callable[..., Any]:
    """A pytest decorator that calls a test once for each variant and check, with a function `check`.

        @parametrize_with_checks(["mine"])
        def test_mine(check):
            check()

    `check()` raises AssertionError with the findings. It skips the test if the check does not apply, and marks it as
    xfail if the variant declares an exception.
    """
    import pytest

    def parameters() -> Iterator[Any]:
        for name in names:
            subjects = Subjects(VARIANTS[name], overrides)
            for check in CHECKS.values():
                yield pytest.param(functools.partial(assert_check, check, subjects), id=f"{name}-{check.name}")

    return pytest.mark.parametrize("check", list(parameters()))


def assert_check(check: Check, subjects: Subjects) -> None:
    """Runs a check inside a pytest test."""
    import pytest

    result = run_check(check, subjects)
    if result.status == "does not apply":
        pytest.skip(result.details[0])
    if result.status == "excepted":
        pytest.xfail(result.reason)
    assert result.status == "holds", f"{subjects.variant.where}: {'; '.join(result.details)}: {check.meaning}"
