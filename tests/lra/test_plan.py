"""A plan owns its configuration: it is the same whatever else is planned, built or run, here or in another process."""

import dataclasses
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SMALL, resolved
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from lra import extension
from lra.errors import UsageError, UserError
from lra.leaderboard.config import OF_OLD, bindings_of
from lra.models.attention import VARIANTS, register_attention
from lra.plan import resolve
from lra.recipe import merged, protocols
from lra.spec import RunSpec
from lra.train import step_functions
from lra.train_config import COMPUTE_TYPES

# on Pathfinder protocol paper has a file for each of these, with other sizes; counted by hand on built models
COUNTS = {"mega": 26_769, "linformer": 29_026, "lru": 28_930, "local": 26_530, "transformer": 26_530}


def built_parameters(plan) -> int:
    params = nnx.eval_shape(lambda: nnx.state(plan.model(nnx.Rngs(params=0, dropout=0)), nnx.Param))
    return sum(int(np.prod(leaf.shape)) for leaf in leaves(params))


def leaves(state):
    import jax

    return jax.tree.leaves(state)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (2, 4, 0, 3, 1)])
def test_plans_made_in_any_order_build_their_own_models(order):
    names = [[*COUNTS][place] for place in order]
    plans = {name: resolved("pathfinder", name, "paper") for name in names}
    for name in [*reversed(names), *names]:  # and building one does not change another
        assert built_parameters(plans[name]) == plans[name].parameters == COUNTS[name]


def test_plans_interleaved_with_training_keep_their_configurations():
    """The functions that train are made between other plans; `init` draws the parameters that the plan says."""
    first = resolved("listops", "linformer", "demo", overrides=[*SMALL])
    functions = step_functions(first)
    other = resolved("listops", "linformer", "demo", overrides=merged(SMALL, ["linformer.rank = 7", "encoder.dim = 8"]))
    state, others = functions.init([0]), step_functions(other).init([0])
    size = lambda state: sum(int(np.prod(leaf.shape)) for leaf in leaves(state.params))
    assert (size(state), size(others)) == (first.parameters, other.parameters)
    assert first.parameters != other.parameters


def test_plans_of_two_threads_keep_apart():
    counts: dict[str, set[int]] = {name: set() for name in COUNTS}
    barrier = threading.Barrier(2)

    def work(names):
        barrier.wait()
        for name in names:
            plan = resolved("pathfinder", name, "paper")
            counts[name] |= {plan.parameters, built_parameters(plan)}

    threads = [threading.Thread(target=work, args=(names,)) for names in ([*COUNTS], [*COUNTS][::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {name: {count} for name, count in COUNTS.items()}


def test_building_twice_gives_the_same_bits():
    plan = resolved("listops", "performer", "demo", overrides=SMALL)
    one = nnx.state(plan.fresh_model(3), nnx.Param)
    for other in ("local", "transformer", "s5"):
        resolved("listops", other, "paper")
    again = nnx.state(plan.fresh_model(3), nnx.Param)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(again), strict=True))


# --- The second line of defence


@pytest.fixture
def registry():
    before = dict(VARIANTS)
    yield
    VARIANTS.clear()
    VARIANTS.update(before)


@pytest.mark.usefixtures("registry")
def test_a_model_that_is_not_the_plans_stops_before_the_first_step():
    """Such a variant reads its width from a global that another part of the program changes."""
    width = {"now": 2}

    @register_attention("reads_a_global")
    class ReadsAGlobal(nnx.Module):
        def __init__(self, shape, *, rngs):
            self.inner = nnx.Linear(shape.dim, width["now"], rngs=rngs)
            self.out = nnx.Linear(width["now"], shape.dim, rngs=rngs)

        def __call__(self, x, mask):
            return self.out(self.inner(x))

    plan = resolved("listops", "reads_a_global", "demo", overrides=SMALL)
    width["now"] = 3
    with pytest.raises(UserError) as caught:
        step_functions(plan).init([0, 1])
    planned, built = plan.parameters, plan.parameters + 2 * 16 + 1
    assert f"the plan's model has {planned:,} parameters" in str(caught.value)
    assert f"the one that was built {built:,}" in str(caught.value)
    assert "nothing was trained" in str(caught.value)


@pytest.mark.usefixtures("registry")
def test_as_many_parameters_of_other_shapes_are_not_the_plans():
    order = {"now": (2, 8)}

    @register_attention("turns")
    class Turns(nnx.Module):
        def __init__(self, shape, *, rngs):
            self.weight = nnx.Param(np.ones(order["now"], np.float32))

        def __call__(self, x, mask):
            return x * self.weight.get_value().sum()

    plan = resolved("listops", "turns", "demo", overrides=SMALL)
    order["now"] = (8, 2)
    with pytest.raises(UserError, match="nothing was trained"):
        step_functions(plan).init([0])


# --- Specs


texts = st.text(max_size=12)
specs = st.builds(
    RunSpec, texts, texts, texts, seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True),
    overrides=st.lists(texts, max_size=3), imports=st.lists(texts, max_size=2),
)  # fmt: skip


