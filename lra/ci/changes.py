"""Compares measurements with a baseline: a change with an outcome for each quantity of each variant."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lra.bench.variants import BASE
from lra.ci.baseline import ANEW, Baseline, Program, Trained

# worse and missing fail the gate; known means that a check failed in the baseline too
Outcome = Literal["same", "better", "worse", "known", "left out", "missing"]
ALPHA = 0.01  # significance level of the rank tests
SLOWER = 1.05  # the least factor of step times that counts as a change
LESS_ACCURATE = 0.02  # the least difference of accuracies that counts as a change


@dataclasses.dataclass(frozen=True)
class Change:
    """A quantity of a variant in the baseline and now.

    Attributes:
      old, new, difference: the numbers as they are printed.
      why: the reason of the outcome, in words.
    """

    variant: str
    quantity: str
    outcome: Outcome
    old: str = ""
    new: str = ""
    difference: str = ""
    why: str = ""

    @property
    def fails(self) -> bool:
        """Whether the gate fails."""
        return self.outcome in ("worse", "missing")


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a part of a variant could not be measured."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Now:
    """The new measurements.

    Attributes:
      variants: the parts of `baseline.VariantBaseline` by variant. A Failure replaces a part that could not be
        measured. "step_time" is missing if it was not measured.
    """

    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    compilers: Mapping[str, Mapping[str, str]]
    data_sha256: str
    variants: Mapping[str, Mapping[str, Any]]


PARTS = {
    "parameters": "parameters", "programs": "operations and memory", "checks": "checks", "step_time": "step time",
    "training": "accuracy",
}  # fmt: skip


def changes(then: Baseline, now: Now) -> list[Change]:
    """All changes, in the order of the variants and their quantities."""
    made: list[Change] = []
    for name, parts in now.variants.items():
        old = then.variants[name]
        for part, quantity in PARTS.items():
            new: Any = parts.get(part)
            if isinstance(new, Failure):
                made.append(Change(name, quantity, "missing", why=new.reason))
            elif part == "parameters":
                made += parameters(name, old.parameters, new)
            elif part == "programs":
                made += programs(name, then, now)
            elif part == "checks":
                made += checks(name, old.checks, new)
            elif part == "step_time":
                made.append(step_time(name, then, now))
            else:
                made.append(accuracy(name, then, now))
    return made


def parameters(name: str, old: dict[str, int], new: dict[str, int]) -> Iterator[Change]:
    """The changes of parameter counts. A smaller count is no improvement, since it is another model."""
    for model in old | new:
        quantity = f"parameters: {model}"
        if model not in old or model not in new:
            side = "now" if model in new else "in the baseline"
            yield Change(name, quantity, "missing", why=f"counted only {side}; {ANEW}")
        else:
            outcome: Outcome = "same" if old[model] == new[model] else "worse"
            why = "" if outcome == "same" else "another number of parameters is another model"
            yield Change(name, quantity, outcome, *moved(old[model], new[model]), why)


def programs(name: str, then: Baseline, now: Now) -> Iterator[Change]:
    """The changes of operations and memory on each target, if baseline and measurement have the same compiler."""
    old, new = then.variants[name].programs, now.variants[name]["programs"]
    for target in old | new:
        quantity = f"operations and memory: {target}"
        if target not in old:
            yield Change(name, quantity, "left out", why=f"the baseline was made without this compiler; {ANEW}")
        elif target not in new:
            yield Change(
                name, quantity, "missing", why=f"no compiler for {target} is installed here; install it, or {ANEW}"
            )
        elif other := differing(then.compilers.get(target, {}), now.compilers[target]):
            yield Change(name, quantity, "missing", why=f"not comparable, the baseline has {other}; {ANEW}")
        else:
            yield from program(name, target, old[target], new[target])


def program(name: str, target: str, old: Program, new: Program) -> Iterator[Change]:
    """The changes on one target, compared exactly."""
    for quantity, before, after in (
        ("operations", old.operations, new.operations), ("memory", old.bytes, new.bytes),
    ):  # fmt: skip
        if before is None and after is None:
            continue
        if before is None or after is None:
            yield Change(name, f"{quantity}: {target}", "missing", why=f"the compiler says it on one side only; {ANEW}")
            continue
        outcome: Outcome = "same" if after == before else "worse" if after > before else "better"
        yield Change(name, f"{quantity}: {target}", outcome, *moved(before, after))


def checks(name: str, old: dict[str, str], new: dict[str, tuple[str, str]]) -> Iterator[Change]:
    """The changes of checks. A check that failed in the baseline may fail again; a new check must not fail."""
    for check in old | new:
        if check not in new:
            yield Change(name, f"check: {check}", "missing", old[check], why=f"there is no such check any more; {ANEW}")
            continue
        before, (after, details) = old.get(check, "new"), new[check]
        failed, fails = (status in ("fails", "not run") for status in (before, after))
        outcome: Outcome = "known" if failed and fails else "worse" if fails else "better" if failed else "same"
        yield Change(name, f"check: {check}", outcome, before, after, why=details if fails else "")


def step_time(name: str, then: Baseline, now: Now) -> Change:
    """The change of step time on the same hardware. It counts only if every round of measurements shows it."""
    if name == BASE:
        return Change(name, "step time", "left out", why=f"the {BASE}'s is what the others' are compared with")
    if other := differing(then.hardware, now.hardware):
        return Change(name, "step time", "left out", why=f"the baseline is of other hardware: {other}")
    changed = differing({package: then.versions.get(package) for package in ("jax", "jaxlib")}, now.versions)
    if changed:
        return Change(name, "step time", "missing", why=f"not comparable, the baseline has {changed}; {ANEW}")
    old, rounds = flat(then.variants[name].step_time), now.variants[name]["step_time"]
    before, after = float(np.median(old)), float(np.median(flat(rounds)))
    why = f"p = {max(greater(samples, old) for samples in rounds):.2g}, {len(flat(rounds))} processes"
    outcome: Outcome = "same"
    if all(slower(old, samples) for samples in rounds):
        outcome = "worse"
    elif all(slower(samples, old) for samples in rounds):
        outcome, why = "better", f"p = {max(greater(old, samples) for samples in rounds):.2g}"
    return Change(name, "step time", outcome, f"{before:.3f}", f"{after:.3f}", f"{after / before - 1:+.1%}", why)


def slower(old: Sequence[float], new: Sequence[float]) -> bool:
    """Whether new times are longer than old ones by more than the factor SLOWER and by more than chance."""
    return bool(np.median(new) > SLOWER * np.median(old)) and greater(new, old) < ALPHA


def greater(a: Sequence[float], b: Sequence[float]) -> float:
    """The one-sided p-value of `a` not being greater than `b` (Mann & Whitney 1947)."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(a, b, alternative="greater").pvalue)


