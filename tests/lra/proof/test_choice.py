"""Which implementation an op of a run gets, what a run notes of it, and that it keeps it."""

import json

import jax
import jax.numpy as jnp
import planted
import pytest
from conftest import SMALL, resolved
from msgspec.structs import replace

import lra
from lra.errors import UsageError, UserError
from lra.execution import execute
from lra.interrupt import Interrupted
from lra.leaderboard.record import KernelUse
from lra.models.kernels.backends import Op, deciding
from lra.progress import MAIN, silent_bar
from lra.proof import choice, store
from lra.proof.call import Call, call_of
from lra.proof.verdict import Proof, Verdict
from lra.reproduction import compare_with, run_again
from lra.tasks.prepared import load
from lra.train import step_functions
from lra.trainer import work_beside_steps

PLAN = ("listops", "local", "demo", (0, 1), SMALL)
CALL = Call("planted op", "planted", planted.Static(), planted.SHAPES, 1)


def verdicts(**times):
    return tuple(
        Verdict(name, own) if isinstance(own, tuple) else Verdict(name, (), own) for name, own in times.items()
    )


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (dict(xla=(3.0, 3.0, 3.0), plain=(2.0, 2.9, 2.0), mosaic_gpu=(1.0, 1.0, 1.0)), "mosaic_gpu"),
        (dict(xla=(3.0, 3.0, 3.0), plain=(1.0, 3.1, 1.0)), "xla"),  # not in every round
        (dict(xla=(3.0, 3.0, 3.0), plain="the output is off by 1 %"), "xla"),
        (dict(xla="out of memory", plain=(1.0, 1.0, 1.0)), "xla"),  # nothing to compare the time with
        (dict(), "xla"),
    ],
)
def test_the_fastest_is_one_that_was_faster_in_every_round(found, chosen):
    assert Proof("an op", verdicts(**found)).chosen == chosen


def test_calls_have_one_name_in_all_processes_and_another_for_each_difference():
    x = planted.Operands(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)))
    call = call_of(planted.OP, planted.Static(interpret=True), x, 2)
    assert call.words == "planted op of x w float32[2,3,4]; 2 seeds"
    assert call.key == "88833a6bcde47b85"
    others = [
        call._replace(seeds=1), call._replace(op="another"),
        call_of(planted.OP, planted.Static(), x._replace(w=jnp.zeros((2, 3, 4), jnp.bfloat16)), 2),
    ]  # fmt: skip
    assert len({call.key, *(other.key for other in others)}) == 4


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


def plain_is_fastest(trials, platform, found, stop, limit):
    """Stands for `supervise`, without a process."""
    for number, (call, _) in enumerate(trials):
        found(number, Proof(call.words, verdicts(xla=(2.0,), plain=(1.0,))))
    return ""


@pytest.fixture
def proving(monkeypatch):
    """A proof without a process. Its calls are listed, and 'plain' is the fastest of each."""
    calls: list[str] = []

    def supervise(trials, platform, found, stop, limit):
        calls.extend(call.op for call, _ in trials)
        return plain_is_fastest(trials, platform, found, stop, limit)

    monkeypatch.setattr(choice, "supervise", supervise)
    return calls


def test_what_was_proven_is_not_proven_again(own_home, proving):
    lines: list[str] = []
    for _ in range(2):
        (proof,), problem = choice.proven([CALL], lines.append)
        assert (proof.chosen, problem) == ("plain", "")
        assert proof.not_tried == (("another", "it is for even lengths of another kind"),)
    assert proving == ["planted op"]
    assert len(lines) == 2
    choice.proven([CALL], again=True)
    assert len(proving) == 2


def test_a_proof_is_of_its_machine_and_source(own_home, proving, monkeypatch):
    choice.proven([CALL])
    monkeypatch.setattr(store, "source_sha256", lambda: "another")
    choice.proven([CALL])
    assert len(proving) == 2


def test_a_damaged_file_counts_as_none(own_home, proving):
    choice.proven([CALL])
    path = store.path_of(store.machine())
    wrong = {"call": "x", "verdicts": [1], "not_tried": []}
    for text in ("{", "[]", '{"proofs": {"x": 1}}', json.dumps({"proofs": {"x": wrong}})):
        path.write_text(text)
        choice.proven([CALL])
    assert len(proving) == 5
    assert json.loads(path.read_text())["proofs"]


def test_what_may_be_of_the_moment_is_not_kept(own_home, monkeypatch):
    proof = Proof(CALL.words, verdicts(xla=(1.0,), plain="out of memory"))
    assert store.keep(store.machine(), {"name": proof}) == ""
    assert store.load(store.machine()) == {}


def test_a_home_that_cannot_be_written_costs_the_proof_alone(proving, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "file" / "home"))
    lines: list[str] = []
    (proof,), _ = choice.proven([CALL], lines.append)
    assert proof.chosen == "plain"
    assert lines[-1].startswith("the proof is not kept: ")


def test_without_a_proof_xla_is_taken_and_a_line_says_so(own_home, monkeypatch):
    monkeypatch.setattr(choice, "supervise", lambda *_: "the device is busy")
    monkeypatch.setattr(choice, "LEAST_TOKENS", 0)
    lines: list[str] = []
    plan = resolved(*PLAN)
    decide = choice.by_proof(plan, [24], 1, lines.append)
    with deciding(decide):
        choice.trace(plan, 8, 24)
    (use,) = decide.uses.values()
    assert (use.implementation, use.why) == ("xla", "not proven: the device is busy")
    assert lines[-1] == "local: kernels that were not proven: XLA is taken, since the device is busy"


