"""The index page: all tables with their charts, then the literature's."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from lra.leaderboard.benchmark_sheet import by_direction, whole
from lra.leaderboard.board import Overview, Table
from lra.leaderboard.levels import Levels
from lra.leaderboard.sheet import Cell, Column, Entry, Sheet, labels
from lra.leaderboard.site import markup
from lra.leaderboard.site.charts import bars, scatter, strips
from lra.leaderboard.site.figure import HUE_OF, shown_in_page
from lra.leaderboard.site.growth import growth
from lra.leaderboard.site.lines import by_level, lengths
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.names import cropped, distinct
from lra.leaderboard.site.page import frame, page
from lra.leaderboard.view import Scaling, View

LONGEST = 300  # letters of a cell; the run's page has the whole text


def index_page(view: View) -> str:
    results = shortened(view.sheets)
    scalings = {scaling.name: scaling for scaling in view.scalings}
    benchmarks = [
        (whole(own, direction), [shown_in_page(drawing) for drawing in growth(own, direction)])
        for own in view.benchmarks
        for direction in by_direction(own)
    ]
    groups: dict[str, list[tuple[str, str]]] = {}
    protocols = [sheet.source.protocol if sheet.source else "" for sheet in results]
    for sheet, protocol, label in zip(results, distinct(protocols, LONGEST), short(results)):
        groups.setdefault(f"Protocol {protocol}", []).append((sheet.name, label))
    groups |= {"Time and memory": [(sheet.name, sheet.title) for sheet, _ in benchmarks]}
    groups |= {"From elsewhere": [(sheet.name, sheet.title) for sheet in view.elsewhere]}
    groups |= {"From the literature": [(sheet.name, sheet.title) for sheet in view.published]}
    groups |= {"Not shown": [("left_out", count(len(view.left_out), "file") + " left out")] if view.left_out else []}
    links = [
        element("div", element("h2", name), element("ul", [
            element("li", element("a", label, href=f"#{key}")) for key, label in sheets
        ]))
        for name, sheets in groups.items()
        if sheets
    ]  # fmt: skip
    ours = [section(sheet, pictures(sheet, scalings), "Measured with lra") for sheet in results]
    ours += [section(sheet, drawn, "Measured with lra") for sheet, drawn in benchmarks]
    theirs = [section(sheet, None, "Trained elsewhere, scored here") for sheet in view.elsewhere]
    theirs += [section(sheet, pictures(sheet, scalings), "From the literature") for sheet in view.published]
    variants = len({record.variant.name for record in view.records})
    tasks = len({record.task.name for record in view.records})
    counts = f"{count(len(view.records), 'run')} of {count(variants, 'variant')} on {count(tasks, 'task')}."
    header = [
        element("h1", "Long Range Arena"),
        element("p", counts, " Rows of one table share task, data and protocol.", class_="lead"),
    ]
    main = [
        element("nav", links, aria_label="Tables"),
        element(
            "div",
            element("div", ours, theirs, id="sheets", class_="mixed" if view.board.mixed else None),
            left_out(view),
        ),
    ]
    return page("Long Range Arena: leaderboard", "", header, main)


def count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("s" if number != 1 else "")


def shortened(sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheets with long names cropped."""
    made = []
    for sheet, title in zip(sheets, distinct([sheet.title for sheet in sheets], LONGEST // 3)):
        names = distinct([column.name for column in sheet.columns], LONGEST // 3)
        columns = tuple(dataclasses.replace(column, name=name) for column, name in zip(sheet.columns, names))
        made.append(dataclasses.replace(sheet, title=title, caption=cropped(sheet.caption, 1000), columns=columns))
    return made


def short(sheets: Sequence[Sheet]) -> list[str]:
    """The names of tables in the navigation, under the heading of their protocol."""
    names = ["All tasks" if isinstance(s.source, Overview) else s.source.task if s.source else s.title for s in sheets]
    counts = Counter((sheet.source and sheet.source.protocol, name) for sheet, name in zip(sheets, names))
    return [
        f"{name} {cropped(sheet.source.version, 20)}, data {sheet.source.data[:6]}"
        if isinstance(sheet.source, Table) and counts[sheet.source.protocol, name] > 1
        else name
        for sheet, name in zip(sheets, names)
    ]


def pictures(sheet: Sheet, scalings: Mapping[str, Scaling]) -> Child:
    """The charts of a sheet; None if there are none."""
    source = sheet.source
    if isinstance(source, Table):
        return [bars(sheet.name, source), scatter(sheet.name, source)] if len(source.rows) > 1 else None
    if isinstance(source, Levels):
        return by_level(f"{sheet.name}-levels", source, labels(source.table.rows))
    if isinstance(source, Overview):
        return strips(sheet.name, source)
    if sheet.name in scalings:
        rows = {entry.cells[0].text: place for place, entry in enumerate(sheet.entries)}
        return lengths(scalings[sheet.name], rows)
    return None


def colours(sheet: Sheet) -> Markup | None:
    """The key of the hues of a sheet's charts; None if they have fewer than two families."""
    source = sheet.source.table if isinstance(sheet.source, Levels) else sheet.source
    rows = source.rows if isinstance(source, Table) else source.lines if isinstance(source, Overview) else ()
    drawn = {row.family for row in rows}
    families = [family for family in HUE_OF if family in drawn]
    if len(families) < 2:
        return None
    return element("ul", [element("li", family, class_=f"hue{HUE_OF[family]}") for family in families], class_="hues")


def section(sheet: Sheet, figures: Child, kind: str) -> Markup:
    """A table with its charts."""
    heading = f"{sheet.name}_heading"
    notes = [element("li", element("sup", mark), " ", meaning) for mark, meaning in sheet.notes]
    if len({entry.came for entry in sheet.entries}) > 1:
        notes.append(element("li", "Bold names: your own rows. The others came with the project and are pale."))
    return element(
        "section",
        element("p", kind, class_="kind"),
        element("h2", sheet.title, id=heading),
        element("p", sheet.caption, class_="caption"),
        tools(sheet),
        colours(sheet) if figures else None,
        element("div", figures, class_="figures") if figures else None,
        frame(table(sheet), f"{sheet.name}_table"),
        element("ul", notes, class_="notes") if notes else None,
        id=sheet.name,
        aria_labelledby=heading,
    )


def tools(sheet: Sheet) -> Markup:
    """Controls for filter, columns and link. They are hidden without the script."""
    boxes = [
        element("label", element("input", type="checkbox", value=column.name, checked=not column.extra), " ",
                column.name)
        for column in sheet.columns[1:]
    ]  # fmt: skip
    search = element("input", type="search", placeholder="words of a row", autocomplete="off")
    return element(
        "div",
        element("label", "Filter ", search),
        element("details", element("summary", "Columns"), element("div", boxes, class_="boxes")),
        element("button", "Copy link", type="button", class_="button link"),
        element("output", "", aria_live="polite"),
        class_="tools",
        hidden=True,
    )


def table(sheet: Sheet) -> Markup:
    """The table: ranked rows first, unranked rows in a separate body."""
    head = [
        element("th", column.name, scope="col", class_="number" if column.number else None) for column in sheet.columns
    ]
    # a run is in the table of its task and in the overview; links to the run lead to the former
    anchors = isinstance(sheet.source, Table)
    meanings = dict(sheet.notes)
    names = distinct([entry.cells[0].text for entry in sheet.entries], LONGEST)
    rows = [
        row(place, name, entry, sheet.columns, meanings, anchors)
        for place, (name, entry) in enumerate(zip(names, sheet.entries))
    ]
    ranked = [own for own, entry in zip(rows, sheet.entries) if entry.ranked]
    others = [own for own, entry in zip(rows, sheet.entries) if not entry.ranked]
    apart = element("th", "Not ranked, for the reason in the note", colspan=len(sheet.columns), scope="rowgroup")
    return element(
        "table",
        element("caption", f"{sheet.title}, table", id=f"{sheet.name}_table"),
        element("thead", element("tr", head)),
        element("tbody", ranked) if ranked else None,
        element("tbody", element("tr", apart), others, class_="unranked") if others else None,
    )


def row(
    place: int, name: str, entry: Entry, columns: tuple[Column, ...], meanings: Mapping[str, str], anchors: bool
) -> Markup:
    first, rest = entry.cells[0], entry.cells[1:]
    cells = [element("th", linked(name, entry.runs, anchors), marks(first, meanings), scope="row")]
    for cell, column in zip(rest, columns[1:]):
        value = markup.number(cell.value) if isinstance(cell.value, (int, float)) else None
        kind = "number" if column.number else "long" if len(cell.text) > 24 else None
        cells.append(element("td", cropped(cell.text, LONGEST), marks(cell, meanings), class_=kind, data_value=value))
    return element("tr", cells, class_="came" if entry.came else None, data_row=place)


def linked(name: str, runs: tuple[str, ...], anchors: bool) -> Child:
    """The name of a row, with links to the pages of its runs."""
    if not runs:
        return name
    link = lambda run, words, label=None: element(
        "a", words, href=f"runs/{run}.html", id=run if anchors else None, aria_label=label
    )
    if len(runs) == 1:
        return link(runs[0], name)
    numbered = [link(run, str(place), f"{name}, run {place}: {run}") for place, run in enumerate(runs, 1)]
    return [name, element("span", numbered, class_="runs")]


def marks(cell: Cell, meanings: Mapping[str, str]) -> Child:
    signs = [
        ["," if place else None, element("span", mark, title=meanings.get(mark))]
        for place, mark in enumerate(cell.marks)
    ]
    return element("sup", signs) if signs else None


def left_out(view: View) -> Markup | None:
    if not view.left_out:
        return None
    return element(
        "section",
        element("h2", "Files left out", id="left_out_heading"),
        element("p", "They were among the records and are none, so they are in no table.", class_="caption"),
        element("ul", [element("li", element("code", line)) for line in view.left_out]),
        id="left_out",
        aria_labelledby="left_out_heading",
    )
