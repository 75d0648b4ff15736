"""A variant from outside has sizes of its own for a task: in a file beside its own, which its records keep."""

import re
from pathlib import Path

import pytest
from conftest import resolved
from made_records import make

from lra import extension, recipe
from lra.checks import CHECKS
from lra.checks.subject import Subject
from lra.errors import UsageError
from lra.files import sha256_texts
from lra.leaderboard.board import make_board
from lra.models.attention import VARIANTS
from lra.protocol import GIN
from lra.tracks import tracks

MINE = """
import jax.numpy as jnp
from flax import nnx
from lra.models.attention import register_attention


@register_attention("gated", paper="mine")
class Gated(nnx.Module):
    def __init__(self, shape, *, rngs, wide: int = 2):
        self.up = nnx.Linear(shape.dim, wide * shape.qkv_dim, rngs=rngs)
        self.gate = nnx.Linear(shape.dim, wide * shape.qkv_dim, rngs=rngs)
        self.down = nnx.Linear(wide * shape.qkv_dim, shape.dim, rngs=rngs)

    def __call__(self, x, mask):
        return self.down(self.up(x) * nnx.sigmoid(self.gate(x)))
"""
LISTOPS = "protocols/paper/listops/gated.gin"
NARROW = "# narrower, for the parameters\nencoder.qkv_dim = 256\ngated.wide = 3\n"


@pytest.fixture
def mine(tmp_path, registry) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def gated(mine: Path, task: str = "listops", overrides: tuple[str, ...] = (), **files: str):
    """The plan of a run with some files beside the variant's, by place."""
    for place, text in files.items():
        (mine.parent / place).parent.mkdir(parents=True, exist_ok=True)
        (mine.parent / place).write_text(text)
    extension.load(mine)
    return resolved(task, "gated", "paper", overrides=overrides)


def test_a_file_beside_it_counts_on_its_task_alone(mine):
    wide = gated(mine)
    assert (wide.encoder.qkv_dim, wide.options.wide, [*wide.sources]) == (512, 2, ["mine.py"])
    plan = gated(mine, **{LISTOPS: NARROW})  # the file of the variant is the same
    assert (plan.encoder.qkv_dim, plan.options.wide, plan.spec.overrides) == (256, 3, ())
    assert plan.sources == {"mine.py": MINE, LISTOPS: NARROW}
    assert gated(mine, "image").encoder.qkv_dim == resolved("image", "transformer", "paper").encoder.qkv_dim
    assert gated(mine, overrides=("encoder.qkv_dim = 128",)).encoder.qkv_dim == 128
    assert recipe.set_by_protocols("gated") == {"wide": {"paper/listops/gated": 3}}
    (mine.parent / LISTOPS).unlink()
    assert gated(mine).encoder.qkv_dim == 512


def test_what_breaks_the_rule_on_parameters_keeps_it_in_a_narrower_form(mine):
    """The check names the file that mends it."""
    find = lambda: {finding.split(":")[0]: finding for finding in CHECKS["parameters"].find(Subject(VARIANTS["gated"]))}
    extension.load(mine)
    assert find()["listops"].endswith(f"% of the Transformer's; narrow it in {LISTOPS} beside its own")
    gated(mine, **{LISTOPS: "encoder.qkv_dim = 256\n"})
    assert "listops" not in find()


