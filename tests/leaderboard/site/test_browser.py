"""The built site in a browser: from the disk, by mouse, keyboard and address, on a telephone, without JavaScript."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_site
import pytest
from made_records import make
from made_site import BENCHMARK, records, view

from lra.leaderboard import site
from lra.leaderboard.site.run_page import command

TABLE = "#demo-listops"
COVERED = """() => [...document.querySelectorAll('svg')].filter((svg) => svg.getClientRects().length).flatMap((svg) => {
  const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  const outside = (box) => box.left < frame.left || box.right > frame.right || box.top < frame.top
    || box.bottom > frame.bottom;
  const cover = (a, b) => a.left + 1 < b.right && b.left + 1 < a.right && a.top + 4 < b.bottom && b.top + 4 < a.bottom;
  return texts.flatMap(([words, box], place) => [
    ...(outside(box) ? [`${words} is cut`] : []),
    ...texts.slice(place + 1).filter(([, other]) => cover(box, other)).map(([other]) => `${words} covers ${other}`),
  ]);
})"""
SHOWN = """(selector) => [...document.querySelectorAll(selector + ' tbody tr[data-row]')]
  .filter((row) => row.getClientRects().length).map((row) => row.cells[0].innerText.split('\\n')[0].trim())"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The first page of a site with a row of every kind."""
    made = view(records(), ["a.json cannot be read"], [BENCHMARK])
    return made_site.write(made, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def context(browser) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def visit(context) -> Iterator[Callable[[object], Any]]:
    """Opens a page from the disk. Fails if the page asks for anything else or the browser reports a problem."""
    opened, complaints = [], []

    def visit(address: object, context: Any = context) -> Any:
        page = context.new_page()
        opened.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(f"file://{address}")
        return page

    yield visit
    for page in opened:
        page.close()
    assert complaints == []


def shown(page: Any, table: str = TABLE) -> list[str]:
    """The names of the rows that are visible, in their order."""
    return page.evaluate(SHOWN, table)


def settled(page: Any) -> Any:
    """The page, after it has seen the change of its address, of which a browser tells it later."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page


def header(page: Any, name: str, table: str = TABLE) -> Any:
    return page.locator(f"{table} thead button").filter(has_text=name).first


def sorts(page: Any) -> list[str | None]:
    return page.eval_on_selector_all(f"{TABLE} thead th", "all => all.map((th) => th.getAttribute('aria-sort'))")


# --- Sort, filter, columns ----------------------------------------------------------------------------------------

BEST_FIRST = ["own", "performer", "bigbird", "linformer", "transformer", "local", "s5", "synthesizer", "mega"]


def test_headers_sort_and_those_that_are_not_ranked_stay_behind(built, visit):
    page = visit(f"{built}#demo-listops")
    assert shown(page) == BEST_FIRST
    header(page, "steps/s").click()
    # three seeds train together: 60, 48, 45, 42, 37.5, 33, 24; two: 18
    by_speed = ["s5", "local", "linformer", "performer", "synthesizer", "own", "transformer", "bigbird"]
    assert shown(page) == [*by_speed, "mega"]
    assert [*filter(None, sorts(page))] == ["descending"]
    header(page, "steps/s").click()
    assert shown(page) == [*reversed(by_speed), "mega"]
    assert [*filter(None, sorts(page))] == ["ascending"]
    header(page, "steps/s").click()
    assert shown(page) == BEST_FIRST
    assert not any(sorts(page))


def test_what_is_missing_comes_last_in_both_directions(built, visit):
    page = visit(f"{built}#demo-listops")
    for _ in range(2):
        header(page, "accuracy").click()
        assert shown(page)[-2:] == ["synthesizer", "mega"]
    assert shown(page)[0] == "s5"


def test_keys_alone_sort(built, visit):
    page = visit(f"{built}#demo-listops&filter=")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(":focus").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert shown(page) == BEST_FIRST
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "variant":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert shown(page)[:3] == ["bigbird", "linformer", "local"]
    page.keyboard.press("Space")
    assert shown(page)[:3] == ["transformer", "synthesizer", "s5"]


def test_the_filter_keeps_rows_with_all_words_and_dims_the_pictures_of_others(built, visit):
    page = visit(f"{built}#demo-listops")
    page.fill(f"{TABLE} input[type=search]", "FORMER 3")
    assert shown(page) == ["performer", "linformer", "transformer"]
    assert page.inner_text(f"{TABLE} output") == "3 of 9 rows"
    assert page.get_attribute(f"{TABLE} output", "aria-live") == "polite"
    assert not page.is_visible(f"{TABLE} .unranked th[scope=rowgroup]")
    lit = page.eval_on_selector_all(
        f"{TABLE} svg [data-row]:not(.dim) title", "all => all.map((title) => title.textContent.split(':')[0]).sort()"
    )
    assert lit == ["linformer", "linformer", "performer", "performer", "transformer", "transformer"]
    page.fill(f"{TABLE} input[type=search]", "")
    assert shown(page) == BEST_FIRST
    assert page.locator(".dim").count() == 0


def test_extra_columns_come_when_asked_for(built, visit):
    page = visit(f"{built}#demo-listops")
    head = lambda: page.eval_on_selector_all(
        f"{TABLE} thead th", "all => all.filter((th) => th.getClientRects().length).map((th) => th.textContent)"
    )
    row = lambda: page.eval_on_selector_all(
        f"{TABLE} tr[data-row='0'] > *", "all => all.filter((cell) => cell.getClientRects().length).length"
    )
    assert "diverged" not in head()
    page.click(f"{TABLE} summary")
    page.get_by_label("diverged").locator("visible=true").check()
    page.get_by_label("parameters").locator("visible=true").uncheck()
    assert "diverged" in head()
    assert "parameters" not in head()
    assert row() == len(head())


# --- Addresses ----------------------------------------------------------------------------------------------------


def test_an_address_restores_the_view_and_back_goes_back(built, visit):
    page = visit(built)
    assert page.is_visible("#demo-overview")
    assert not page.is_visible(TABLE)
    page.click("nav >> text=listops")
    assert settled(page).get_attribute("nav a[href='#demo-listops']", "aria-current") == "page"
    assert not page.is_visible("#demo-overview")
    header(page, "p").click()
    page.click(f"{TABLE} summary")
    page.get_by_label("diverged").locator("visible=true").check()
    page.fill(f"{TABLE} input[type=search]", "0.001 r")
    state = lambda page: (shown(page), sorts(page), page.input_value(f"{TABLE} input[type=search]"))
    other = visit(page.evaluate("location.href").removeprefix("file://"))
    assert state(other) == state(page)
    assert other.is_visible(f"{TABLE} thead >> text=diverged")
    page.go_back()
    page.go_back()
    assert (sorts(settled(page)).count(None), shown(page)) == (len(sorts(page)), BEST_FIRST)
    page.go_back()
    assert settled(page).is_visible("#demo-overview")
    page.go_forward()
    assert shown(settled(page)) == BEST_FIRST


@pytest.mark.parametrize(
    "address", ["#nowhere", "#%", "#demo-listops&sort=%E0%A4%A&show=x&hide=&filter", "#main", "#&"]
)
def test_an_address_of_nothing_shows_tables_all_the_same(built, visit, address):
    page = visit(f"{built}{address}")
    assert page.locator("#sheets > section:visible").count() == 1
    assert len(shown(page, "#sheets")) > 1


def test_a_row_leads_to_its_run_and_back(built, visit):
    page = visit(f"{built}#demo-listops")
    page.click(f"{TABLE} tbody >> text=performer")
    assert page.inner_text("h1") == "performer on listops"
    page.click("header a")
    assert page.inner_text("tr.target th") == "performer"
    assert page.locator("tr.target").bounding_box()["y"] < 900
    assert page.is_visible(TABLE)
    assert not page.is_visible("#demo-overview")


def test_of_many_rows_the_first_are_laid_out_before_a_click_is_answered(tmp_path, visit):
    many = [make(f"v{place:03}", {0: place * 7 % 401 / 500}, curve=[], config="x") for place in range(400)]
    made = view(many)
    index = made_site.write(made, tmp_path)
    page = visit(index)
    page.wait_for_selector(f"{TABLE} .later", state="detached")
    drawn = page.evaluate(
        """([header, rows]) => { document.querySelector(header).click();
             return [...document.querySelectorAll(rows)].filter((row) => row.getClientRects().length).length; }""",
        [f"{TABLE} thead button", f"{TABLE} tbody tr[data-row]"],
    )
    assert 20 < drawn <= 150
    page.wait_for_selector(f"{TABLE} .later", state="detached")
    assert shown(page) == sorted(record.variant.name for record in many)
    assert page.evaluate(COVERED) == []  # in a picture with 400 circles
    middle = made.sheets[0].entries[300].runs[0]
    page.click("nav >> text=Later systems")
    page.evaluate("(run) => { location.hash = run; }", middle)
    for there in page, visit(f"{index}#{middle}"):
        there.wait_for_selector("tr.target")
        assert 200 < there.locator("tr.target").bounding_box()["y"] < 700


# --- Theme, copying -----------------------------------------------------------------------------------------------


def test_the_theme_follows_the_system_until_it_is_chosen(built, visit, browser):
    dark = browser.new_context(color_scheme="dark")
    ground = lambda page: page.evaluate("getComputedStyle(document.body).backgroundColor")
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}
    page = visit(built, dark)
    assert ground(page) == colours["dark"]
    page.click("text=Light theme")
    assert ground(page) == colours["light"]
    page.reload()
    assert ground(page) == colours["light"]
    assert ground(visit(next(built.parent.glob("runs/*.html")), dark)) == colours["light"]
    page.click("text=Dark theme")
    assert ground(page) == colours["dark"]
    dark.close()


def test_the_command_is_copied_as_it_is(built, visit, context):
    record = next(r for r in records() if r.protocol.overrides)
    page = visit(built.parent / "runs" / f"{record.run}.html")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("text=Copy")
    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == command(record)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    page.click(".copy")
    page.wait_for_selector("text=Press Ctrl-C")
    assert page.evaluate("getSelection().toString()") == command(record)


# --- Every screen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_only_frames_scroll_sideways(built, visit, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = visit(built, context)
    # what scrolls has the keyboard's focus for it
    fits = lambda page: page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth &&
      [...document.querySelectorAll('main *')].every((element) => element.scrollWidth <= element.clientWidth
        || getComputedStyle(element).overflowX !== 'auto' || element.tabIndex === 0)""")
    for name in page.eval_on_selector_all("#sheets > section", "all => all.map((section) => section.id)"):
        page.evaluate("(name) => { location.hash = name; }", name)
        page.wait_for_selector(f"#{name}")
        assert fits(page), name
        # the pictures fit, but for the wide one of all tasks; what goes on beyond an edge says so
        cut = page.eval_on_selector_all(f"#{name} figure:not(.wide) > .canvas", """all => all.map((element) =>
          element.scrollWidth - element.clientWidth)""")  # fmt: skip
        assert max(cut, default=0) <= 1, name
        page.wait_for_function(
            """(frames) => [...document.querySelectorAll(frames)].every((element) =>
              element.classList.contains('beyond') === (element.scrollWidth > element.clientWidth + 1))""",
            arg=f"#{name} :is(.canvas, .frame)", timeout=5000,
        )  # fmt: skip
        assert not page.eval_on_selector("nav", "nav => nav.scrollHeight > nav.clientHeight + 1")
    assert fits(visit(built.parent / "runs" / f"{records()[7].run}.html", context))
    page.evaluate("() => { location.hash = 'demo-listops'; }")
    page.wait_for_selector(TABLE)
    before = page.locator(f"{TABLE} tbody th").first.bounding_box()
    scrolled = page.eval_on_selector(f"{TABLE} .frame", "frame => { frame.scrollLeft = 200; return frame.scrollLeft; }")
    assert scrolled == 200 or width == 1280
    assert page.locator(f"{TABLE} tbody th").first.bounding_box() == before
    context.close()


