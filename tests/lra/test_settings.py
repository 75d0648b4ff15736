"""Settings from outside: nobody's change a run without a word, and what is their fault is no variant's."""

import contextlib
import re
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import SMALL, bindings, lra, resolved
from made_records import changed

from lra import environment, execution, settings
from lra.errors import UserError
from lra.interrupt import Interrupted
from lra.leaderboard import store
from lra.leaderboard.config import environment_of
from lra.leaderboard.reading import read
from lra.models.attention import register_attention
from lra.models.kernels import backends
from lra.tasks.prepared import load

# as the environment variables of the same names set them, or a user's code
HOSTILE = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_default_matmul_precision": "bfloat16",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_debug_nans": True,
    "jax_disable_jit": True,
    "jax_softmax_custom_jvp": True,
    "jax_transfer_guard": "disallow",
}


@contextlib.contextmanager
def ambient(**values):
    before = {name: jax.config.values.get(name) for name in values}
    try:
        for name, value in values.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, "allow" if name == "jax_transfer_guard" else value)


def planned(*more: str, variant: str = "local", seeds=(0,)):
    return resolved("listops", variant, "demo", seeds, [*SMALL, *more])


def data_of(plan):
    return load(plan.task, plan.source)


def answers(record):
    return [(seed.test, seed.predictions) for seed in record.seeds], record.config, record.parameter_tree_sha256


@pytest.fixture(scope="module")
def undisturbed(small_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(small_home))
        plan = planned()
        return execution.execute(plan, data_of(plan), tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_setting_changes_what_a_run_starts_from(name):
    plain = planned()
    with ambient(**{name: HOSTILE[name]}):
        plan = planned()
        model = jax.tree.leaves(jax.tree.map(np.asarray, jax.device_get(raw(plan.fresh_model(3)))))
    expected = jax.tree.leaves(jax.tree.map(np.asarray, raw(plain.fresh_model(3))))
    assert (plan.config, plan.tree) == (plain.config, plain.tree)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(model, expected, strict=True))


def raw(model):
    from flax import nnx

    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def test_under_all_settings_a_run_is_the_same_to_the_bit(undisturbed, home, tmp_path):
    """Also if they are there for a part of it only, and if NumPy raises."""
    plan, stop = planned(), threading.Event()
    stop.set()
    with ambient(**HOSTILE), np.errstate(all="raise"), pytest.raises(Interrupted):
        execution.execute(plan, data_of(plan), tmp_path, stop=stop)
    assert answers(execution.execute(plan, data_of(plan), tmp_path)) == answers(undisturbed)


def test_what_cannot_be_fixed_is_part_of_the_run(home, tmp_path, monkeypatch):
    plan = planned()
    run = plan.run_id("data")
    monkeypatch.setenv("XLA_FLAGS", " --xla_cpu_enable_fast_math=true  --xla_dump_to=/tmp/x ")
    other = planned()
    assert "environment.XLA_FLAGS = '--xla_cpu_enable_fast_math=true'" in other.config.splitlines()
    assert other.run_id("data") != run
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/y --xla_cpu_enable_fast_math=true")
    assert planned().config == other.config
    with ambient(jax_random_seed_offset=3):
        assert "environment.jax_random_seed_offset = 3" in planned().config.splitlines()
    with backends.use("xla"):
        assert "environment.backend = 'xla'" in planned().config.splitlines()
    with pytest.raises(UserError, match="this process has XLA_FLAGS='--xla_cpu_enable_fast_math=true'"):
        execution.execute(plan, data_of(plan), tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ()),
        ({"XLA_FLAGS": " "}, ()),
        ({"XLA_FLAGS": "--b=1 --a=2 --b=3"}, (("XLA_FLAGS", "--a=2 --b=3"),)),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, ()),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, (("NVIDIA_TF32_OVERRIDE", "0"),)),
        ({"JAX_USE_DIRECT_LINEARIZE": "1"}, (("jax_use_direct_linearize", True),)),
        ({"FLAX_PRESERVE_ADOPTED_NAMES": "1", "FLAX_PROFILE": "0"}, (("FLAX_PRESERVE_ADOPTED_NAMES", "1"),)),
        ({"JAX_ENABLE_X64": "1", "JAX_LOG_COMPILES": "1", "JAX_PLATFORMS": "cpu"}, ()),
    ],
)
def test_settings_from_outside(variables, expected):
    assert settings.from_outside(variables) == expected


def test_a_file_of_flags_counts_by_its_text(tmp_path):
    (tmp_path / "flags").write_text("--b=1\n--a=ü\n")
    variables = {"XLA_FLAGS": str(tmp_path / "flags")}
    assert settings.from_outside(variables) == (("XLA_FLAGS", "--a=\\xfc --b=1"),)
    with pytest.raises(UserError, match=r"XLA_FLAGS=.*nothing names a file of flags that cannot be read"):
        settings.from_outside({"XLA_FLAGS": str(tmp_path / "nothing")})