def test_in_a_package_they_lie_beside_the_module(tmp_path, registry):
    path = tmp_path / "mine" / "attention.py"
    path.parent.mkdir()
    (path.parent / "__init__.py").touch()
    path.write_text(MINE)
    plan = gated(path, **{LISTOPS: NARROW})
    assert plan.encoder.qkv_dim == 256
    assert [*plan.sources] == ["mine/attention.py", "mine/__init__.py", f"mine/{LISTOPS}"]
    config, sources = plan.config, dict(plan.sources)
    assert table_of(of_record(config, sources))[0] == "paper"


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        (LISTOPS, "# more steps\ntrain.steps = 9\n", "gated.gin, line 2: train.steps = 9 is refused; under paper"),
        (LISTOPS, "encoder.qkv_dim = 1024\n", "line 1: encoder.qkv_dim = 1024 is refused"),
        (LISTOPS, "encoder.mlp_dim = 8\n", "line 1: encoder.mlp_dim = 8 is refused"),
        (LISTOPS, "listops.max_length = 9\n", "line 1: listops.max_length = 9 is refused"),
        (LISTOPS, "protocol.select = 'best'\n", "line 1: protocol.select = 'best' is refused"),
        (LISTOPS, "\ngated.wider = 9\n", "gated.gin, line 2: no parameter of gated is called 'wider'; did you mean"),
        (LISTOPS, "\nencoder.heads = 7\n", "gated.gin, line 2: encoder.qkv_dim = 512 does not divide by"),
        (LISTOPS, b"\xff\xfe", "gated.gin: these sizes of variant 'gated' count for nothing; it cannot be read"),
        ("protocols/paper/gated.gin", "", "gated.gin: these sizes of variant 'gated' count for nothing; its place is"),
        ("protocols/paper/listop/gated.gin", "", "gated.gin: protocol 'paper' has no recipe for listop"),
        ("protocols/papr/listops/gated.gin", "", "gated.gin: no protocol is called 'papr'; did you mean 'paper'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_file_and_the_line(mine, place, text, said):
    path = mine.parent / place
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=re.escape(said)) as raised:
        gated(mine)
    assert str(raised.value).startswith(str(mine.parent))
    assert "\n" not in str(raised.value)


def of_record(config: str, sources: dict[str, str]):
    """The record of a run, as if none of the machine's settings had been part of it."""
    config = "".join(line for line in config.splitlines(True) if not line.startswith("environment."))
    (steps,) = map(int, re.findall(r"^train.steps = (\d+)$", config, re.M))
    return make(
        "gated", {0: 0.5}, variant__sources=sources, variant__source_sha256=sha256_texts(sources), config=config,
        protocol__name="paper", selection="last step", parameters=8_000_000, seeds__0__step=steps,
        curve=[{"step": steps, "split": "validation", "loss": [1.0], "accuracy": [0.5]}],
    )  # fmt: skip


def table_of(record):
    """The only table and row of a record, for which the file and the variant are not there."""
    (table,) = make_board([record], tracks()).tables
    (row,) = table.rows
    return table.protocol, row.label, row.breaches


def test_the_leaderboard_takes_them_from_the_record(mine):
    config = gated(mine, **{LISTOPS: NARROW}).config
    del VARIANTS["gated"]
    assert table_of(of_record(config, {"mine.py": MINE, LISTOPS: NARROW})) == ("paper", "gated", ())
    protocol, _, breaches = table_of(of_record(config, {"mine.py": MINE}))
    assert protocol == "paper, encoder.qkv_dim = 256"
    assert breaches == ("changes the protocol (encoder.qkv_dim = 256)",)
    other = "protocols/paper/image/gated.gin"  # that of another task counts for nothing
    assert table_of(of_record(config, {"mine.py": MINE, other: NARROW}))[0] == protocol


@pytest.mark.parametrize("line", ["train.steps = 9", "encoder.qkv_dim = 1024", "encoder.mlp_dim = 8"])
def test_a_record_gets_no_more_through_its_file_than_a_run_would(mine, line):
    config = re.sub(rf"^{line.split()[0]} = .*$", line, gated(mine).config, flags=re.M)
    protocol, _, breaches = table_of(of_record(config, {"mine.py": MINE, LISTOPS: f"{line}\n"}))
    assert protocol == f"paper, {line}"
    assert breaches == (f"changes the protocol ({line})",)


def test_a_file_in_a_record_that_is_no_gin_counts_for_nothing(mine):
    config = gated(mine).config
    assert table_of(of_record(config, {"mine.py": MINE, LISTOPS: "import os\n"})) == ("paper", "gated", ())


def test_the_projects_own_variants_keep_the_rule_too():
    """What their files may set is what a file from outside may set."""
    rules = recipe.protocol_named("paper")
    narrowed = set()
    for path in sorted((GIN / "protocols" / "paper").glob("*/*.gin")):
        task, variant = path.parent.name, path.stem
        files = [recipe.read(one, "protocol") for one in recipe.recipes_of(task, None, "paper")]
        below = {binding.key: binding.value for bindings in files for binding in bindings}
        for binding in recipe.read(recipe.recipe_in(path)):
            assert recipe.may_set(binding.key, binding.value, variant, rules, below), binding.where
            narrowed |= {f"{binding.section}.{binding.parameter}"} - {f"{variant}.{binding.parameter}"}
    assert narrowed == {*rules.may_narrow}