def test_labels_of_pictures_cover_each_other_nowhere(built, visit):
    page = visit(built)
    pages = [
        (page, name) for name in ("demo-overview", "demo-listops", "published-lra-speed", "bench-variants-training")
    ]
    pages.append((visit(built.parent / "runs" / f"{records()[0].run}.html"), None))
    for page, name in pages:
        if name:
            page.evaluate("(name) => { location.hash = name; }", name)
            page.wait_for_selector(f"#{name}")
        problems = page.evaluate(COVERED)
        assert problems == []


def test_six_tasks_stand_side_by_side_however_close_their_numbers(tmp_path, visit):
    tasks = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
    made = [
        make(name, {0: 0.3 + place / 2000, 1: 0.3 + place / 1000}, task__name=task, task__floor__test=0.299)
        for task in tasks
        for place, name in enumerate(("local", "s5", "linear_transformer_" * 3))
    ]
    page = visit(made_site.write(view(made), tmp_path))
    assert page.locator("#demo-overview svg .panel").all_text_contents() == [*tasks]
    assert page.evaluate(COVERED) == []


def test_without_javascript_it_is_all_tables(built, visit, browser):
    context = browser.new_context(java_script_enabled=False)
    page = visit(built, context)
    tables = page.locator("#sheets table")
    assert tables.count() == len(view(records()).sheets) + 2 + len(made_site.literature.sheets())
    assert all(tables.nth(place).is_visible() for place in range(tables.count()))
    assert not any(button.is_visible() for button in page.locator("button, input").all())
    assert page.locator(f"{TABLE} tbody tr[data-row]").count() == len(BEST_FIRST)
    assert page.locator(f"{TABLE} thead th", has_text="diverged").is_visible()
    page.click("nav >> text=synthetic_image")
    assert page.locator("#demo-synthetic-image h2").bounding_box()["y"] < 100
    context.close()


