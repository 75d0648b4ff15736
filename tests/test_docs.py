"""The pages of docs/ and the README: their tables are the code's, their links lead somewhere, their examples run."""

import doctest
import re
import shlex
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

sys.path.insert(0, str(DOCS))
import make  # noqa: E402

from lra import cli  # noqa: E402
from lra.errors import UsageError  # noqa: E402
from lra.models.attention import VARIANTS  # noqa: E402
from lra.parameter_budget import TASKS as TASKS_OF_LRA  # noqa: E402
from lra.tasks import TASKS  # noqa: E402


@pytest.mark.parametrize("page", make.pages(), ids=lambda path: path.name)
def test_the_tables_of_a_page_are_the_codes(page):
    text = page.read_text("utf-8")
    assert text == make.filled(text), "run `.venv/bin/python docs/make.py`"


def test_each_table_is_in_one_page():
    text = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    assert sorted(re.findall(r"^<!-- table (\w+) -->$", text, re.M)) == sorted(make.TABLES)
    assert text.count("<!-- table ") == text.count("<!-- end -->")


def test_the_pages_name_every_variant_and_task():
    """In the tables that are written by hand."""
    for page, title, names in (
        ("variants.md", "## What differs from the published code", [n for n, v in VARIANTS.items() if v.is_own]),
        ("tasks.md", "## Preparing", [name for name, task in TASKS.items() if not task.stands_in_for]),
        ("install.md", "## What to expect", TASKS_OF_LRA),
    ):
        rows = re.findall(r"^\| `(\w+)` \|", (DOCS / page).read_text("utf-8").split(title)[1], re.M)
        assert sorted(rows) == sorted(names), page


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^( *)```.*?^\1```", "", page.read_text("utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    for link in links:
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)[)#]", (ROOT / "README.md").read_text("utf-8")))
    assert linked == {path.name for path in DOCS.glob("*.md")}


def test_the_commands_of_the_pages_exist():
    """In blocks of code, where each is a line."""
    calls = []
    for page in PAGES:
        fenced = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        indented = re.findall(r"^    (?! ).*$", page.read_text("utf-8"), re.M)
        calls += [(page.name, line) for line in "\n".join([*fenced, *indented]).split("\n")]
    calls = [(page, line.split(" #")[0].strip()) for page, line in calls if line.strip().startswith("lra ")]
    assert len(calls) > 10
    for page, call in calls:
        try:
            cli.parse(shlex.split(call)[1:])
        except UsageError as error:
            pytest.fail(f"{page}: {call}: {error}")


@pytest.fixture(scope="module")
def example():
    """The plan of a run of the variant that docs/own-variant.md defines. All examples of the page have run."""
    import lra

    page = DOCS / "own-variant.md"
    test = doctest.DocTestParser().get_doctest(page.read_text("utf-8"), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner()
    try:
        runner.run(test, clear_globs=False)
        assert runner.summarize().failed == 0
        assert runner.tries > 10
        sizes = (*test.globs["sizes"], "train.batch_size = 4", "train.eval_batch_size = 4")
        yield lra.resolve(lra.RunSpec("listops", "noisy_gate", "demo", overrides=sizes))
    finally:
        for name in ("noisy_gate", "dropping"):
            VARIANTS.pop(name, None)


def test_the_example_is_what_its_oracle_says(example):
    from lra.checks.oracle import differences
    from lra.checks.subject import Subject

    mask = np.arange(7) < np.array([[7], [4]])
    assert [*differences(Subject(VARIANTS["dropping"]), mask)] == []


def test_the_example_knows_training_from_evaluation(example):
    """In the arena's own steps: what it counts in training is kept, and evaluation neither counts nor draws."""
    from lra.settings import fixed
    from lra.tasks import Split
    from lra.train import Answers, step_functions

    with fixed():
        functions = step_functions(example)
        batch, length = example.train.batch_size, example.source.max_length
        split = Split(jnp.ones((batch, length), jnp.uint8), jnp.full(batch, length), jnp.zeros(batch, jnp.int32))
        rows, keys = jnp.broadcast_to(jnp.arange(batch), (3, 1, batch)), jax.random.key(0)[None]
        state = jax.jit(functions.run)(functions.init([0]), keys, jnp.int32(0), jnp.int32(3), rows, split)
        (count,) = [leaf for leaf in jax.tree.leaves(state.buffers) if leaf.dtype == jnp.int32]
        assert count.tolist() == [3]
        answers = Answers(jnp.zeros((1, 1, batch)), jnp.zeros((1, 1, batch), jnp.int32))
        batches, all_of_it = jax.tree.map(lambda column: column[None], split), (jnp.int32(0), jnp.int32(1), answers)
        evaluate = jax.jit(functions.evaluate)
        first, again = (evaluate(state.params, state.buffers, batches, *all_of_it).loss for _ in range(2))
        assert (first == again).all()
