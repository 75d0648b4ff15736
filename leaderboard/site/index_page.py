"""The first page: every table with its pictures, and the literature's."""

from lra.leaderboard.board import Table
from lra.leaderboard.sheet import Cell, Column, Entry, Sheet, slug
from lra.leaderboard.site.charts import bars, scatter
from lra.leaderboard.site.lines import lengths
from lra.leaderboard.site.markup import Child, Markup, element, number
from lra.leaderboard.site.page import page
from lra.leaderboard.view import Scaling, View


def index_page(view: View) -> str:
    published = {sheet.name for sheet in view.published}
    told = {scaling.name: scaling for scaling in view.scalings if scaling.name in published}  # beside their table
    groups = [
        ("Results", [(sheet.name, sheet.title, section(sheet, table_of(sheet, view))) for sheet in view.sheets]),
        (
            "Time and memory",
            [(own.name, own.title, scaling_section(own)) for own in view.scalings if own.name not in told],
        ),
        (
            "From the literature",
            [(sheet.name, sheet.title, section(sheet, None, told.get(sheet.name))) for sheet in view.published],
        ),
    ]
    if view.left_out:
        groups.append(("Left out", [("left-out", "Files that are no records", left_out(view))]))
    nav = [
        element("div", element("h2", name), element("ul", [
            element("li", element("a", title, href=f"#sheet={key}", data_sheet=key)) for key, title, _ in sections
        ]))
        for name, sections in groups
        if sections
    ]  # fmt: skip
    header = [
        element("h1", "Long Range Arena"),
        element("p", f"{len(view.records):,} runs. Every number is made from its record; rows of one table have one "
                "task, one set of data and one protocol.", class_="lead"),
    ]  # fmt: skip
    main = [
        element("nav", nav, aria_label="Tables"),
        element("div", [markup for _, sections in groups for _, _, markup in sections], class_="sections"),
    ]
    return page("Long Range Arena: leaderboard", "", header, main)


def table_of(sheet: Sheet, view: View) -> Table | None:
    """The table that a sheet shows; None for an overview."""
    if sheet.floor is None:
        return None
    runs = {run for entry in sheet.entries for run in entry.runs}
    return next((
        table for table in view.board.tables
        if table.title == sheet.title and runs == {record["run"] for row in table.rows for record in row.records}
    ), None)  # fmt: skip


def section(sheet: Sheet, table: Table | None, scaling: Scaling | None = None) -> Markup:
    """A table, with pictures where there is more to see than its numbers."""
    figures: Child = element("div", lengths(scaling), class_="figures") if scaling else None
    if table is not None and len(table.rows) > 1:
        figures = element("div", bars(sheet.name, table), scatter(sheet.name, table), class_="figures")
    notes = [element("li", element("sup", mark), " ", meaning) for mark, meaning in sheet.notes]
    return element(
        "section",
        element("h2", sheet.title, id=f"{sheet.name}-heading"),
        element("p", sheet.caption, class_="caption"),
        tools(sheet),
        frame(sheet),
        element("ul", notes, class_="notes") if notes else None,
        figures,
        id=sheet.name,
        aria_labelledby=f"{sheet.name}-heading",
    )


def tools(sheet: Sheet) -> Markup:
    """Filter, columns and link, which the script brings to life."""
    name = sheet.name
    boxes = [
        element("label", element("input", type="checkbox", value=place, checked=not column.extra), " ", column.name)
        for place, column in enumerate(sheet.columns, 1)
        if place > 1
    ]
    return element(
        "div",
        element("label", "Filter ", element("input", type="search", class_="filter", placeholder="part of a row"),
                class_="search"),
        element("details", element("summary", "Columns"), element("div", boxes, class_="boxes"), class_="columns"),
        element("button", "Copy link to this view", type="button", class_="permalink"),
        element("span", "", role="status", aria_live="polite", class_="count", id=f"{name}-count"),
        class_="tools",
        hidden=True,
    )  # fmt: skip


def frame(sheet: Sheet) -> Markup:
    """The table itself, which scrolls by itself where it is too wide."""
    head = [
        element("th", element("button", column.name, type="button", disabled=True), scope="col",
                class_="number" if column.number else None, data_extra=column.extra)
        for column in sheet.columns
    ]  # fmt: skip
    rows = [row(place, entry, sheet.columns) for place, entry in enumerate(sheet.entries)]
    table = element(
        "table",
        element("caption", sheet.title),
        element("thead", element("tr", head)),
        element("tbody", rows),
    )
    return element("div", table, class_="frame", role="region", tabindex="0", aria_labelledby=f"{sheet.name}-heading")


def row(place: int, entry: Entry, columns: tuple[Column, ...]) -> Markup:
    first, rest = entry.cells[0], entry.cells[1:]
    named = [linked(first, entry.runs), marks(first)]
    cells = [element("th", named, scope="row", data_v=value(first))]
    cells += [
        element("td", cell.text, marks(cell), class_="number" if column.number else None, data_v=value(cell))
        for cell, column in zip(rest, columns[1:])
    ]
    return element("tr", cells, data_row=place, class_=None if entry.ranked else "unranked")


def linked(cell: Cell, runs: tuple[str, ...]) -> Child:
    """A row's name, with the pages of its runs behind it."""
    if not runs:
        return cell.text
    if len(runs) == 1:
        return element("a", cell.text, href=f"runs/{runs[0]}.html")
    links = [
        element("a", str(place), href=f"runs/{run}.html", aria_label=f"{cell.text}, run {place}")
        for place, run in enumerate(runs, 1)
    ]
    return [cell.text, element("span", links, class_="runs")]


def marks(cell: Cell) -> Child:
    return [element("sup", mark) for mark in cell.marks]


def value(cell: Cell) -> str | None:
    """What the column is sorted by, where that is not the text itself."""
    if isinstance(cell.value, (int, float)):
        return number(cell.value)
    return None


def scaling_section(scaling: Scaling) -> Markup:
    """Pictures against length, and the numbers in a table."""
    spans = sorted({point.length for point in scaling.points})
    models = list(dict.fromkeys(point.model for point in scaling.points))
    found = {(point.model, point.length): point for point in scaling.points}
    columns = [Column("model", number=False)]
    columns += [Column(f"steps/s, {length:,}") for length in spans] + [Column(f"MB, {length:,}") for length in spans]

    def cells(model: str) -> tuple[Cell, ...]:
        own = [found.get((model, length)) for length in spans]
        rates = [point.steps_per_second if point else None for point in own]
        megabytes = [point.megabytes if point else None for point in own]
        return (Cell(model, model), *(Cell("" if x is None else f"{x:.3g}", x) for x in rates),
                *(Cell("" if x is None else f"{x:,.0f}", x) for x in megabytes))  # fmt: skip

    entries = tuple(Entry(cells(model)) for model in models)
    sheet = Sheet(slug(scaling.name), scaling.title, scaling.caption, tuple(columns), entries)
    return element(
        "section",
        element("h2", scaling.title, id=f"{sheet.name}-heading"),
        element("p", scaling.caption, class_="caption"),
        element("div", lengths(scaling), class_="figures"),
        tools(sheet),
        frame(sheet),
        id=scaling.name,
        aria_labelledby=f"{sheet.name}-heading",
    )


def left_out(view: View) -> Markup:
    lines = [element("li", element("code", line)) for line in view.left_out]
    return element(
        "section",
        element("h2", "Files that are no records", id="left-out-heading"),
        element("p", "They were in the folders and are in no table.", class_="caption"),
        element("ul", lines),
        id="left-out",
        aria_labelledby="left-out-heading",
    )