# --- Bad input ----------------------------------------------------------------------------------------------------

EVIL = [
    "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "\"' onmouseover=alert(3) x='", "<!-- <p>",
    "</title></pre></svg></table>", r"\write18{rm -rf /} $x^2$ & %", "\x00\x07\x1b[31m\u202egpj", "é" * 10_000,
    "javascript:alert(4)", "../" * 50,
]  # fmt: skip


def test_texts_of_records_are_never_executed_and_break_no_page(tmp_path, visit):
    evil = [
        make("local", {0: 0.5, 1: 0.5 + place / 100}, task__version=text, error=text, config=text, selection=text,
             variant__paper=text, variant__sources={text: text}, variant__source_sha256=text,
             measured__finished_at=text,
             protocol__overrides=[f"local.note = {text}", text], measured__hardware={"device": text, "platform": text},
             measured__versions={text: text}, measured__git={"commit": text}, task__parameters={text: text},
             measured__memory_bytes={text: 5})
        for place, text in enumerate(EVIL)
    ]  # fmt: skip
    pair = [make(name, {0: 0.5}, measured__hardware={"device": EVIL[0]}) for name in ("s5", "fnet")]
    made = view([*evil, *pair], EVIL)
    index = made_site.write(made, tmp_path)
    page = visit(index)
    assert page.locator("#sheets > section").count() == len(made.sheets) + len(made.published)
    assert page.locator("nav a").count() == page.locator("#sheets > section").count() + 1
    assert page.locator("#left_out li").count() == len(EVIL)
    tallest = "Math.max(...[...document.querySelectorAll('tr, nav a, h2')].map((part) => part.offsetHeight))"
    for name in page.eval_on_selector_all("#sheets > section", "all => all.map((section) => section.id)"):
        page.evaluate("(name) => { location.hash = name; }", name)
        page.wait_for_selector(f"#{name}")
        assert page.evaluate(tallest) < 600  # a text of 10,000 letters is cut
    assert page.locator("footer").count() == 1
    for record, text in zip(evil, EVIL):
        page = visit(tmp_path / "runs" / f"{record.run}.html")
        assert page.locator("main h2").all_inner_texts()[-2:] == ["Configuration", "Source of the variant"]
        said = "".join("\ufffd" if c in "\x00\x07\x1b\u202e" else c for c in text)
        assert page.locator("pre").last.inner_text() == said
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("script").count() == 1
        assert page.locator("footer").count() == 1


def test_no_file_leaves_the_folder():
    names = site.pages(view([make("local", {0: 0.5}, task__version="../../x", error="/etc/passwd")]))
    assert all(".." not in name and not name.startswith("/") for name in names)
