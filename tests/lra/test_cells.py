"""A variant that a cell of a notebook defines: its record has the cell, and the imports of the names that it needs."""

import __future__

import itertools
import linecache
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, bindings

from lra import extension
from lra.cli import main
from lra.errors import UserError
from lra.files import sha256_text
from lra.models.attention import VARIANTS, register_attention
from lra.plan import resolve
from lra.spec import RunSpec

REGISTER = '@register_attention("in_cell")\n'
HEAD = REGISTER + "def in_cell(q, k, v, mask, share: float = 0.5):\n    return "
SPEC = RunSpec("listops", "in_cell", "demo")
ONE = np.full((1, 1, 1, 1), 4.0)


@pytest.fixture(autouse=True)
def registry():
    before = dict(VARIANTS)
    yield
    VARIANTS.clear()
    VARIANTS.update(before)


@pytest.fixture
def cell() -> Callable[[str], dict[str, Any]]:
    """Runs a cell as IPython does, and returns the names of the notebook."""
    names: dict[str, Any] = {"__name__": "__main__"}
    numbers = itertools.count()

    def run(text: str) -> dict[str, Any]:
        file = f"<ipython-input-{next(numbers)}>"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec", dont_inherit=True), names)
        return names

    run("from lra import register_attention\nimport jax.numpy as jnp, math\nfrom functools import partial as p")
    yield run
    for file in [file for file in linecache.cache if file.startswith("<ipython-input-")]:
        del linecache.cache[file]


def recorded() -> dict[str, str]:
    """The sources of the variant; run again in an empty namespace, they give the same outputs."""
    made = float(VARIANTS["in_cell"].make(ONE, ONE, ONE, None)[0, 0, 0, 0])
    sources = resolve(SPEC).sources
    del VARIANTS["in_cell"]
    exec(compile(sources["__main__.py"], "<again>", "exec", dont_inherit=True), {"__name__": "again"})
    assert float(VARIANTS["in_cell"].make(ONE, ONE, ONE, None)[0, 0, 0, 0]) == made
    return sources


def test_the_record_has_the_cell_after_the_imports_of_its_names(cell):
    text = HEAD + "p(jnp.multiply, share)(v) + math.floor(len(range(2)))\n"
    cell(text)
    (path, source), *others = recorded().items()
    *imports, end = source.partition(REGISTER)
    assert (path, others, end) == ("__main__.py", [], text.removeprefix(REGISTER))
    lines = "from lra.models.attention.registry import register_attention", "import jax.numpy as jnp"
    assert {*lines, "import math", "from functools import partial as p"} == {*imports[0].splitlines()}


def test_a_cell_that_needs_no_imports_is_recorded_as_it_is(cell):
    text = f"from lra import register_attention\nSCALE = 2.0\n{HEAD}SCALE * v\n"
    cell(text)
    assert resolve(SPEC).sources == {"__main__.py": text}
    assert resolve(SPEC).source_sha256 == sha256_text(text)


def test_an_edited_cell_is_another_run(cell):
    cell(f"{HEAD}v * 2\n")
    before = resolve(SPEC)
    run = before.run_id("x")
    cell(f"{HEAD}v * 3\n")
    assert resolve(SPEC).run_id("x") != run == before.run_id("x")


