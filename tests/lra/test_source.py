"""The source of a variant from outside is all local modules that decide what it computes, as they were loaded."""

import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lra import extension
from lra.checks import status
from lra.environment import versions
from lra.errors import UserError
from lra.files import sha256_text
from lra.models.attention import VARIANTS
from lra.models.source.imports import distributions
from lra.plan import resolve
from lra.spec import RunSpec

REGISTERS = """
from lra.models.attention import register_attention


@register_attention("{name}")
def {name}(q, k, v, mask):
    return {result}
"""
ONE = np.ones((1, 1, 1, 1))
numbers = itertools.count()


@pytest.fixture(autouse=True)
def registry():
    before = dict(VARIANTS)
    yield
    VARIANTS.clear()
    VARIANTS.update(before)


@pytest.fixture
def tree(tmp_path) -> Callable[..., Path]:
    """Writes files, and returns the path of the first."""

    def write(folder: str = "", **texts: str) -> Path:
        paths = [tmp_path / folder / f"{name}.py" for name in texts]
        for path, text in zip(paths, texts.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            os.utime(path, (1e9, 1e9))  # so that time and size do not tell an edited file of as many characters
        return paths[0]

    return write


def mine(imports: str, result: str = "v * SCALE", name: str = "with_helper") -> str:
    return f"{imports}\n{REGISTERS.format(name=name, result=result)}"


def loaded(path: Path, name: str = "with_helper") -> tuple[list[str], float]:
    """The paths of a variant's sources, and what the variant makes of 1."""
    assert name in extension.load(path)
    return list(VARIANTS[name].sources), float(VARIANTS[name].make(ONE, ONE, ONE, None)[0, 0, 0, 0])


# --- Files beside the file that is imported


@pytest.mark.parametrize(
    ("imports", "result"),
    [
        ("import helper", "v * helper.SCALE"),
        ("from helper import SCALE", "v * SCALE"),
        ("from . import helper", "v * helper.SCALE"),
        ("from .helper import SCALE", "v * SCALE"),
        ("from helper import *", "v * SCALE"),
        ("import importlib\nhelper = importlib.import_module('.helper', __package__)", "v * helper.SCALE"),
        ("import importlib\nhelper = importlib.import_module('.hel' + 'per', __package__)", "v * helper.SCALE"),
        ("def lazily():\n    from helper import SCALE\n    return SCALE", "v * lazily()"),
        ("def lazily():\n    if True:\n        from . import helper\n        return helper.SCALE", "v * lazily()"),
    ],
)
def test_what_a_file_imports_from_its_folder_is_part_of_its_source(tree, imports, result):
    path = tree(mine=mine(imports, result), helper="SCALE = 3.0\n", unused="")
    assert loaded(path) == (["mine.py", "helper.py"], 3.0)
    before = VARIANTS["with_helper"]
    texts = {"mine.py": path.read_text(), "helper.py": "SCALE = 3.0\n"}
    lines = "".join(f"{name} {sha256_text(text)}\n" for name, text in texts.items())
    assert (before.sources, before.source_sha256) == (texts, sha256_text(lines))
    extension.load(path)
    assert VARIANTS["with_helper"] is before  # it has not run again
    tree(helper="SCALE = 0.0\n")
    assert loaded(path) == (["mine.py", "helper.py"], 0.0)
    assert VARIANTS["with_helper"].source_sha256 != before.source_sha256
    assert status.code_of_variant(VARIANTS["with_helper"]) != status.code_of_variant(before)
    assert before.sources == texts  # what has been loaded stays what it was
    assert float(before.make(ONE, ONE, ONE, None)[0, 0, 0, 0]) == 3.0


def test_the_modules_of_helpers_and_of_packages_count(tree):
    texts = {
        "mine": mine("import sub.inner\nfrom sub import other", "v * sub.inner.SCALE * other.TWO"),
        "sub/inner": "from .deep import SCALE\nimport last\nassert last.ONE == 1",
        "sub/deep": "SCALE = 5.0",
        "sub/other": "TWO = 2.0",
        "last": "ONE = 1",
    }
    path = tree(**texts)
    assert loaded(path) == (["mine.py", "last.py", "sub/deep.py", "sub/inner.py", "sub/other.py"], 10.0)


def test_a_file_inside_a_package_imports_from_the_package(tree):
    texts = {
        "pkg/variants/mine": mine("from ..common import SCALE\nimport pkg.common\nimport beside\nimport random"),
        "pkg/__init__": "",
        "pkg/variants/__init__": "from . import first",
        "pkg/variants/first": "",
        "pkg/variants/beside": "",
        "pkg/common": "SCALE = 4.0",
        "pkg/variants/random": "",  # hides nothing from a module of a package
    }
    path = tree("project", **texts)
    files = ["__init__.py", "common.py", "variants/__init__.py", "variants/beside.py", "variants/first.py"]
    assert loaded(path) == (["pkg/variants/mine.py", *(f"pkg/{file}" for file in files)], 4.0)


def test_a_package_may_be_imported_by_its_own_file(tree):
    texts = {"pkg/__init__": mine("from .helper import SCALE\nimport pkg.helper"), "pkg/helper": "SCALE = 2.0"}
    assert loaded(tree(**texts)) == (["pkg/__init__.py", "pkg/helper.py"], 2.0)


def test_a_helper_that_raises_is_named_with_the_line_that_imports_it(tree):
    for text, reason in (("1 / 0", "ZeroDivisionError"), ("x = (", "SyntaxError: .*helper.py")):
        path = tree(mine=mine("import os\nimport helper"), helper=text)
        before = {*sys.modules}
        with pytest.raises(UserError, match=rf"mine\.py, line 2: {reason}"):
            extension.load(path)
        assert {*sys.modules} == before


def test_two_folders_have_their_own_modules_of_one_name(tree):
    lazy = "def lazily():\n    import helper, importlib\n    return helper.SCALE"
    one = tree("a", mine=mine(lazy, "v * lazily()", "first_one"), helper="SCALE = 1.0")
    other = tree("b", mine=mine(lazy, "v * lazily()", "other_one"), helper="SCALE = 2.0")
    assert loaded(one, "first_one")[1] == 1.0
    assert loaded(other, "other_one")[1] == 2.0
    assert VARIANTS["other_one"].sources["helper.py"] == "SCALE = 2.0"
    assert "helper" not in sys.modules


def test_a_helper_that_registers_may_be_imported_by_two_files(tree):
    tree(base=mine("", "v", "base_one"))
    one, other = (tree(**{name: mine("import base", "v", name)}) for name in ("one_of_two", "two_of_two"))
    assert extension.load(one) == ["base_one", "one_of_two"]
    identity = VARIANTS["base_one"].source_sha256
    assert "two_of_two" in extension.load(other)
    assert VARIANTS["base_one"].source_sha256 == identity


def test_a_factory_in_a_helper_does_not_hide_the_file_that_calls_it(tree):
    factory = """
    from lra.models.attention import register_attention
    def add(name, scale):
        @register_attention(name)
        def scaled(q, k, v, mask):
            return v * scale
    """
    path = tree(mine="import helper\nhelper.add('with_helper', 6.0)", helper=factory.replace("\n    ", "\n"))
    assert loaded(path) == (["mine.py", "helper.py"], 6.0)


@pytest.mark.parametrize("name", ["my-attention", "2nd", "a.b", "x (1)", "class", "jax", "é"])
def test_a_file_may_have_any_name(tree, name):
    path = tree(**{name: mine("import jax\nassert jax.numpy\nfrom helper import SCALE"), "helper": "SCALE = 2.0"})
    paths, result = loaded(path)
    assert (paths[1:], result) == (["helper.py"], 2.0)
    assert resolve(RunSpec("listops", "with_helper", "demo", imports=(str(path),))).run_id("x")


def test_a_file_that_hides_an_installed_module_is_named(tree):
    for name in ("jax", "random"):
        path = tree(mine=mine(f"import os\nimport {name}"), **{name: ""})
        with pytest.raises(
            UserError, match=rf"mine\.py, line 2: .*'{name}' is both .*{name}\.py and .*rename the file"
        ):
            extension.load(path)
        (path.parent / f"{name}.py").unlink()


def test_a_module_without_a_text_is_refused_when_the_variant_is_to_be_trained(tree):
    path = tree(mine=mine("from helper import SCALE"), helper="SCALE = 2.0")
    import py_compile

    py_compile.compile(str(path.parent / "helper.py"), str(path.parent / "helper.pyc"))
    (path.parent / "helper.py").unlink()
    plan = resolve(RunSpec("listops", "with_helper", "demo", imports=(str(path),)))
    with pytest.raises(UserError, match=r"'with_helper' .* imports .*helper\.pyc, which is no text"):
        plan.run_id("x")


def test_a_helper_in_an_encoding_of_its_own_is_recorded_as_it_ran(tree):
    path = tree(mine=mine("from helper import SCALE, WORD\nassert WORD == 'é'"), helper="")
    (path.parent / "helper.py").write_bytes("# coding: latin-1\nSCALE, WORD = 2.0, 'é'\n".encode("latin-1"))
    assert loaded(path)[1] == 2.0
    again = tree("again", mine=path.read_text(), helper=VARIANTS["with_helper"].sources["helper.py"])
    del VARIANTS["with_helper"]
    assert loaded(again)[1] == 2.0


def test_the_packages_that_a_variant_imports_have_their_versions_in_the_record(tree):
    path = tree(mine=mine("from helper import SCALE"), helper="import PIL\nimport numpy\nSCALE = 1.0")
    loaded(path)
    packages = VARIANTS["with_helper"].source.packages
    assert packages == {"PIL", "numpy"}
    assert versions(packages).items() - versions().items() == {("pillow", importlib.metadata.version("pillow"))}


def test_a_module_that_a_function_imports_by_a_computed_name_is_refused(tree):
    lazy = "import importlib\ndef lazily():\n    return importlib.import_module('.hel' + 'per', __package__).SCALE"
    path = tree(mine=mine(lazy, "v * lazily()"), helper="SCALE = 2.0")
    plan = resolve(RunSpec("listops", "with_helper", "demo", imports=(str(path),)))
    with pytest.raises(UserError, match=r"imports .*helper\.py by a computed name when it is called; write an import"):
        plan.run_id("x")


# --- Modules that Python imports in its own way: those of packages, and what a script or a notebook imports


@pytest.fixture
def installed(tmp_path, monkeypatch, tree) -> Callable[..., str]:
    """Puts modules where Python finds them, and returns the name of the package that they are in."""

    def write(site: str = "site", **texts: str) -> str:
        name = f"installed_{next(numbers)}"
        tree(f"{site}/{name}", **texts)
        monkeypatch.syspath_prepend(tmp_path / site)
        return name

    yield write
    for name in [name for name in sys.modules if name.startswith("installed_")]:
        del sys.modules[name]


@pytest.mark.parametrize("site", ["site", "site-packages"])
def test_an_installed_package_is_all_of_its_modules_that_are_imported(installed, tree, tmp_path, site):
    name = installed(
        site,
        __init__="from . import mine",
        mine=mine("import importlib\nfrom .helper import SCALE\nimportlib.import_module(f'{__package__}.' + 'found')"),
        helper="SCALE = 2.0",
        found="",
        unused="",
    )
    info = tmp_path / site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lra.attention]\nany = {name}\n")
    extension.load_installed.__wrapped__()
    sources = VARIANTS["with_helper"].sources
    assert list(sources) == [f"{name}/{file}.py" for file in ("mine", "__init__", "found", "helper")]
    again = tree("again", **{path.removesuffix(".py"): text for path, text in sources.items()})
    identity = VARIANTS.pop("with_helper").source_sha256
    assert loaded(again)[1] == 2.0
    assert VARIANTS["with_helper"].source_sha256 == identity


