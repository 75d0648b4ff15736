"""The decisions: exact numbers, ranks with a least effect, and what cannot be compared. No clock is read."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from lra.ci.baseline import WORKLOAD, Baseline, Program, Trained, VariantBaseline
from lra.ci.changes import Failure, Now, changes, greater, percent, slower

SEEDS = WORKLOAD.seeds


def cpu(operations, size):
    return {"traced": Program(operations=100.0, bytes=None), "cpu": Program(operations=operations, bytes=size)}


# ratios of 12 fresh processes on two cores that eight other processes wanted too
RATIOS = [0.515, 0.527, 0.507, 0.516, 0.522, 0.511, 0.519, 0.509, 0.514, 0.524, 0.518, 0.512]


def trained(accuracies, loss=1.5):
    scores = zip(SEEDS, accuracies)
    return tuple(Trained(seed=seed, accuracy=x, loss=None if x is None else loss) for seed, x in scores)


ACCURACIES = [0.354, 0.371, 0.376, 0.3475, 0.3665, 0.377, 0.3805, 0.362]  # of eight seeds of local
OLD = VariantBaseline(
    parameters={"listops, demo": 1000},
    programs=cpu(90.0, 50),
    checks={"shape": "holds", "reach": "fails"},
    step_time=(tuple(RATIOS[:4]), tuple(RATIOS[4:8])),
    training=trained(ACCURACIES),
)
THEN = Baseline(
    schema=2,
    hardware={"cpu": "abacus", "cores": 2},
    versions={"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8"},
    compilers={"traced": {"jax": "0.10.2"}, "cpu": {"jax": "0.10.2", "jaxlib": "0.10.2"}},
    workload=WORKLOAD,
    data_sha256="data",
    variants={"local": OLD},
)


def then_with(**parts):
    """The baseline with some parts of its variant replaced."""
    return replace(THEN, variants={"local": replace(OLD, **parts)})


def by_quantity(then=THEN, **other):
    """The changes, by quantity, of a measurement that differs from the baseline only in `other`."""
    parts = asdict(OLD) | {"checks": {"shape": ("holds", ""), "reach": ("fails", "sees itself only")}}
    parts["step_time"] = [RATIOS[8:]]
    around = {key: getattr(THEN, key) for key in ("hardware", "versions", "compilers", "data_sha256")}
    around |= {key: other.pop(key) for key in list(other) if key in around}
    return {change.quantity: change for change in changes(then, Now(**around, variants={"local": parts | other}))}


def failing(quantities):
    return {quantity for quantity, change in quantities.items() if change.fails}


def test_nothing_changed_and_nothing_fails():
    quantities = by_quantity()
    assert failing(quantities) == set()
    assert quantities["accuracy"].why.startswith("the same bits")
    assert quantities["check: reach"].outcome == "known"
    assert {change.outcome for change in quantities.values()} == {"same", "known"}


@pytest.mark.parametrize(
    ("other", "quantity", "outcome", "difference"),
    [
        ({"parameters": {"listops, demo": 1001}}, "parameters: listops, demo", "worse", "+0.10%"),
        ({"parameters": {"listops, demo": 900}}, "parameters: listops, demo", "worse", "-10.00%"),
        ({"programs": cpu(91.0, 50)}, "operations: cpu", "worse", "+1.11%"),
        ({"programs": cpu(90.0, 60)}, "memory: cpu", "worse", "+20.00%"),
        ({"programs": cpu(90.0, 40)}, "memory: cpu", "better", "-20.00%"),
        ({"checks": {"shape": ("fails", "a NaN"), "reach": ("holds", "")}}, "check: shape", "worse", ""),
        ({"checks": {"shape": ("holds", ""), "reach": ("holds", "")}}, "check: reach", "better", ""),
        ({"checks": {"shape": ("holds", ""), "reach": ("not run", "no")}}, "check: reach", "known", ""),
        ({"checks": {"shape": ("holds", "")}}, "check: reach", "missing", ""),
        ({"training": trained(x - 0.05 for x in ACCURACIES)}, "accuracy", "worse", "-5.00 points"),
        ({"training": trained(x + 0.05 for x in ACCURACIES)}, "accuracy", "better", "+5.00 points"),
        ({"training": trained([None] * 8)}, "accuracy", "worse", ""),
        ({"step_time": [[1.1 * x for x in RATIOS[8:]]] * 2}, "step time", "worse", "+10.1%"),
        ({"step_time": [[0.9 * x for x in RATIOS[8:]]]}, "step time", "better", "-9.9%"),
    ],
)  # fmt: skip
def test_what_moved_has_its_outcome(other, quantity, outcome, difference):
    quantities = by_quantity(**other)
    assert quantities[quantity].outcome == outcome
    assert quantities[quantity].difference == difference
    others = {change.outcome for name, change in quantities.items() if name != quantity}
    assert others <= {"same", "known", "better"}, "nothing else may fail"
    assert failing(quantities) == ({quantity} if outcome in ("worse", "missing") else set())


@pytest.mark.parametrize(
    ("other", "quantities", "outcome", "says"),
    [
        ({"hardware": {"cpu": "slide rule", "cores": 2}}, {"step time"}, "left out", "cpu abacus, here slide rule"),
        ({"compilers": {"traced": {"jax": "0.10.2"}, "cpu": {"jax": "0.10.2", "jaxlib": "0.11"}}},
         {"operations and memory: cpu"}, "missing", "jaxlib 0.10.2, here 0.11; 'lra ci baseline'"),
        ({"programs": {"traced": OLD.programs["traced"]}},
         {"operations and memory: cpu"}, "missing", "no compiler for cpu"),
        ({"programs": OLD.programs | {"v5e": Program(operations=1.0, bytes=1)}},
         {"operations and memory: v5e"}, "left out", "without this compiler"),
        ({"data_sha256": "other"}, {"accuracy"}, "missing", "not the baseline's"),
        ({"versions": {"jax": "0.12.0", "jaxlib": "0.12.0"}}, {"step time"}, "missing", "jax 0.10.2, here 0.12.0"),
        ({"training": Failure("it raised")}, {"accuracy"}, "missing", "it raised"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_says_why(other, quantities, outcome, says):
    all_changes = by_quantity(**other)
    told = {quantity for quantity, change in all_changes.items() if change.outcome in ("left out", "missing")}
    assert told == quantities
    for quantity in quantities:
        assert all_changes[quantity].outcome == outcome
        assert says in all_changes[quantity].why


def test_the_transformer_is_not_compared_with_itself():
    now = Now(THEN.hardware, THEN.versions, THEN.compilers, "data", {"transformer": asdict(OLD) | {"checks": {}}})
    then = replace(THEN, variants={"transformer": OLD})
    (change,) = (change for change in changes(then, now) if change.quantity == "step time")
    assert change.outcome == "left out"


def test_an_alarm_on_time_needs_two_rounds():
    slow = [1.1 * x for x in RATIOS[8:]]
    assert by_quantity(step_time=[slow, RATIOS[8:]])["step time"].outcome == "same"
    assert by_quantity(step_time=[slow, slow])["step time"].outcome == "worse"


def test_the_rank_test_counts_orders():
    """Mann-Whitney's one-sided p without ties is a count over all ways to choose which samples are the new ones."""
    rng = np.random.default_rng(0)

    def wins(both, chosen):
        return sum(both[i] > both[j] for i in chosen for j in set(range(10)) - set(chosen))

    for shift in (0, 0.5, 2):
        both = np.concatenate([rng.normal(shift, size=4), rng.normal(size=6)])
        ways = [wins(both, chosen) for chosen in itertools.combinations(range(10), 4)]
        expected = np.mean([way >= wins(both, range(4)) for way in ways])
        assert greater(both[:4], both[4:]) == pytest.approx(expected)