@given(specs)
def test_a_spec_goes_through_json_and_pickle_and_is_a_key(spec):
    assert RunSpec.from_json(spec.to_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert {spec: 1}[RunSpec.from_json(spec.to_json())] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "with task, variant and protocol"),
        ('{"task": "listops", "variant": "local"}', "with task, variant and protocol"),
        (
            '{"task": "a", "variant": "b", "protocol": "c", "phases": 2}',
            "no phases; it was written by another version",
        ),
        ('{"task": 3, "variant": "b", "protocol": "c"}', "task = 3 of a run spec is not a text"),
        ('{"task": "a", "variant": "b", "protocol": "c", "overrides": "x.y = 1"}', "overrides = 'x.y = 1'"),
        ('{"task": "a", "variant": "b", "protocol": "c", "seeds": [0, 0]}', "seeds 0,0 are not different"),
        ('{"task": "a", "variant": "b", "protocol": "c", "seeds": [0.5]}', "seeds 0.5 are not whole numbers"),
        ('{"task": "a", "variant": "b", "protocol": "c", "seeds": [4294967296]}', "are not whole numbers from 0"),
        ('{"task": "a", "variant": "b", "protocol": "c", "seeds": []}', "are not whole numbers"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_text_that_is_no_spec_is_refused(text, says):
    with pytest.raises(UsageError) as caught:
        RunSpec.from_json(text)
    assert says in str(caught.value)


def test_a_resolved_spec_resolves_to_the_same_plan():
    """Its overrides are those that the plan uses, in one notation and order, whatever order they were given in."""
    overrides = [
        "train.steps=7",
        "cosine.base = 2e-3",
        "rsqrt.base = 1.0",
        "performer.features = 8",
        "local.radius = 5",
    ]
    plan = resolved("listops", "local", "demo", [3, 1], overrides)
    assert plan.spec.overrides == ("cosine.base = 0.002", "local.radius = 5", "train.steps = 7")
    again = resolve(RunSpec.from_json(plan.spec.to_json()))
    assert again == plan
    assert (
        again.run_id("x")
        == plan.run_id("x")
        == resolved("listops", "local", "demo", [3, 1], overrides[::-1]).run_id("x")
    )
    assert resolved("text", "local", "demo").spec.task == "synthetic_text"
    as_in_the_files = ["train.steps = 240", "local.radius = 8", "adamw.b1 = 0.9"]
    assert resolved("listops", "local", "demo", overrides=as_in_the_files) == resolved("listops", "local", "demo")


# --- Configurations


@pytest.mark.parametrize("protocol", protocols())
@pytest.mark.parametrize("variant", ["lru", "transformer", "performer"])
def test_the_configuration_has_every_value_sorted(protocol, variant):
    plan = resolved("hops" if protocol == "probe" else "pathfinder", variant, protocol)
    lines = plan.config.splitlines()
    assert lines == sorted(lines)
    names = [line.split(" = ")[0] for line in lines if not line.startswith("environment.")]
    assert len(set(names)) == len(names)
    parts = [
        plan.source,
        plan.options,
        plan.encoder,
        plan.train,
        plan.train.optimizer,
        plan.train.optimizer.learning_rate,
    ]
    assert len(names) == sum(len(dataclasses.fields(part)) for part in parts)


def test_the_order_and_type_of_the_seeds_make_no_other_run():
    listed = [RunSpec("listops", "lru", "demo", seeds) for seeds in ((2, 0, 1), [0, 1, 2], np.arange(3), range(3))]
    assert len(set(listed)) == 1
    assert all(type(seed) is int for seed in listed[2].seeds)


def test_every_value_is_part_of_the_runs_name():
    base = resolved("listops", "lru", "demo")
    changes = {
        "listops.seed = 1", "lru.state = 3", "lru.half_glu = True", "encoder.dropout = 0.1", "train.eval_every = 79",
        "adamw.clip = None", "cosine.base = 0.001", "adamw.learning_rate = @rsqrt()",
    }  # fmt: skip
    ids = {resolved("listops", "lru", "demo", overrides=[change]).run_id("x") for change in changes}
    assert len(ids | {base.run_id("x")}) == len(changes) + 1


# --- Other processes

MINE = """
from lra.models.attention import register_attention


@register_attention("pickled", paper="mine")
def pickled(q, k, v, mask, share: float = 0.5):
    return share * q + v
"""
READ = "import pickle, sys; plan = pickle.load(open(sys.argv[1], 'rb')); print(plan.parameters, plan.run_id('x'))"


def unpickled(path: Path, cwd: Path) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", READ, str(path)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=os.environ, check=False)


def test_a_plan_is_the_same_in_another_process(tmp_path, registry):
    plan = resolved("listops", "lru", "paper", [1, 2])
    assert pickle.loads(pickle.dumps(plan)) == plan
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    spec = RunSpec("listops", "pickled", "demo", overrides=("pickled.share = 0.25",), imports=(str(file),))
    mine = resolve(spec)
    (tmp_path / "plan").write_bytes(pickle.dumps(mine))
    done = unpickled(tmp_path / "plan", Path.cwd())
    assert done.stdout.split() == [str(mine.parameters), mine.run_id("x")], done.stderr
    file.write_text(MINE + "# changed\n")
    done = unpickled(tmp_path / "plan", Path.cwd())
    assert "UserError: the variant 'pickled' of this process" in done.stderr.splitlines()[-1]
    assert "has another source than the plan's" in done.stderr.splitlines()[-1]
    file.unlink()
    done = unpickled(tmp_path / "plan", Path.cwd())
    assert f"UserError: --import {file}: there is no such file" in done.stderr.splitlines()[-1]
    without = pickle.dumps(dataclasses.replace(mine, spec=dataclasses.replace(mine.spec, imports=())))
    del VARIANTS["pickled"]
    with pytest.raises(UserError, match="variant 'pickled' is not registered in this process, and its spec imports no"):
        pickle.loads(without)


def test_a_plan_finds_its_file_from_another_folder(tmp_path, registry, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    plan = resolve(RunSpec("listops", "pickled", "demo", imports=("mine.py",)))
    monkeypatch.chdir(tmp_path.parent)
    content = pickle.dumps(plan)
    del VARIANTS["pickled"]
    assert pickle.loads(content).run_id("x") == plan.run_id("x")
    assert resolve(plan.spec).spec == plan.spec


def test_a_file_is_loaded_once_and_again_when_it_has_changed(tmp_path, registry):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    assert extension.load(file) == ["pickled"]
    first = VARIANTS["pickled"]
    assert extension.load(file) == ["pickled"]
    assert VARIANTS["pickled"] is first
    file.write_text(MINE.replace("0.5", "0.75"))
    assert extension.load(file) == ["pickled"]
    assert (first.options().share, VARIANTS["pickled"].options().share) == (0.5, 0.75)
    assert first.sources == {"mine.py": MINE}


def test_the_text_that_runs_is_the_text_that_is_recorded(tmp_path, registry, monkeypatch):
    """Python's own bytecode is found by time and size: a file of the same time and size would run as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "mine.py"
    for number in "12":
        text = MINE.replace("0.5", f"0.{number}")
        file.write_text(text)
        os.utime(file, (1e9, 1e9))
        extension.load(file)
        variant = VARIANTS["pickled"]
        assert (variant.sources, variant.options().share) == ({"mine.py": text}, float(f"0.{number}"))


def test_a_file_that_changes_while_it_is_loaded_is_refused(tmp_path, registry):
    file = tmp_path / "mine.py"
    file.write_text(f"from pathlib import Path\nPath({str(file)!r}).write_text('')\n{MINE}")
    with pytest.raises(UserError, match="was changed while it was loaded"):
        extension.load(file)
    assert "pickled" not in VARIANTS


def test_files_of_one_name_in_two_folders_do_not_replace_each_other(tmp_path, registry):
    one, other = (tmp_path / folder / "mine.py" for folder in "ab")
    for file in (one, other):
        file.parent.mkdir()
        file.write_text(MINE)
    extension.load(one)
    with pytest.raises(UsageError, match="is registered already"):
        extension.load(other)
    assert VARIANTS["pickled"].file == str(one)


@pytest.mark.usefixtures("registry")
def test_a_default_is_written_as_if_it_had_been_bound():
    @register_attention("has_defaults")
    def has_defaults(q, k, v, mask, by: float = 2, width: int = None):  # noqa: RUF013
        return v * by

    plan = resolved("listops", "has_defaults", "demo")
    bound = resolved("listops", "has_defaults", "demo", overrides=["has_defaults.by = 2"])
    assert plan.config == bound.config
    assert "has_defaults.by = 2.0\nhas_defaults.width = None\n" in plan.config


def test_what_old_configurations_lack_is_the_default():
    """Or an old record and a new one of the same run would not share a row."""
    config = bindings_of(resolve(RunSpec("listops", "local", "demo")).config)
    assert {name: config[name] for name in OF_OLD} == OF_OLD


def test_a_variant_that_leaves_the_compute_type_is_refused_with_the_way_out(registry):
    @register_attention("widening", paper="mine", cost="L d")
    def widening(q, k, v, mask):
        return v.astype(jnp.float32)

    assert resolve(RunSpec("listops", "widening", "demo")).dtype == jnp.float32
    with pytest.raises(UserError, match=r"returned float32.*must return bfloat16.*compute_type = 'float32'"):
        resolve(RunSpec("listops", "widening", "demo", overrides=("train.compute_type = 'bfloat16'",)))


def test_the_compute_type_is_no_part_of_the_model_tree():
    """Parameters are float32 whatever the model computes in."""
    one, other = (
        resolve(RunSpec("listops", "transformer", "demo", overrides=(f"train.compute_type = '{name}'",)))
        for name in COMPUTE_TYPES
    )
    assert one.tree == other.tree
    assert one.config != other.config