def test_other_installed_packages_are_none_of_its_modules(installed, tree, tmp_path):
    """The modules of one package belong together, though they lie side by side."""
    other = installed("site-packages", __init__="SCALE = 2.0")
    names = [f"installed_{next(numbers)}" for _ in range(2)]
    texts = mine(f"from {names[1]} import SCALE\nimport {other}\nimport jax"), "SCALE = 3.0\n"
    tree("site-packages", **dict(zip(names, texts)))
    for package, tops in (("one", names), ("another", [other])):
        info = tmp_path / "site-packages" / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        (info / "top_level.txt").write_text("\n".join(tops))
    distributions.cache_clear()
    importlib.import_module(names[0])
    assert VARIANTS["with_helper"].sources == dict(zip([f"{name}.py" for name in names], texts))
    assert versions(VARIANTS["with_helper"].source.packages)["another"] == "1.5"
    distributions.cache_clear()


HELPER = '''"""Any."""
SCALE = 2.0


def scaled(v):
    return v * 3.0


class Scaled:
    def by(self, v):
        return v * 5.0
'''


@pytest.mark.parametrize(("old", "new"), [("2.0", "9.0"), ("3.0", "0.0"), ("5.0", "1.0")])
def test_a_helper_that_was_edited_after_it_was_imported_is_refused(installed, tree, old, new):
    """As in a notebook: Python keeps the module that it has, so a record of the text would be of other code."""
    name = installed(__init__="", helper=HELPER, mine=mine("from .helper import SCALE"))
    importlib.import_module(f"{name}.helper")
    tree(f"site/{name}", helper=HELPER.replace(old, new))
    importlib.import_module(f"{name}.mine")
    with pytest.raises(UserError, match=r"helper\.py, which was changed after it was imported .*; start Python anew"):
        assert VARIANTS["with_helper"].sources
    tree(f"site/{name}", helper=HELPER)
    importlib.reload(sys.modules[f"{name}.mine"])
    assert VARIANTS["with_helper"].sources[f"{name}/helper.py"] == HELPER