def accuracy(name: str, then: Baseline, now: Now) -> Change:
    """The change of accuracy. Equal bits are the same.

    Otherwise the seeds are compared as two samples, since other rounding is like another seed after some hundred steps.
    """
    if then.data_sha256 != now.data_sha256:
        return Change(name, "accuracy", "missing", why=f"the prepared data are not the baseline's; {ANEW}")
    old, new = then.variants[name].training, now.variants[name]["training"]
    before, after = scores(old), scores(new)
    middle = float(np.median(before)), float(np.median(after))
    points = "" if -math.inf in middle else f"{100 * (middle[1] - middle[0]):+.2f} points"
    numbers = percent(middle[0]), percent(middle[1]), points
    if tuple(old) == tuple(new):
        return Change(name, "accuracy", "same", *numbers, f"the same bits, {len(new)} seeds")
    chance = greater(before, after)
    lost = sum(score == -math.inf for score in after)
    why = f"p = {chance:.2g}, {len(after)} seeds" + (f", {lost} diverged" if lost else "")
    if middle[0] > middle[1] + LESS_ACCURATE and (chance < ALPHA or middle[1] == -math.inf):
        return Change(name, "accuracy", "worse", *numbers, why)
    better = middle[1] > middle[0] + LESS_ACCURATE and greater(after, before) < ALPHA
    return Change(name, "accuracy", "better" if better else "same", *numbers, why)


def scores(training: Sequence[Trained]) -> list[float]:
    """The accuracies of the seeds; -inf for a seed that diverged."""
    return [-math.inf if seed.accuracy is None else seed.accuracy for seed in training]


def percent(score: float) -> str:
    return "diverged" if score == -math.inf else f"{100 * score:.2f} %"


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The entries in which two descriptions differ, e.g. "jax 0.10.1, here 0.10.2"; empty if there are none."""
    return ", ".join(
        f"{key} {value}, here {now.get(key, 'none')}" for key, value in then.items() if now.get(key) != value
    )


def moved(before: float, after: float) -> tuple[str, str, str]:
    """Two numbers and their relative difference, as they are printed."""
    share = f"{after / before - 1:+.2%}" if before else f"{after - before:+,.0f}"
    return f"{before:,.0f}", f"{after:,.0f}", "" if before == after else share


def flat(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The ratios of all rounds."""
    return [ratio for samples in rounds for ratio in samples]