def test_short_runs_and_several_devices_take_xla_and_say_why(proving, monkeypatch):
    plan = resolved(*PLAN)
    for least, devices, why in ((choice.LEAST_TOKENS, 1, "the run is too short"), (0, 2, "several devices train")):
        monkeypatch.setattr(choice, "LEAST_TOKENS", least)
        decide = choice.by_proof(plan, [24], devices)
        with deciding(decide):
            choice.trace(plan, 8, 24)
        (use,) = decide.uses.values()
        assert use.implementation == "xla"
        assert use.why.startswith(why)
    assert not proving


@pytest.mark.parametrize("variant", ["local", "longformer", "s5", "retention"])
def test_the_calls_that_are_proven_are_those_of_the_train_step(variant):
    """With microbatches, dropout and several seeds."""
    plan = resolved("listops", variant, "demo", (0, 1), [*SMALL, "train.microbatch = 4"])
    expected = {call.key for call in choice.calls_of(plan, [plan.source.max_length])}
    noted = choice.always("xla", "", 2)
    functions = step_functions(plan)
    rows = jnp.zeros((1, 2, plan.train.batch_size), jnp.int32)
    example = lra.tasks.Split(
        jnp.zeros((4, plan.source.max_length), jnp.uint8), jnp.ones(4, jnp.int32), jnp.zeros(4, jnp.int32)
    )
    state = jax.eval_shape(lambda: functions.init((0, 1)))
    keys = jax.eval_shape(lambda: jax.vmap(jax.random.key)(jnp.arange(2)))
    with deciding(noted):
        jax.eval_shape(functions.run, state, keys, 0, 1, rows, example)
    assert noted.uses.keys() == expected
    assert expected


def test_a_name_is_one_for_this_device():
    with pytest.raises(UsageError, match=r"no implementation is called 'abacus'; there are: auto, cudnn, .*plain"):
        choice.named("abacus", 1)
    with pytest.raises(UserError, match="mosaic_gpu is for gpu, and this device is a cpu; say --kernels auto"):
        choice.named("mosaic_gpu", 1)


def test_an_op_without_the_implementation_asked_for_takes_xla_and_one_that_cannot_raises():
    x = planted.Operands(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)))
    asked = choice.always("fast", "asked for", 1)
    other = Op("other", __name__, {"xla": planted.BACKENDS["xla"]}, None, None)
    globals()["OP"] = other
    assert asked(planted.OP, planted.Static(), x) == "fast"
    assert asked(other, planted.Static(), x) == "xla"
    with pytest.raises(UserError, match=r"--kernels another: planted op cannot use it here \(it is for even lengths"):
        choice.always("another", "asked for", 1)(planted.OP, planted.Static(), x)


def test_what_a_record_says_is_taken_where_it_can_be():
    x = planted.Operands(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4)))
    key = call_of(planted.OP, planted.Static(), x, 1).key
    for name, taken in (("fast", "fast"), ("another", "xla"), ("gone", "xla")):
        recorded = choice.as_recorded([KernelUse(call="", key=key, implementation=name, why="it was fast")], 1)
        assert recorded(planted.OP, planted.Static(), x) == taken
    assert choice.as_recorded([], 1)(planted.OP, planted.Static(), x) == "xla"


@pytest.fixture(scope="module")
def run(small_home, tmp_path_factory):
    """A run whose op was proven, after it was stopped once, and its results folder."""
    folder = tmp_path_factory.mktemp("results")
    patch = pytest.MonkeyPatch()
    patch.setenv("LRA_HOME", str(small_home))
    patch.setattr(choice, "LEAST_TOKENS", 0)
    patch.setattr(choice, "supervise", plain_is_fastest)
    plan = resolved(*PLAN)
    data = load(plan.task, plan.source)
    bar = silent_bar("run", plan.train.steps, work_beside_steps(plan, data))

    class Stop:
        def is_set(self):
            return bar.works[MAIN].done >= 8

    with pytest.raises(Interrupted):
        execute(plan, data, folder, bar=bar, stop=Stop())
    patch.setattr(choice, "LEAST_TOKENS", 1 << 60)  # what it began with counts, not what it would choose now
    record = execute(plan, data, folder)
    yield record, folder
    patch.undo()


def test_the_record_says_what_ran_and_why_also_of_a_run_that_was_stopped(run):
    (use,) = run[0].measured.kernels
    assert use.implementation == "plain"
    assert use.why == "plain 1000 ms; xla 2000 ms"
    assert use.call.startswith("softmax attention of q k v float32[8,24,2,8]")


def test_reproduce_takes_the_same_implementation_and_comes_to_the_same_bits(run, tmp_path):
    record, _ = run
    with lra.progress.Display() as display:
        again = run_again(record, tmp_path, False, display, silent_stop())
        assert compare_with(record, again).outcome == "to the bit"
        assert again.measured.kernels == record.measured.kernels
        xla = [replace(use, implementation="xla") for use in record.measured.kernels]
        other = replace(record, measured=replace(record.measured, kernels=tuple(xla)))
        with_xla = run_again(other, tmp_path, False, display, silent_stop())
    assert with_xla.measured.kernels[0].implementation == "xla"
    assert compare_with(record, with_xla).outcome != "to the bit", "the other form rounds otherwise"


def silent_stop():
    import threading

    return threading.Event()
