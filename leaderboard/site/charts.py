"""Charts of results: accuracy with intervals, accuracy against speed, all tasks side by side."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lra.leaderboard.board import Overview, Table
from lra.leaderboard.row import Cost, Row
from lra.leaderboard.sheet import labels
from lra.leaderboard.site.figure import CHARACTER, MOST, WIDTH, at, cropped, figure, x_axis, y_axis
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.scale import Scale, around, linear_ticks
from lra.leaderboard.statistics import Interval

MOST_ROWS = 40  # of a chart with one line a row
MOST_LABELS = 60
LABEL = 18  # letters of a label


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


def marks(table: Table, styles: Mapping[str, str]) -> list[Mark]:
    """The rows that have a mean."""
    return [
        Mark(place, label, row, row.interval, kind_of(row, table.reference, styles))
        for place, (row, label) in enumerate(zip(table.rows, labels(table.rows)))
        if row.interval
    ]


def group(place: int, kind: str, title: str, *parts: Child) -> Markup:
    """The drawing of a row of the sheet, with a title that the browser shows. The page dims both together."""
    return element("g", element("title", title), *parts, class_=kind, data_row=place)


def kind_of(row: Row, reference: str, styles: Mapping[str, str]) -> str:
    name = row.records[0].variant.name
    return styles[name] + (" unranked" if row.breaches else " reference" if row.label == reference else "")


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


def bars(name: str, table: Table, styles: Mapping[str, str]) -> Markup | None:
    """The mean of each row with its 95 % interval, and the floor."""
    drawn = marks(table, styles)
    if not drawn:
        return None
    title = "Accuracy with 95 % intervals over seeds"
    if len(drawn) > MOST_ROWS:
        title += f", the first {MOST_ROWS} of {len(drawn):,} rows"
        drawn = drawn[:MOST_ROWS]
    left, right, top = 140, WIDTH - 46, 34
    pitch = min(max(330 / len(drawn), 13), 38)
    bottom = top + pitch * len(drawn)
    high = max(value for mark in drawn for value in ends(mark.interval))
    scale = Scale(0, min(max(high, 100 * min(table.floor, 1.0), 1.0) * 1.04, 100), left, right)
    parts: list[Child] = [x_axis(scale, top, bottom, "accuracy on the test split, %")]
    for line, mark in enumerate(drawn):
        middle, thick = top + pitch * (line + 0.5), min(pitch * 0.66, 16)
        x = [at(scale(value)) for value in ends(mark.interval)]
        drawing: list[Child] = [
            element("rect", x=left, y=at(middle - thick / 2), width=at(x[0] - left), height=at(thick), class_="bar"),
            whisker(scale, mark.interval, middle, min(thick / 2, 4)),
            element("text", cropped(mark.label, LABEL), x=left - 7, y=at(middle + 4), class_="label end"),
            element("text", f"{100 * mark.interval.mean:.2f}", x=at(max(x) + 6), y=at(middle + 4), class_="number"),
        ]
        parts.append(group(mark.place, mark.kind, f"{mark.label}: {per_cent(mark.interval)}", drawing))
    parts += floor_line(scale, table.floor, top - 6, bottom, f"floor {100 * table.floor:.1f}")
    described = f"{len(drawn)} bars in the table's order, from {drawn[0].label} to {drawn[-1].label}."
    return figure(f"{name}-bars", title, described, at(bottom + 42), *parts)


def scatter(name: str, table: Table, styles: Mapping[str, str]) -> list[Markup]:
    """Accuracy against speed, with memory as the area, for up to three kinds of hardware with at least two rows."""
    timed: dict[str, list[tuple[Mark, Cost]]] = defaultdict(list)
    for mark in marks(table, styles):
        for cost in mark.row.costs:
            if 0 < (cost.steps_per_second or 0) < MOST:
                timed[cost.hardware].append((mark, cost))
    most = sorted(timed.items(), key=lambda item: (-len(item[1]), item[0]))[:3]
    return [
        cloud(f"{name}-speed-{number}", hardware, drawn)
        for number, (hardware, drawn) in enumerate(most)
        if len(drawn) > 1
    ]


def cloud(name: str, hardware: str, drawn: Sequence[tuple[Mark, Cost]]) -> Markup:
    left, right, top, bottom = 44, WIDTH - 14, 58, 364
    speeds = [cost.steps_per_second or 1.0 for _, cost in drawn]
    means = [100 * mark.interval.mean for mark, _ in drawn]
    memories = [min(cost.memory or 0, MOST) for _, cost in drawn]
    x, y = around(speeds, left, right, log=True), around(means, bottom, top)
    most = max(memories)
    radius = lambda memory: 3.5 + 12.5 * math.sqrt(memory / most) if most else 6.0
    spots = [(x(speed), y(mean), radius(memory)) for speed, mean, memory in zip(speeds, means, memories)]
    words = placed([cropped(mark.label, LABEL) for mark, _ in drawn], spots, (left, top, right - 6, bottom))
    groups = []
    for (mark, cost), (cx, cy, r), label in zip(drawn, spots, words):
        memory = f", {cost.memory / 1e6:,.0f} MB" if cost.memory else ""
        title = f"{mark.label}: {100 * mark.interval.mean:.2f} %, {cost.steps_per_second:.3g} steps/s{memory}"
        spot = element("circle", cx=at(cx), cy=at(cy), r=at(r), class_="spot")
        groups.append((-r, mark.place, group(mark.place, mark.kind, title, spot, label)))
    parts: list[Child] = [
        x_axis(x, top, bottom, "training steps a second, more is faster"),
        y_axis(y, left, right),
        element("text", "accuracy, %", x=6, y=top - 12, class_="axis"),
        legend(most, radius, right) if most else None,
        [markup for _, _, markup in sorted(groups, key=lambda item: item[:2])],  # small circles in front
    ]
    fastest = max(drawn, key=lambda pair: (pair[1].steps_per_second or 0, pair[0].label))[0].label
    described = f"{len(drawn)} circles. {drawn[0][0].label} is the first of the table, {fastest} the fastest."
    return figure(name, f"Accuracy against speed, on {hardware}", described, bottom + 42, *parts)


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


Box = tuple[float, float, float, float]  # left, top, right, bottom


def placed(labels: Sequence[str], spots: Sequence[tuple[float, float, float]], room: Box) -> list[Markup | None]:
    """Labels beside their circles. A label is None if every position would overlap another circle or label."""
    circles = [(cx - r, cy - r, cx + r, cy + r) for cx, cy, r in spots]
    taken: list[Box] = []
    texts: list[Markup | None] = []
    for number, (label, (cx, cy, r)) in enumerate(zip(labels, spots)):
        texts.append(None)
        if number >= MOST_LABELS:
            continue
        width, near, far = CHARACTER * len(label), 0.7 * r + 2, r + 3
        choices = [
            (cx + far, cy + 4, 0.0), (cx - far, cy + 4, 1.0), (cx, cy - far, 0.5), (cx, cy + far + 9, 0.5),
            (cx + near, cy - near, 0.0), (cx + near, cy + near + 8, 0.0), (cx - near, cy - near, 1.0),
            (cx - near, cy + near + 8, 1.0),
        ]  # fmt: skip
        for x, y, share in choices:
            start = x - share * width
            box = (start, y - 9, start + width, y + 2)
            inside = room[0] <= box[0] and box[2] <= room[2] and room[1] - 10 <= box[1] and box[3] <= room[3]
            others = (circle for place, circle in enumerate(circles) if place != number)
            if inside and not any(overlap(box, other) for other in (*taken, *others)):
                taken.append(box)
                anchor = {0.0: "", 0.5: " middle", 1.0: " end"}[share]
                texts[-1] = element("text", label, x=at(x), y=at(y), class_=f"label{anchor}")
                break
    return texts


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def strips(name: str, overview: Overview, styles: Mapping[str, str]) -> Markup | None:
    """All tasks side by side: a dot with its 95 % interval for each row, and the floor of each task."""
    lines = list(enumerate(zip(overview.lines, labels(overview.lines))))
    title = "Accuracy with 95 % intervals over seeds, %"
    if len(lines) > MOST_ROWS:
        title += f", the first {MOST_ROWS} of {len(lines):,} rows"
        lines = lines[:MOST_ROWS]
    if not lines:
        return None
    count = len(overview.tables)
    left, top, pitch, gap = 140, 48, 17, 26
    span = max((2 * WIDTH - left) / count - gap, 70)
    bottom = top + pitch * len(lines)
    scales: list[Scale] = []
    parts: list[Child] = []
    for number, table in enumerate(overview.tables):
        start = left + number * (span + gap) + 6
        own = [line.cells[table.task].interval for _, (line, _) in lines if table.task in line.cells]
        values = [value for interval in own if interval for value in ends(interval)]
        scale = around([*values, 100 * min(max(table.floor, 0.0), 1.0)], start, start + span)
        scales.append(scale)
        parts.append(element("text", cropped(table.task, int(span / 7)), x=at(start), y=16, class_="panel"))
        parts.append(list(x_axis(scale, top, bottom, ticks=linear_ticks(scale.low, scale.high, 4))))
        parts.append(floor_line(scale, table.floor, top - 4, bottom, "floor"))
    width = left + count * (span + gap) + 10
    for line, (place, (entry, label)) in enumerate(lines):
        y = top + pitch * (line + 0.5)
        dots: list[Child] = [
            element("line", x1=left, x2=at(width - 10), y1=at(y), y2=at(y), class_="rule"),
            element("text", cropped(label, LABEL), x=left - 7, y=at(y + 4), class_="label end"),
        ]
        accuracies = []
        for scale, table in zip(scales, overview.tables):
            row = entry.cells.get(table.task)
            if row and row.interval:
                accuracies.append(f"{table.task} {per_cent(row.interval)}")
                dots += whisker(scale, row.interval, y, 3)
                dots.append(element("circle", cx=at(scale(ends(row.interval)[0])), cy=at(y), r=4, class_="point"))
        first = next(iter(entry.cells.values()))
        reference = next((table.reference for table in overview.tables if table.reference), "")
        parts.append(group(place, kind_of(first, reference, styles), f"{label}: {'; '.join(accuracies)}", dots))
    described = f"{count} panels, one a task, {len(lines)} rows; the dashed line of a panel is its task's floor."
    return figure(f"{name}-tasks", title, described, bottom + 26, *parts, width=at(width), wide=True)