@pytest.mark.parametrize(
    ("name", "first", "body"),
    [
        ("scaled", "def scaled(v):\n    return 2 * v\n", f"{HEAD}scaled(v)\n"),
        ("SCALE", "SCALE = 2.0\n", f"{HEAD}v * SCALE\n"),
        ("SCALE", "SCALE = 2.0\n", f"SCALE = SCALE * 2\n{HEAD}v * SCALE\n"),
        ("Base", "class Base:\n    pass\n", f"class Inner(Base):\n    pass\n{HEAD}v\n"),
        ("scaled", "scaled = lambda v: v\n", f"{HEAD}(lambda: [scaled(v) for _ in 'a'][0])()\n"),
        ("scaled", "scaled = p(jnp.multiply, 3)\n", f"{HEAD}scaled(v)\n"),
        ("NAME", "NAME = 'in_cell'\n", HEAD.replace('"in_cell"', "NAME") + "v\n"),
        (
            "add",
            "def add():\n    @register_attention('in_cell')\n    def f(q, k, v, mask):\n        return v\n",
            "add()\n",
        ),
        (
            "SIZE",
            "from flax import nnx\nSIZE = 3\n",
            f"{REGISTER}class A(nnx.Module):\n    def __init__(self, shape, *, rngs):\n        self.size = SIZE\n"
            "    def __call__(self, q, k, v, mask):\n        return v\n",
        ),
    ],
)
def test_what_another_cell_defines_is_refused_when_the_variant_is_to_be_trained(cell, name, first, body):
    cell(first)
    cell(body)
    plan = resolve(SPEC)  # it can be built and checked
    with pytest.raises(UserError, match=rf"'in_cell'.* uses '{name}' of another cell, .* into the same cell, or into"):
        plan.run_id("x")
    cell(first + body)
    if "p(" not in first and "nnx" not in first:
        recorded()


def test_a_cell_keeps_what_it_imports_from_the_future(cell):
    text = f"from __future__ import annotations\n{HEAD}jnp.abs(v)\n"
    cell(text)
    assert recorded()["__main__.py"].splitlines()[0] == "from __future__ import annotations"


def test_a_cell_is_recorded_under_the_future_of_earlier_cells():
    """IPython compiles each cell with the flags of those before."""
    file, text = "<ipython-input-future>", f"{HEAD}v\n".replace("float", "Unknown")
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    code = compile(text, file, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    exec(code, {"__name__": "__main__", "register_attention": register_attention})
    assert recorded()["__main__.py"].startswith("from __future__ import annotations\n")
    del linecache.cache[file]


def test_local_modules_that_a_cell_uses_are_sources_too(cell, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cell_helper.py").write_text("SCALE = 2.0\n")
    cell("import cell_helper as helper")
    cell(f"{HEAD}v * helper.SCALE\n")
    sources = resolve(SPEC).sources
    assert [*sources] == ["__main__.py", "cell_helper.py"]
    del VARIANTS["in_cell"], sys.modules["cell_helper"]
    for name, text in sources.items():
        (tmp_path / "again").mkdir(exist_ok=True)
        (tmp_path / "again" / name).write_text(text)
    extension.load(tmp_path / "again" / "__main__.py")
    assert VARIANTS.pop("in_cell").sources == sources
    (tmp_path / "cell_helper.py").write_text("SCALE = 0.0\n")  # after it was imported
    cell("import cell_helper as helper; helper.SCALE = 1.0")
    cell(f"{HEAD}v * helper.SCALE\n")
    with pytest.raises(UserError, match=r"cell_helper\.py, which was changed after it was imported \('SCALE'"):
        resolve(SPEC).run_id("x")


def test_what_was_typed_at_a_prompt_is_refused_when_it_is_to_be_trained():
    exec(compile(f"from lra import register_attention\n{HEAD}v\n", "<stdin>", "exec"), {"__name__": "__main__"})
    plan = resolve(SPEC)
    with pytest.raises(UserError, match=r"'in_cell' has no text that a record could keep; put it into a file"):
        plan.run_id("x")


def test_a_variant_that_is_refused_does_not_keep_others_from_being_trained(home, capsys):
    for name in ("first_typed", "second_typed"):
        text = f"from lra import register_attention\n{HEAD.replace('in_cell', name)}v\n"
        exec(compile(text, "<stdin>", "exec"), {"__name__": "__main__"})
    words = ["run", "--task", "listops", "--variant", "first_typed,second_typed", "--protocol", "demo"]
    assert main([*words, *bindings(*SMALL)]) == 1
    said = capsys.readouterr().err
    assert all(f"variant '{name}' has no text" in said for name in ("first_typed", "second_typed"))
    assert "2 of 2 runs failed" in said