def test_a_repetition_says_under_which_settings_it_was_made(undisturbed):
    from lra.commands.submissions import made_with

    own = "environment.XLA_FLAGS = '--xla_cpu_enable_fast_math=true'\n"
    fast = changed(undisturbed, "config", "".join(config_without_settings(undisturbed)) + own)
    assert made_with(fast).endswith("; XLA_FLAGS = '--xla_cpu_enable_fast_math=true'")
    assert environment_of(undisturbed) == tuple(f"{name} = {value!r}" for name, value in settings.from_outside())


def config_without_settings(record) -> list[str]:
    return [line for line in record.config.splitlines(True) if not line.startswith("environment.")]


def test_the_docs_list_every_setting():
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    listed = set(re.findall(r"`(\w+)`", text.split("## Settings from outside")[1].split("\n## ")[0]))
    assert {*settings.FIXED, *settings.VARIABLES, *settings.DEFAULTS} <= listed


# --- Whose fault it is


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("JAX_PLATFORMS", "cuda", "JAX_PLATFORMS=cuda: JAX cannot use it"),
        (
            "JAX_ENABLE_X64",
            "maybe",
            "JAX refuses its settings (invalid truth value 'maybe' for environment 'JAX_ENABLE_X64')",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_one_line_and_nothing_is_written(variable, value, says, home, tmp_path):
    """No check is saved as failed, no run recorded as failed."""
    small = ["--task", "listops", "--variant", "local", "--protocol", "demo", *bindings(*SMALL)]
    for words, own_home in ((["check", "local"], tmp_path / "home"), (["run", *small], home)):
        done = lra(*words, cwd=tmp_path, **{variable: value, "LRA_HOME": str(own_home)})
        assert done.returncode == 1
        # JAX itself may log what hinders a plugin for the device
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("lra: "))
        assert says in line
        assert "Traceback" not in done.stderr.split("lra: ")[1]
        assert not done.stdout
    assert not list(tmp_path.rglob("*.json"))


def test_a_setting_of_flax_that_breaks_every_variant_is_named(monkeypatch):
    from flax import config

    with config.temp_flip_flag("hijax_variable", True), pytest.raises(UserError, match="FLAX_HIJAX_VARIABLE is set"):
        planned()


def raising(name: str, when: list) -> None:
    """Registers a variant that raises while `when` has something in it."""

    @register_attention(name)
    def f(q, k, v, mask):
        if when:
            raise when[0]
        return v


@pytest.mark.usefixtures("registry")
def test_only_what_the_variant_raised_is_recorded_as_its_failure(home, tmp_path, monkeypatch):
    raising("raising", fault := [])
    plan = planned(variant="raising")
    data = data_of(plan)
    files = lambda: [*store.folder_of(tmp_path).glob("*.json")]

    elsewhere: dict = {}
    exec(compile("def out_of_memory(self): raise MemoryError('of the host')", "elsewhere.py", "exec"), elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(execution.Trainer, "train_and_score", elsewhere["out_of_memory"])
        with pytest.raises(UserError, match="not recorded, since no line of the variant raised it"):
            execution.execute(plan, data, tmp_path)
    assert not files()
    fault.append(ValueError("mine"))
    with pytest.raises(UserError, match=r"failed \(ValueError: mine\); recorded in"):
        execution.execute(plan, data, tmp_path)
    assert [read(path).status for path in files()] == ["failed"]
    fault.clear()
    good = execution.execute(plan, data, tmp_path)
    assert [read(path) for path in files()] == [good]  # it replaces the failure
    fault.append(ValueError("again"))
    with pytest.raises(UserError, match="not recorded, since the record of an earlier run would be lost"):
        execution.execute(plan, data, tmp_path, anew=True)
    assert [read(path) for path in files()] == [good]


def test_a_run_that_two_machines_trained_says_so(home, tmp_path, monkeypatch):
    plan, stop = planned(), threading.Event()
    stop.set()
    with monkeypatch.context() as patch:
        patch.setattr(environment, "versions", lambda: {"jax": "0.9.0"})
        with pytest.raises(Interrupted):
            execution.execute(plan, data_of(plan), tmp_path, stop=stop)
    record = execution.execute(plan, data_of(plan), tmp_path)
    (earlier,) = record.measured.hardware["earlier"]
    assert earlier["versions"] == {"jax": "0.9.0"}
    assert 0 < earlier["until_step"] < plan.train.steps
    assert record.measured.versions["jax"] == jax.__version__
    (path,) = store.folder_of(tmp_path).iterdir()
    assert read(path) == record
