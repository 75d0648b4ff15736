"""Regressions planted in a variant: each is caught by the quantity that it should be, and nothing else fails."""

import contextlib
import itertools

import pytest
from msgspec.structs import replace

from lra import environment
from lra.ci import measure, speed
from lra.ci.baseline import WORKLOAD, Baseline, VariantBaseline
from lra.ci.changes import Now, changes
from lra.ci.measure import Work
from lra.ci.quantities import QUANTITIES, compilers

from .conftest import PLANTED

pytestmark = pytest.mark.slow

SMALL = replace(
    WORKLOAD,
    bindings=(
        "listops.min_length = 4", "listops.max_length = 20", "listops.max_depth = 2", "listops.max_args = 3",
        "listops.train = 1000", "listops.validation = 20", "listops.test = 300", "encoder.layers = 2",
        "encoder.dim = 16", "encoder.qkv_dim = 16", "encoder.heads = 2", "encoder.mlp_dim = 16",
    ),
    training=(
        "train.steps = 60", "train.batch_size = 16", "train.log_every = 20", "train.eval_every = 60",
        "train.eval_batch_size = 100", "train.select = 'last'", "cosine.base = 1e-2", "cosine.cycle = 60",
    ),
    seeds=tuple(range(6)),
    step=("listops.max_length = 64", "train.batch_size = 2"),
    pairs=1,
    processes=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory, registered):
    """Prepares the small task; gives the data and the measurements of the sound variant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(tmp_path_factory.mktemp("home")))
        work = Work(["gated"], SMALL, (), (), workers=1)
        data = measure.prepare(work)
        parts = measure.all_but_time(work, lambda count: None)["gated"]
        yield data, parts


def failing(planted, name="gated", overrides=(), parts=tuple(QUANTITIES)):
    """Measures some parts of a variant, takes the others from the sound variant, and compares with the sound variant.

    Returns:
      the quantities that fail, and all changes by their quantities.
    """
    data, sound = planted
    statuses = {check: status for check, (status, _) in sound["checks"].items()}
    old = VariantBaseline(**sound | {"checks": statuses, "step_time": ((1.0,),)})
    around = dict(hardware={}, versions=environment.versions(), compilers=compilers(), data_sha256=data)
    then = Baseline(schema=2, workload=SMALL, variants={name: old}, **around | {"hardware": {"cpu": "another"}})
    new = sound | {part: QUANTITIES[part](name, SMALL, overrides) for part in parts}
    quantities = {change.quantity: change for change in changes(then, Now(**around, variants={name: new}))}
    return {quantity for quantity, change in quantities.items() if change.fails}, quantities


def test_the_same_again_is_the_same_to_the_bit(planted):
    failed, quantities = failing(planted, parts=("training", "programs"))
    assert failed == set()
    assert quantities["accuracy"].why.startswith("the same bits")
    assert {change.outcome for change in quantities.values()} == {"same", "left out"}


@pytest.mark.release
def test_a_leak_through_padding(planted):
    failed, quantities = failing(planted, "gated_leaking", parts=("checks",))
    assert {"check: padding content", "check: padding amount"} <= failed
    assert all(quantity.startswith("check: ") for quantity in failed)
    assert "padding" in quantities["check: padding content"].why


@pytest.mark.release
def test_a_fifth_more_memory(planted):
    failed, quantities = failing(planted, "gated_hoarding", parts=("programs",))
    assert "memory: cpu" in failed
    assert 15 < float(quantities["memory: cpu"].difference.strip("+%")) < 30
    assert all(quantity.startswith(("memory: ", "operations: ")) for quantity in failed)


def test_a_learning_rate_too_high(planted):
    failed, quantities = failing(planted, overrides=("cosine.base = 3.0",), parts=("training", "programs"))
    assert failed == {"accuracy"}, quantities["accuracy"]


@pytest.mark.release
def test_one_layer_less(planted):
    failed, quantities = failing(planted, overrides=("encoder.layers = 1",), parts=("parameters", "programs"))
    assert failed == {quantity for quantity in quantities if quantity.startswith("parameters: ")}
    assert quantities["operations: cpu"].outcome == quantities["memory: cpu"].outcome == "better"


@pytest.mark.release
def test_a_step_is_timed_in_a_process_of_its_own():
    with contextlib.closing(speed.in_fresh_processes(["gated_leaking"], SMALL, (), [PLANTED])) as processes:
        (sample,) = itertools.islice(processes, 1)
    assert list(sample) == ["gated_leaking"]
    assert sample["gated_leaking"] > 0