@given(st.lists(st.integers(1, 10_000), min_size=12, max_size=12, unique=True), st.floats(0.1, 10))
@settings(max_examples=50)
def test_time_is_judged_by_ratios_alone(ranks, unit):
    old, new = [1 + rank / 1e5 for rank in ranks[:8]], [1 + rank / 1e5 for rank in ranks[8:]]
    assert not slower(old, new) or np.median(new) > 1.05 * np.median(old)
    assert slower([unit * x for x in old], [unit * x for x in new]) == slower(old, new)
    assert slower(old, [1.2 * x for x in new]), "what is beyond all noise is always seen"


def test_samples_that_overlap_raise_no_alarm():
    """Whatever their medians are: chance orders so few samples like this more than once in a hundred times."""
    wide = [1.0, 1.01, 1.02, 1.03, 1.1, 1.2, 1.3, 1.4]
    assert not slower(wide, [1.02, 1.25, 1.35, 1.45])
    assert slower(wide, [1.41, 1.42, 1.43, 1.44])
    spread = [0.30, 0.32, 0.34, 0.36, 0.38, 0.40, 0.42, 0.44]
    then = then_with(training=trained(spread))
    assert by_quantity(then, training=trained(x - 0.04 for x in spread))["accuracy"].outcome == "same"
    assert by_quantity(then, training=trained(x - 0.15 for x in spread))["accuracy"].outcome == "worse"


def simulated(rng, slowdown, noise):
    """Whether the gate raises an alarm if samples are log-normal and each four drift together by as much again."""

    def sample():
        return list(0.5 * np.exp(rng.normal(0, noise, 4) + rng.normal(0, noise / 2)))

    old = sample() + sample()
    return all(slower(old, [slowdown * x for x in sample()]) for _ in range(2))


def test_noise_raises_no_alarm_and_ten_per_cent_do():
    rng = np.random.default_rng(0)
    measured = float(np.std(np.log(RATIOS)))
    assert sum(simulated(rng, 1.1, measured) for _ in range(100)) >= 95
    for noise in (measured, 4 * measured):
        assert sum(simulated(rng, 1.0, noise) for _ in range(300)) <= 3


def test_seeds_drawn_again_raise_no_alarm():
    """With other rounding, the same code draws other accuracies from the same distribution."""
    rng = np.random.default_rng(0)
    spread, alarms = np.std(ACCURACIES), 0
    for _ in range(300):
        draw = lambda: trained(rng.normal(0.37, spread, 8))
        then = then_with(training=draw())
        alarms += failing(by_quantity(then, training=draw())) == {"accuracy"}
    assert alarms <= 2


def test_one_lost_seed_is_no_alarm_and_half_of_them_are():
    assert by_quantity(training=trained([None, *ACCURACIES[1:]]))["accuracy"].outcome == "same"
    assert by_quantity(training=trained([None] * 5 + ACCURACIES[5:]))["accuracy"].outcome == "worse"
    assert percent(-np.inf) == "diverged"
