"""Charts of results: accuracy with intervals, accuracy against speed, all tasks side by side."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from lra.leaderboard.board import Overview, Table
from lra.leaderboard.row import Cost, Row
from lra.leaderboard.sheet import labels
from lra.leaderboard.site.figure import BOLD, CHARACTER, MOST, WIDE, WIDTH, at, figure, style, x_axis, y_axis
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.names import distinct
from lra.leaderboard.site.placing import Spot, placed
from lra.leaderboard.site.scale import Scale, around, linear_ticks
from lra.leaderboard.statistics import Interval
from lra.leaderboard.sweeps import Sweep, minute

MOST_ROWS = 40  # of a chart; each of them has its name
LABEL = 20  # letters of a label beside its bar
NEAR = 30  # letters of a label beside its circle
LONG = 56  # letters of a label that has a line of its own
LINE = 14  # height of a line of text

T = TypeVar("T")


class Mark(NamedTuple):
    """A row of a sheet as it is drawn.

    Attributes:
      place: the position of the row in the sheet.
      kind: its CSS classes.
    """

    place: int
    label: str
    row: Row
    interval: Interval
    kind: str


def marks(table: Table) -> list[Mark]:
    """The rows that have a mean."""
    return [
        Mark(place, label, row, row.interval, kind)
        for place, (row, label, kind) in enumerate(
            zip(table.rows, labels(table.rows), kinds(table.rows, table.reference))
        )
        if row.interval
    ]


def group(place: int, kind: str, title: str, *parts: Child) -> Markup:
    """The drawing of a row of the sheet, with a title that the browser shows. The page dims both together."""
    return element("g", element("title", title), *parts, class_=kind, data_row=place)


def kinds(rows: Iterable[Row], reference: str) -> list[str]:
    """The CSS classes of rows. Several rows of one variant have its hue, and differ in how they are drawn."""
    seen: Counter[str] = Counter()
    made = []
    for row in rows:
        name = row.records[0].variant.name
        seen[name] += row.label != name  # the row without options is drawn plainly
        again = f" again{2 - seen[name] % 2}" if row.label != name else ""
        kind = style(name) + again + (" came" if row.came else "")
        made.append(kind + (" unranked" if row.breaches else " reference" if row.label == reference else ""))
    return made


def per_cent(interval: Interval) -> str:
    text = f"{100 * interval.mean:.2f} %"
    if interval.low is not None and interval.high is not None:
        text += f", 95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f}"
    return text


def ends(interval: Interval) -> list[float]:
    """The mean and the limits of an interval in per cent, clipped to 0 and 100."""
    return [100 * min(max(value, 0.0), 1.0) for value in interval if value is not None]


def whisker(scale: Scale, interval: Interval, y: float, cap: float) -> list[Markup]:
    if interval.low is None:
        return []
    _, low, high = (at(scale(value)) for value in ends(interval))
    y = at(y)
    lines = [(low, high, y, y), (low, low, y - cap, y + cap), (high, high, y - cap, y + cap)]
    return [element("line", x1=x1, x2=x2, y1=at(y1), y2=at(y2), class_="whisker") for x1, x2, y1, y2 in lines]


def floor_line(scale: Scale, floor: float, top: float, bottom: float, words: str) -> list[Markup]:
    x = at(scale(100 * min(max(floor, 0.0), 1.0)))
    line = element("line", x1=x, x2=x, y1=at(top), y2=at(bottom), class_="floor")
    return [line, element("text", words, x=x, y=at(top - 4), class_="note middle")]


def first(drawn: Sequence[T], title: str) -> tuple[Sequence[T], str]:
    """The rows that have room in a chart, and its title."""
    if len(drawn) <= MOST_ROWS:
        return drawn, title
    return drawn[:MOST_ROWS], f"{title}, the first {MOST_ROWS} of {len(drawn):,} rows"


def bars(name: str, table: Table) -> Markup | None:
    """The mean of each row with its 95 % interval, and the floor. Long labels stand above their bars."""
    drawn, title = first(marks(table), "Accuracy with 95 % intervals over seeds")
    if not drawn:
        return None
    above = LINE if max(len(mark.label) for mark in drawn) > LABEL else 0
    words = distinct([mark.label for mark in drawn], LONG)
    left = 6.0 if above else 12 + BOLD * max(map(len, words))
    right, top = WIDTH - 46, 34
    pitch = min(max(330 / len(drawn), 13), 34) + above
    bottom = top + pitch * len(drawn)
    high = max(value for mark in drawn for value in ends(mark.interval))
    scale = Scale(0, min(max(high, 100 * min(table.floor, 1.0), 1.0) * 1.04, 100), left, right)
    parts: list[Child] = [x_axis(scale, top, bottom, "accuracy on the test split, %")]
    for line, (mark, label) in enumerate(zip(drawn, words)):
        middle, thick = top + above + pitch * line + (pitch - above) / 2, min((pitch - above) * 0.66, 16)
        x = [at(scale(value)) for value in ends(mark.interval)]
        beside: dict[str, float | str] = {"x": at(left - 7), "y": at(middle + 4), "class_": "label end"}
        on_top: dict[str, float | str] = {"x": at(left), "y": at(middle - thick / 2 - 4), "class_": "label"}
        drawing: list[Child] = [
            element(
                "rect", x=at(left), y=at(middle - thick / 2), width=at(x[0] - left), height=at(thick), class_="bar"
            ),
            whisker(scale, mark.interval, middle, min(thick / 2, 4)),
            element("text", label, **(on_top if above else beside)),
            element("text", f"{100 * mark.interval.mean:.2f}", x=at(max(x) + 6), y=at(middle + 4), class_="number"),
        ]
        parts.append(group(mark.place, mark.kind, f"{mark.label}: {per_cent(mark.interval)}", drawing))
    parts += floor_line(scale, table.floor, top - 6, bottom, f"floor {100 * table.floor:.1f}")
    described = f"{len(drawn)} bars in the table's order, from {drawn[0].label} to {drawn[-1].label}."
    return figure(f"{name}-bars", title, described, at(bottom + 42), *parts)


def scatter(name: str, table: Table) -> list[Markup]:
    """Accuracy against speed, with memory as the area, for up to three sweeps with at least two rows."""
    timed: dict[Sweep, list[tuple[Mark, Cost]]] = defaultdict(list)
    for mark in marks(table):
        for cost in mark.row.costs:
            if 0 < (cost.steps_per_second or 0) < MOST:
                timed[cost.sweep].append((mark, cost))
    order = lambda item: (item[0] != table.sweep, -len(item[1]), item[0])
    return [
        cloud(f"{name}-speed-{number}", sweep, drawn)
        for number, (sweep, drawn) in enumerate(sorted(timed.items(), key=order)[:3])
        if len(drawn) > 1
    ]


def cloud(name: str, sweep: Sweep, timed: Sequence[tuple[Mark, Cost]]) -> Markup:
    drawn, title = first(timed, f"Accuracy against speed, on {sweep.hardware}, {minute(sweep.since)}")
    left, right, top, bottom = 44, WIDTH - 14, 58, 344
    speeds = [cost.steps_per_second or 1.0 for _, cost in drawn]
    means = [100 * mark.interval.mean for mark, _ in drawn]
    memories = [min(cost.memory or 0, MOST) for _, cost in drawn]
    x, y = around(speeds, left, right, log=True), around(means, bottom, top)
    most = max(memories)
    radius = lambda memory: 3.5 + 10 * math.sqrt(memory / most) if most else 6.0
    spots = [Spot(x(speed), y(mean), radius(memory)) for speed, mean, memory in zip(speeds, means, memories)]
    words = distinct([mark.label for mark, _ in drawn], LONG - 4)
    short = [label if len(label) <= NEAR else "" for label in words]
    groups, below = [], bottom + 38
    for (mark, cost), spot, label, text in zip(
        drawn, spots, words, placed(short, spots, (left, top, right - 6, bottom))
    ):
        memory = f", {cost.memory / 1e6:,.0f} MB" if cost.memory else ""
        title_of = f"{mark.label}: {100 * mark.interval.mean:.2f} %, {cost.steps_per_second:.3g} steps/s{memory}"
        circle = element("circle", cx=at(spot.x), cy=at(spot.y), r=at(spot.r), class_="spot")
        parts: list[Child] = [circle, text.markup]
        if text.key:
            below += LINE
            parts.append(element("text", f"{text.key} {label}", x=left, y=at(below), class_="label"))
        groups.append((-spot.r, mark.place, group(mark.place, mark.kind, title_of, parts)))
    axes: list[Child] = [
        x_axis(x, top, bottom, "training steps a second, more is faster"),
        y_axis(y, left, right),
        element("text", "accuracy, %", x=6, y=top - 12, class_="axis"),
        legend(most, radius, right) if most else None,
        [markup for _, _, markup in sorted(groups, key=lambda item: item[:2])],  # small circles in front
    ]
    fastest = max(drawn, key=lambda pair: (pair[1].steps_per_second or 0, pair[0].label))[0].label
    described = f"{len(drawn)} circles. {drawn[0][0].label} is the first of the table, {fastest} the fastest."
    return figure(name, title, described, below + 8, *axes)


def legend(most: float, radius: Callable[[float], float], right: float) -> Markup:
    """The key of the areas: a circle for the most memory, and one for a quarter of it."""
    parts: list[Child] = []
    x = right
    for memory in (most, most / 4):
        words, r = f"{memory / 1e6:,.3g} MB", radius(memory)
        parts.append(element("text", words, x=at(x), y=30, class_="note end"))
        x -= CHARACTER * len(words) + r + 4
        parts.append(element("circle", cx=at(x), cy=26, r=at(r), class_="key"))
        x -= r + 14
    parts.append(element("text", "area: memory", x=at(x), y=30, class_="note end"))
    return element("g", parts)


def strips(name: str, overview: Overview) -> Markup | None:
    """All tasks side by side: a dot with its 95 % interval for each row, and the floor of each task."""
    lines, title = first([*enumerate(overview.lines)], "Accuracy with 95 % intervals over seeds, %")
    if not lines:
        return None
    names = labels(overview.lines)[: len(lines)]
    words = distinct(names, LONG - LABEL)
    reference = next((table.reference for table in overview.tables if table.reference), "")
    of_lines = kinds((next(iter(line.cells.values())) for _, line in lines), reference)
    count = len(overview.tables)
    left, top, pitch, gap = 14 + BOLD * max(map(len, words)), 48, 17, 26
    span = max((WIDE - left) / count - gap, 70)
    panels = distinct([table.task for table in overview.tables], int(span / 7))
    bottom = top + pitch * len(lines)
    scales: list[Scale] = []
    parts: list[Child] = []
    for number, (table, panel) in enumerate(zip(overview.tables, panels)):
        start = left + number * (span + gap) + 6
        own = [line.cells[table.task].interval for _, line in lines if table.task in line.cells]
        values = [value for interval in own if interval for value in ends(interval)]
        scale = around([*values, 100 * min(max(table.floor, 0.0), 1.0)], start, start + span)
        scales.append(scale)
        parts.append(element("text", panel, x=at(start), y=16, class_="panel"))
        parts.append(list(x_axis(scale, top, bottom, ticks=linear_ticks(scale.low, scale.high, 4))))
        parts.append(floor_line(scale, table.floor, top - 4, bottom, "floor"))
    width = left + count * (span + gap) + 10
    for line, ((place, entry), label, word, kind) in enumerate(zip(lines, names, words, of_lines)):
        y = top + pitch * (line + 0.5)
        dots: list[Child] = [
            element("line", x1=at(left), x2=at(width - 10), y1=at(y), y2=at(y), class_="rule"),
            element("text", word, x=at(left - 7), y=at(y + 4), class_="label end"),
        ]
        accuracies = []
        for scale, table in zip(scales, overview.tables):
            row = entry.cells.get(table.task)
            if row and row.interval:
                accuracies.append(f"{table.task} {per_cent(row.interval)}")
                dots += whisker(scale, row.interval, y, 3)
                dots.append(element("circle", cx=at(scale(ends(row.interval)[0])), cy=at(y), r=4, class_="point"))
        parts.append(group(place, kind, f"{label}: {'; '.join(accuracies)}", dots))
    described = f"{count} panels, one a task, {len(lines)} rows; the dashed line of a panel is its task's floor."
    return figure(f"{name}-tasks", title, described, bottom + 26, *parts, width=at(width), wide=True)
