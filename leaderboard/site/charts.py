"""Pictures of a task's table: score against speed, and bars with intervals."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from lra.leaderboard.board import Row, Table
from lra.leaderboard.sheet import labels
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.scale import Scale, around, shown

WIDTH = 680
MOST_BARS = 40
CHARACTER = 6.3  # units a letter of a label takes


def figure(name: str, title: str, description: str, height: float, *parts: Child, width: float = WIDTH) -> Markup:
    """A picture that a screen reader hears as its title and description; the numbers are in the table."""
    svg = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
    return element("figure", element("div", svg, class_="canvas"), element("figcaption", title))


def at(x: float) -> float:
    return round(x, 1)


def x_axis(
    scale: Scale, top: float, bottom: float, title: str, ticks: Sequence[float] | None = None
) -> Iterable[Markup]:
    for tick in ticks or scale.ticks():
        x = at(scale(tick))
        yield element("line", x1=x, x2=x, y1=at(top), y2=at(bottom), class_="grid")
        yield element("text", shown(tick), x=x, y=at(bottom + 16), class_="tick middle")
    yield element("text", title, x=at((scale.start + scale.end) / 2), y=at(bottom + 34), class_="axis middle")


def y_axis(scale: Scale, left: float, right: float, title: str) -> Iterable[Markup]:
    for tick in scale.ticks():
        y = at(scale(tick))
        yield element("line", x1=at(left), x2=at(right), y1=y, y2=y, class_="grid")
        yield element("text", shown(tick), x=at(left - 7), y=at(y + 4), class_="tick end")
    middle = at((scale.start + scale.end) / 2)
    yield element(
        "text",
        title,
        x=at(left - 44),
        y=middle,
        class_="axis middle",
        transform=f"rotate(-90 {at(left - 44)} {middle})",
    )


def bars(name: str, table: Table) -> Markup | None:
    """The mean of each row with its 95 % interval; the floor and the reference as lines."""
    names = labels(table.rows)
    rows = [(place, row, label) for place, (row, label) in enumerate(zip(table.rows, names)) if row.interval]
    if not rows:
        return None
    left, right, top, pitch = 190, WIDTH - 70, 26, 20
    cut, rows = len(rows) - MOST_BARS, rows[:MOST_BARS]
    ends = [100 * value for _, row, _ in rows for value in row.interval or () if value is not None]
    scale = around([*ends, 100 * table.floor], left, right, zero=True)
    scale = Scale(0, min(scale.high, 100), left, right)
    bottom = top + pitch * len(rows)
    inside = lambda value: at(scale(min(max(100 * value, scale.low), scale.high)))
    parts: list[Child] = [x_axis(scale, top - 4, bottom, "accuracy on the test split, %")]
    for line, (place, row, label) in enumerate(rows):
        y = top + pitch * line
        mean, low, high = row.interval or (0.0, None, None)
        kind = "reference" if label == table.reference else "unranked" if row.breaches else ""
        middle = at(y + pitch / 2)
        said = f"{label}: {100 * mean:.2f} %"
        marks: list[Child] = [
            element("rect", x=left, y=at(y + 4), width=max(at(inside(mean) - left), 0), height=pitch - 8, class_="bar"),
            element("text", cropped(label, 28), x=left - 8, y=at(y + 14), class_="label end"),
        ]
        if low is not None and high is not None:
            said += f", 95 % interval {100 * low:.2f} to {100 * high:.2f}"
            marks += [
                element("line", x1=inside(low), x2=inside(high), y1=middle, y2=middle, class_="whisker"),
                *(element("line", x1=inside(end), x2=inside(end), y1=middle - 4, y2=middle + 4, class_="whisker")
                  for end in (low, high)),
            ]  # fmt: skip
        last = inside(high if high is not None else mean)
        marks.append(element("text", f"{100 * mean:.2f}", x=at(last + 6), y=at(y + 14), class_="number"))
        parts.append(element("g", element("title", said), *marks, class_=f"row {kind}".strip(), data_row=place))
    floor = at(scale(100 * table.floor))
    parts.append(element("line", x1=floor, x2=floor, y1=top - 8, y2=bottom, class_="floor"))
    parts.append(element("text", f"floor {100 * table.floor:.1f}", x=floor, y=top - 12, class_="note middle"))
    more = f"; the first {MOST_BARS} of {cut + MOST_BARS} rows" if cut > 0 else ""
    title = f"Accuracy with 95 % intervals over seeds, {table.task}{more}"
    best = rows[0][2]
    described = f"{len(rows)} bars, best first: {best} leads. The dashed line is the floor."
    return figure(f"{name}-bars", title, described, bottom + 42, *parts)


def scatter(name: str, table: Table) -> list[Markup]:
    """Accuracy against speed with memory as area, for each hardware with at least two rows."""
    rows = [
        (place, row, label)
        for place, (row, label) in enumerate(zip(table.rows, labels(table.rows)))
        if row.mean is not None and row.steps_per_second
    ]
    counts = Counter(row.hardware for _, row, _ in rows)
    found = []
    for number, (hardware, count) in enumerate(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]):
        if count > 1:
            own = [item for item in rows if item[1].hardware == hardware]
            found.append(cloud(f"{name}-speed-{number}", table, hardware, own))
    return found


def cloud(name: str, table: Table, hardware: str, rows: Sequence[tuple[int, Row, str]]) -> Markup:
    left, right, top, bottom = 62, WIDTH - 20, 18, 350
    speeds = [row.steps_per_second or 1.0 for _, row, _ in rows]
    means = [100 * (row.mean or 0) for _, row, _ in rows]
    x, y = around(speeds, left, right, log=True), around(means, bottom, top)
    most = max((row.memory or 0 for _, row, _ in rows), default=0)
    radius = lambda memory: 4 + 14 * math.sqrt((memory or 0) / most) if most else 6.0
    spots = [(x(speed), y(mean), radius(row.memory)) for speed, mean, (_, row, _) in zip(speeds, means, rows)]
    places = placed([(cropped(label, 24), spot) for (_, _, label), spot in zip(rows, spots)], left, right, top, bottom)
    parts: list[Child] = [x_axis(x, top, bottom, "training steps a second (more is faster)")]
    parts.append(y_axis(y, left, right, "accuracy, %"))
    groups = []
    for (place, row, label), (cx, cy, r), words in zip(rows, spots, places):
        memory = f", {row.memory / 1e6:,.0f} MB" if row.memory else ""
        said = f"{label}: {100 * (row.mean or 0):.2f} %, {row.steps_per_second:.3g} steps/s{memory}"
        kind = "reference" if label == table.reference else "unranked" if row.breaches else ""
        spot = element("circle", cx=at(cx), cy=at(cy), r=at(r), class_="spot")
        groups.append((-r, place, element("g", element("title", said), spot, words, class_=f"row {kind}".strip(),
                                          data_row=place)))  # fmt: skip
    parts += [group for _, _, group in sorted(groups, key=lambda item: item[:2])]
    if most:
        parts.append(legend(most, radius(most), right, bottom))
    title = f"Accuracy against speed, {table.task}, on {hardware}; area: memory"
    fastest = max(rows, key=lambda item: (item[1].steps_per_second or 0, item[2]))[2]
    described = f"{len(rows)} circles. {rows[0][2]} is the most accurate, {fastest} the fastest."
    return figure(name, title, described, bottom + 44, *parts)


def legend(most: int, radius: float, right: float, bottom: float) -> Markup:
    """What the areas mean."""
    x, y = right - radius - 4, bottom - radius - 8
    words = element("text", f"{most / 1e6:,.0f} MB", x=at(x - radius - 5), y=at(y + 4), class_="note end")
    return element("g", element("circle", cx=at(x), cy=at(y), r=at(radius), class_="key"), words)


def placed(
    marks: Sequence[tuple[str, tuple[float, float, float]]], left: float, right: float, top: float, bottom: float
) -> list[Markup | None]:
    """Labels beside their circles where they cover neither circle nor label; None where there is no such place."""
    taken = [(cx - r, cy - r, cx + r, cy + r) for _, (cx, cy, r) in marks]
    found: list[Markup | None] = []
    for label, (cx, cy, r) in marks:
        width = CHARACTER * len(label)
        choices = [
            (cx + r + 3, cy + 4, "start"), (cx - r - 3, cy + 4, "end"), (cx, cy - r - 4, "middle"),
            (cx, cy + r + 12, "middle"), (cx + 0.7 * r + 3, cy - 0.7 * r - 3, "start"),
            (cx + 0.7 * r + 3, cy + 0.7 * r + 11, "start"), (cx - 0.7 * r - 3, cy - 0.7 * r - 3, "end"),
            (cx - 0.7 * r - 3, cy + 0.7 * r + 11, "end"),
        ]  # fmt: skip
        for x, y, anchor in choices:
            start = x - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            box = (start, y - 10, start + width, y + 2)
            inside = left <= box[0] and box[2] <= right and top <= box[1] and box[3] <= bottom
            own = (cx - r, cy - r, cx + r, cy + r)
            if inside and not any(overlap(box, other) for other in taken if other != own):
                taken.append(box)
                found.append(element("text", label, x=at(x), y=at(y), class_=f"label {anchor}"))
                break
        else:
            found.append(None)
    return found


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def cropped(label: str, most: int) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
