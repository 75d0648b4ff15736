"""The pages as text: whole, the same bytes every time, whatever the records say."""

import os
import random
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import made_site
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import Json, changed, make
from made_site import BENCHMARK, SOURCE, records, view

from lra.leaderboard import site
from lra.leaderboard.site.markup import element, join
from lra.leaderboard.site.run_page import command, run_page

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """A page as a parser sees it. Parsing fails if elements do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []  # name, attributes, ancestors
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), list(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.elements if tag == name]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes, _ in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return site.pages(view(records(), ["a.json cannot be read"], [BENCHMARK]))


@pytest.fixture(scope="module")
def parsed(pages) -> dict[str, Page]:
    return {name: Page(text) for name, text in pages.items() if name.endswith(".html")}


# --- Whole ----------------------------------------------------------------------------------------------------


def test_one_page_a_run_and_every_reference_leads_somewhere(pages, parsed):
    assert {name for name in pages if name.startswith("runs/")} == {f"runs/{r.run}.html" for r in records()}
    for name, page in parsed.items():
        ids = page.values("id")
        assert len(set(ids)) == len(ids)
        named = [
            word for key in ("aria-labelledby", "aria-describedby") for v in page.values(key) for word in v.split()
        ]
        assert {*named} <= {*ids}
        for link in [*page.values("href"), *page.values("src")]:
            if link == "data:,":
                continue
            target, _, place = link.partition("#")
            if target.startswith("https://"):
                assert target.startswith("https://arxiv.org/abs/")  # a paper, for people; nothing is loaded
                assert link in [attributes.get("href") for attributes in page.all("a")]
                continue
            whole = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            assert whole in pages
            if place:
                assert place in parsed[whole].values("id")


def test_the_row_of_a_run_links_to_it_and_its_page_back(parsed):
    for record in records():
        (back,) = [a for a in parsed[f"runs/{record.run}.html"].all("a") if a["href"].startswith("../index.html#")]
        anchor = back["href"].partition("#")[2]
        assert [a["href"] for a in parsed["index.html"].all("a") if a.get("id") == anchor] == [
            f"runs/{record.run}.html"
        ]


def test_tables_have_captions_scopes_and_full_rows(pages, parsed):
    for page in parsed.values():
        assert len(page.all("caption")) == len(page.all("table"))
        landmarks = [a["aria-labelledby"] for tag, a, _ in page.elements
                     if "aria-labelledby" in a and (tag == "section" or a.get("role") == "region")]  # fmt: skip
        assert len(set(landmarks)) == len(landmarks)
        assert {th.get("scope") for th in page.all("th")} <= {"col", "row", "rowgroup"}
    for table in re.findall(r"<table>(.*?)</table>", "".join(pages.values()), re.S):
        columns = table.count('scope="col"')
        rows = [len(re.findall("<t[hd]", row)) for row in re.findall("<tr(.*?)</tr>", table, re.S)[1:]]
        assert {*rows} <= {columns, 1}


def test_pictures_have_titles_and_descriptions(parsed):
    for page in parsed.values():
        for svg in page.all("svg"):
            assert svg["role"] == "img"
            assert svg["aria-labelledby"]
            assert svg["aria-describedby"]
    assert (
        len(parsed["index.html"].all("svg")) == 11
    )  # strips, two tasks' bars and clouds, two lengths of the literature, four of the benchmark


def test_the_literature_is_in_sections_of_its_own_with_its_notes(pages):
    index = pages["index.html"]
    ours, theirs = index.split(">From the literature</p>", 1)
    sections = theirs.split("<section")
    assert "Measured with lra" not in theirs
    assert "runs/" not in "".join(sections)
    for sheet in made_site.literature.sheets():
        assert f'id="{sheet.name}"' in ours + theirs
        for _, note in sheet.notes:
            assert str(join(note)) in theirs


def test_rows_that_are_not_ranked_stand_apart_with_the_reason(pages):
    apart = pages["index.html"].split('<tbody class="unranked">')[1].split("</tbody>")[0]
    assert "mega</a>" in apart
    assert "scores by last step" in apart
    assert len(re.findall("data-row", apart)) == 1


def test_tables_of_one_task_with_other_data_are_told_apart():
    index = site.pages(view([make("local", {0: 0.5}), make("local", {0: 0.5}, task__version="2.0.0")]))["index.html"]
    names = re.findall(r'<a href="#(demo-listops[^"]*)">(.*?)</a>', index)
    assert len({name for name, _ in names}) == len({label for _, label in names}) == 2
    assert "listops 2.0.0" in index.split("</nav>")[0]


def test_left_out_files_close_the_page(pages):
    assert "a.json cannot be read" in pages["index.html"].split("From the literature</p>")[-1]
    assert "left_out" not in site.pages(view(records()[:1]))["index.html"]


def test_every_page_forbids_all_that_is_not_the_sites_own(parsed):
    for page in parsed.values():
        (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == "'self' file:"
        assert [*page.values("style"), *page.all("style")] == []


# --- The same bytes -----------------------------------------------------------------------------------------------


def test_the_order_of_records_and_the_hash_seed_do_not_matter(pages, tmp_path):
    shuffled = random.Random(3).sample(records(), len(records()))
    assert site.pages(view(shuffled, ["a.json cannot be read"], [BENCHMARK])) == pages
    program = (
        "import hashlib, made_site as m; from lra.leaderboard import site\n"
        "pages = site.pages(m.view(m.records(), ['a.json cannot be read'], [m.BENCHMARK]))\n"
        "print(hashlib.sha256(repr(sorted(pages.items())).encode()).hexdigest())"
    )
    here = os.path.dirname(made_site.__file__)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([here, os.path.dirname(here)]), "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    assert other.strip() == made_site.hashlib.sha256(repr(sorted(pages.items())).encode()).hexdigest()


# --- Making a run again -------------------------------------------------------------------------------------------


def test_the_command_names_all_that_decides_a_run():
    record = made_site.run(
        "local", [0.5, 0.6], 1, 1, protocol__overrides=["listops.test = 50", "local.note = '; rm $x'"]
    )
    assert shlex.split(command(record)) == [
        "lra", "prepare", "listops", "--protocol", "demo", "--gin", "listops.test = 50", "&&", "lra", "run", "--task",
        "listops", "--variant", "local", "--protocol", "demo", "--seeds", "0,1", "--gin", "listops.test = 50", "--gin",
        "local.note = '; rm $x'",
    ]  # fmt: skip


def test_a_page_says_under_which_settings_and_on_which_machines_the_run_was_made():
    own = "environment.XLA_FLAGS = '--a=1 --b'\nenvironment.jax_random_seed_offset = 3\n"
    earlier = {"device": "NVIDIA H200", "earlier": [{"until_step": 3}]}
    record = make("local", {0: 0.5}, config=own, measured__hardware=earlier)
    words = shlex.split(command(record))
    assert words[words.index("&&") + 1 :][:5] == [
        "env",
        "XLA_FLAGS=--a=1 --b",
        "JAX_RANDOM_SEED_OFFSET=3",
        "lra",
        "run",
    ]
    assert "NVIDIA H200; another machine trained the first steps" in Page(run_page(record, "x", "", ())).text
    for damaged in ("environment.XLA_FLAGS = @x()\n", "environment.XLA_FLAGS\n"):
        assert "env" not in shlex.split(command(make("local", {0: 0.5}, config=damaged)))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=15)
def test_the_shell_reads_bindings_as_they_are(binding):
    record = make("local", {0: 0.5}, protocol__overrides=[f"local.note = {binding}"])
    words = subprocess.run(
        ["sh", "-c", "lra() { printf '%s\\0' \"$@\"; }; " + command(record)], capture_output=True, check=True
    ).stdout.split(b"\0")
    assert words[-2].decode() == f"local.note = {binding}"


def test_a_variant_from_outside_is_reproduced_from_its_record_and_shows_its_source(pages):
    (record,) = [record for record in records() if record.variant.name == "own"]
    assert shlex.split(command(record)) == ["lra", "reproduce", f"listops.demo.own.{record.run}.json", "--trust"]
    page = Page(pages[f"runs/{record.run}.html"])
    assert SOURCE in page.text
    texts = {"pkg/own.py": SOURCE, "pkg/helper.py": "SCALE = 2 < 3\n"}
    shown = Page(run_page(changed(record, "variant.sources", texts), record.run, "", ())).text
    assert all(part in shown for item in texts.items() for part in item)


# --- Bad input ----------------------------------------------------------------------------------------------------

ODD = st.text(max_size=40) | st.sampled_from(
    [
        "</pre></code><script>alert(1)</script>", '" onload="alert(1)', "'><img src=x onerror=alert(1)>", "<!--", "]]>",
        "&amp;&#0;", "\x00\x1b[31m\u202e", "../../etc/passwd", r"\input{x}", "\n\nx", "a" * 10_000, "javascript:x",
    ]
)  # fmt: skip
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def made_odd(texts: list[str]) -> Json:
    a, b, c, d, e, f, g, h = texts
    return make(
        "local", {0: 0.5}, variant__sources={"a.py": f"x{a}", f"x{b}": f"x{c}"}, variant__source_sha256=b,
        error=f"x{c}", variant__paper=e,
        config=f"train.select = 'best'\ntrain.steps = 240\n# {d}", measured__finished_at=f, task__version=g,
        protocol__overrides=[f"local.note = {h}"], measured__hardware={"device": f"x{a}"},
        measured__versions={"jax": b}, measured__git={"commit": f"x{c}", "dirty": d},
        task__parameters={"max_length": e},
    )  # fmt: skip


def skeleton(page: Page) -> list[tuple[str, list[str]]]:
    return [(tag, ancestors) for tag, _, ancestors in page.elements if tag not in ("title", "a", "svg", "text", "g")]


@given(st.lists(ODD, min_size=8, max_size=8))
@settings(max_examples=40)
def test_no_text_of_a_record_changes_a_page(texts):
    _, _, _, d, e, *_ = texts
    harmless, odd = (made_odd(texts) for texts in (["x"] * 8, texts))
    plain, pages = (site.pages(view([record], [f"x{text}"])) for record, text in ((harmless, ""), (odd, d)))
    for name, other in zip(sorted(pages), sorted(plain)):
        if name.endswith(".html"):
            page = Page(pages[name])
            assert {key for key in page.values("href") if ":" in key} <= {"data:,", f"https://arxiv.org/abs/{e}"}
            assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', pages[name]))
            assert len(page.all("script")) == 1
            assert not CONTROLS.search(pages[name])
            assert skeleton(page) == skeleton(Page(plain[other]))
    shown = Page(pages[f"runs/{odd.run}.html"]).text
    assert CONTROLS.sub("\ufffd", d) in shown


@given(st.text())
def test_a_text_is_a_text(text):
    page = Page(join(element("p", text, title=text)))
    same = CONTROLS.sub("\ufffd", text)
    assert page.elements == [("p", {"title": same}, [])]
    assert page.text == same


EXTREME = {
    "curve": [{"step": step, "split": split, "loss": [value], "accuracy": [value]} for step, split, value in (
        (0, "train", 1e308), (-5, "train", -1e308), (2**60, "validation", 1e-300), (1, "train", None))],
    "measured__steps_per_second": 1.7e308, "measured__memory_bytes": {"step": 2**62}, "parameters": 2**62,
    "task__floor__test": 1e300,
}  # fmt: skip


@pytest.mark.parametrize("left_out", [(), *((name,) for name in EXTREME)])
def test_numbers_beyond_reason_break_nothing(left_out):
    changes = {name: value for name, value in EXTREME.items() if name not in left_out}
    pages = site.pages(
        view([make("local", {0: 0.0}, **changes), make("s5", {0: 1.0}, **changes), make("fnet", {0: 0.5})])
    )
    for name, text in pages.items():
        if name.endswith(".html"):
            page = Page(text)
            for key in ("x", "y", "cx", "cy", "r", "x1", "x2", "y1", "y2", "width", "height", "points"):
                for value in page.values(key):
                    assert all(abs(float(number)) < 1e4 for number in re.split("[ ,]", value))


def test_a_run_has_one_speed_on_its_page_and_in_the_table():
    """Three seeds that make 9.41 steps a second together make 28.2 of one seed."""
    record = made_site.run("local", [0.5, 0.6, 0.7], 9.41, 1)
    pages = site.pages(view([record]))
    assert re.search(r'data-value="28.23">28.2</td>', pages["index.html"])
    page = pages[f"runs/{record.run}.html"]
    assert "<dt>steps/s</dt><dd>28.2</dd>" in page
    assert "28.23, 3 seeds at 9.41 each" in page


def test_marks_do_not_run_together(pages):
    marks = pages["index.html"].split(">S4D-Lin<sup>")[1].split("</sup>")[0]
    assert re.sub("<[^>]*>", "", marks) == "1,10,12"
    assert "an older source" in older_source_page()


def older_source_page() -> str:
    """The page of a run whose source was edited since."""
    sources = [
        {"variant__source_sha256": digit * 64, "measured__finished_at": f"2026-11-2{digit}T10:00:00+00:00"}
        for digit in "12"
    ]
    runs = [make("own", {0: 0.5}, **source) for source in sources]
    return site.pages(view(runs))[f"runs/{runs[0].run}.html"]


def test_nothing_but_failures():
    failed = make("local", {}, status="failed", error="x", curve=[
        {"step": 1, "split": "train", "loss": [], "accuracy": []},
        {"step": 2, "split": "train", "loss": [1.0, None], "accuracy": [0.5, 0.5]},
    ])  # fmt: skip
    for text in site.pages(view([failed, make("s5", {0: None})])).values():
        assert "NaN" not in text


def test_a_page_shows_the_hash_of_the_trained_state_where_there_is_one():
    now, before = make("local", {0: 0.5}), make("s5", {0: 0.5}, parameter_tree_sha256=None)
    pages = site.pages(view([now, before]))
    assert now.parameter_tree_sha256 in pages[f"runs/{now.run}.html"]
    assert "Trained state" not in pages[f"runs/{before.run}.html"]
