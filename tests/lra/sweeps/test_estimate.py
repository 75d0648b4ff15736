"""How long cells take is estimated from what is known: compared with numbers that are computed by hand."""

import pytest
from conftest import SMALL, resolved
from made_records import make

from lra.plan import untraced
from lra.recipe import merged
from lra.reproduction import spec_of
from lra.spec import RunSpec
from lra.sweeps.estimate import Timed, estimate, operations_of, timed

HERE = {"platform": "cpu", "device": "cpu", "cpu": "One", "cores": 2}
GPU = {"platform": "gpu", "device": "NVIDIA H200", "cpu": "One", "cores": 2}


def plan(variant="local", seeds=(0,), *overrides):
    return untraced(RunSpec("listops", variant, "demo", seeds, tuple(merged(SMALL, overrides))))


def test_the_operations_of_a_transformer_are_those_of_its_products():
    """Of products that are large enough that all else is little."""
    batch, length, dim, inner, hidden = 4, 256, 128, 64, 512
    sizes = [f"encoder.dim = {dim}", f"encoder.qkv_dim = {inner}", f"encoder.mlp_dim = {hidden}", "encoder.layers = 2",
             "encoder.heads = 2", f"train.batch_size = {batch}", f"listops.max_length = {length}",
             "encoder.dropout = 0.0", "encoder.attention_dropout = 0.0"]  # fmt: skip
    products = 2 * batch * length * (4 * dim * inner + 2 * dim * hidden + 2 * length * inner)
    assert 2 * products < operations_of(plan("transformer", (0,), *sizes)) < 1.3 * 2 * products


def test_what_an_equal_run_took_is_what_a_cell_takes():
    asked = plan(seeds=(4, 5))  # 20 steps
    known = [Timed(plan(seeds=(0, 1)), rate, 3.0, HERE) for rate in (2.0, 4.0, 5.0)]
    others = [Timed(plan(seeds=(0, 1, 2)), 100.0, 0.0, HERE), Timed(plan("fnet", (0, 1)), 100.0, 0.0, HERE)]
    assert estimate([asked], others + known, HERE) == [3 + 20 / 4]


def test_another_number_of_seeds_or_steps_takes_its_share():
    known = [Timed(plan(seeds=(0,)), 10.0, 3.0, HERE)]
    assert estimate([plan(seeds=(0, 1, 2)), plan("local", (0,), "train.steps = 50")], known, HERE) == pytest.approx(
        [3 + 3 * 20 / 10, 3 + 50 / 10]
    )


def test_else_operations_are_divided_by_the_median_rate_of_the_runs_most_alike():
    asked = plan("transformer")
    work = operations_of(asked)
    rates = {"fnet": 1e6, "local": 2e6, "linear": 8e6}
    known = [Timed(plan(name), rate / operations_of(plan(name)), 4.0, HERE) for name, rate in rates.items()]
    assert estimate([asked], known, HERE) == pytest.approx([4 + 20 * work / 2e6])
    longer = plan("transformer", (7,), "train.steps = 30")
    same_variant = [*known, Timed(longer, 5e6 / work, 4.0, HERE)]
    assert estimate([asked], same_variant, HERE) == pytest.approx([4 + 20 * work / 5e6])
    other_type = Timed(plan("transformer", (0,), "train.compute_type = 'bfloat16'"), 9e9, 0.0, HERE)
    assert estimate([asked], [*known, other_type], HERE) == pytest.approx([4 + 20 * work / 2e6])


def test_only_runs_on_such_hardware_count():
    known = [Timed(plan(), 10.0, 0.0, HERE)]
    assert estimate([plan(), plan("fnet")], known, HERE | {"cores": 4}) == [None, None]
    assert estimate([plan()], known, GPU) == [None]
    assert estimate([], known, HERE) == []
    of_gpu = [Timed(plan(), 10.0, 0.0, GPU)]
    assert estimate([plan()], of_gpu, GPU | {"cores": 64, "devices": 1, "mesh": {"seeds": 1}}) == [2.0]
    assert estimate([plan()], of_gpu, GPU | {"devices": 8}) == [None]


def test_records_tell_how_fast_their_runs_were():
    seen = resolved("listops", "local", "demo", (0, 1), SMALL)
    made = {"config": seen.config, "protocol__overrides": list(seen.spec.overrides), "measured__steps_per_second": 4.0,
            "measured__hardware": GPU | {"compute_type": "float32"}}  # fmt: skip
    record = make("local", {0: 0.5, 1: 0.5}, **made)
    (one,) = timed([record])
    assert (one.plan.seeds, one.plan.config, one.steps_per_second) == (spec_of(record).seeds, seen.config, 4.0)
    assert estimate([seen], [one], GPU) == [2 + 20 / 4]


@pytest.mark.parametrize(
    "changes",
    [{"measured__steps_per_second": None}, {"status": "failed", "error": "no"}, {"variant__name": "gone"},
     {"task__name": "gone"}, {"config": "train.steps = 0\n"},
     {"measured__hardware": GPU | {"earlier": [HERE]}}],
)  # fmt: skip
def test_a_record_that_tells_nothing_is_left_out(changes):
    seen = plan(seeds=(0, 1))
    fine = {"config": seen.config, "protocol__overrides": list(seen.spec.overrides)}
    assert len(timed([make("local", {0: 0.5, 1: 0.5}, **fine)])) == 1
    assert timed([make("local", {0: 0.5, 1: 0.5}, **fine | changes)]) == []