def test_what_is_replaced_in_a_helper_is_refused(installed):
    name = installed(__init__="", helper=HELPER, mine=mine("from .helper import SCALE"))
    importlib.import_module(f"{name}.mine")
    assert VARIANTS["with_helper"].sources
    sys.modules[f"{name}.helper"].scaled = lambda v: 0 * v
    with pytest.raises(UserError, match=r"helper\.py, which was changed after it was imported \('scaled' is another"):
        assert VARIANTS["with_helper"].sources


def test_what_is_edited_after_the_variant_was_registered_is_recorded_as_it_was_loaded(installed, tree):
    name = installed(__init__="", helper=HELPER, mine=mine("from .helper import SCALE"))
    importlib.import_module(f"{name}.mine")
    tree(f"site/{name}", helper="SCALE = 0.0\n")
    assert VARIANTS["with_helper"].sources[f"{name}/helper.py"] == HELPER


def test_no_module_that_was_loaded_from_its_text_is_called_another():
    from lra.models.source.loaded import stray

    modules = [module for name, module in [*sys.modules.items()] if name.split(".")[0] in ("lra", "optax")]
    of_files = [module for module in modules if getattr(module, "__file__", None) and module.__file__.endswith(".py")]
    assert len(of_files) > 100
    assert {m.__name__: found for m in of_files if (found := stray(m, m.__file__, Path(m.__file__).read_text()))} == {}
