"""Time and memory against the length, a line for each variant, with the places where they end."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lra.leaderboard.benchmark import MEMORY, PLAIN, REFERENCE, TIME, Benchmark, Course, Measurement
from lra.leaderboard.site.figure import BOLD, MOST, WIDTH, Drawing, at, style, x_axis, y_axis
from lra.leaderboard.site.lines import NAME, path
from lra.leaderboard.site.markup import Child, element
from lra.leaderboard.site.names import distinct
from lra.leaderboard.site.scale import Scale, around

LINE = 13.5  # height of a label
TICK = 26  # least distance of two ticks
ENDS = {MEMORY: "x out of memory", TIME: "| too slow"}  # at the next length
Value = Callable[[Measurement], float | None]
KINDS = {REFERENCE: "base", PLAIN: "base dash1"}  # the lines that all others are compared with


class Line(NamedTuple):
    """The course of a variant in one chart.

    Attributes:
      spots: the positions of its points.
      title: what the browser shows.
      end: why it ends there; None if it does not.
    """

    name: str
    spots: list[tuple[float, float]]
    title: str
    end: str | None


def growth(benchmark: Benchmark, direction: str) -> list[Drawing]:
    """Time and memory of one direction against length, unless there are fewer than two lengths."""
    quantities: list[tuple[str, str, str, Value]] = [
        ("time", "Time a token", "µs", lambda one: 1e6 / one.tokens_per_second if one.tokens_per_second else None),
        ("memory", "Memory a token", "kB", lambda one: one.megabytes and 1e3 * one.megabytes / one.batch / one.length),
    ]
    courses = benchmark.courses(direction)
    return [
        drawn
        for name, title, unit, value in quantities
        if (drawn := panel(f"{benchmark.name}-{direction}-{name}", f"{title}, {direction}", unit, courses, value))
    ]


def panel(name: str, title: str, unit: str, courses: Sequence[Course], value: Value) -> Drawing | None:
    known = {
        course: [(one.length, number) for one in course.points if 0 < (number := value(one) or 0) < MOST]
        for course in courses
    }
    known = {course: own for course, own in known.items() if own}
    spans = sorted({length for own in known.values() for length, _ in own})
    if len(spans) < 2:
        return None
    labels = dict(zip(known, distinct([course.variant for course in known], NAME)))
    beside = WIDTH - 6 - BOLD * max(map(len, labels.values()))
    left, right, top = 46, beside - 18, 24
    bottom = top + max(300, 1.2 * LINE * len(known))
    x = around(spans, left, right, log=True)
    y = around([number for own in known.values() for _, number in own], bottom, top, log=True)
    lines = {
        course: Line(
            labels[course], [(x(length), y(number)) for length, number in own],
            f"{course.variant}: " + ", ".join(f"{number:.3g} at {length:,}" for length, number in own),
            course.end.end if course.end else None,
        )
        for course, own in known.items()
    }  # fmt: skip
    places = apart({course: line.spots[-1][1] for course, line in lines.items()}, top, bottom)
    rows = {course: place for place, course in enumerate(courses)}
    groups = {
        course: element(
            "g", element("title", line.title), drawing(line, beside, places[course]),
            class_=f"line {KINDS.get(course.variant) or style(course.variant)}", data_row=rows[course],
        )
        for course, line in lines.items()
    }  # fmt: skip
    in_front = sorted(groups, key=lambda course: course.variant in KINDS)
    ends = [words for kind, words in ENDS.items() if any(line.end == kind for line in lines.values())]
    parts: list[Child] = [
        x_axis(x, top, bottom, "tokens", spaced(spans, x), in_thousands), y_axis(y, left, right),
        element("text", unit, x=6, y=14, class_="axis"),
        element("text", ", ".join(ends) + " beyond", x=at(right), y=14, class_="note end") if ends else None,
        element("g", [groups[course] for course in in_front], class_="lines"),
    ]  # fmt: skip
    described = f"{len(lines)} lines, both axes logarithmic: {', '.join(labels.values())}."
    return Drawing(name, title, described, at(bottom + 42), tuple(parts))


def drawing(line: Line, beside: float, place: float) -> list[Child]:
    """A line with its points, its end, and its label in the column at the right."""
    (x, y), kind = line.spots[-1], "leader"
    parts: list[Child] = [
        element("line", x1=at(x), y1=at(y), x2=at(beside - 3), y2=at(place), class_=kind),
        path(line.spots, "series"),
        [element("circle", cx=at(px), cy=at(py), r=2, class_="dot") for px, py in line.spots],
    ]
    strokes = {MEMORY: ((-4, -4, 4, 4), (-4, 4, 4, -4)), TIME: ((0, -5, 0, 5),)}.get(line.end or "", ())
    parts += [element("line", x1=at(x + a), y1=at(y + b), x2=at(x + c), y2=at(y + d), class_="ended")
              for a, b, c, d in strokes]  # fmt: skip
    return [*parts, element("text", line.name, x=at(beside), y=at(place + 4), class_="label ink")]


def apart(wanted: Mapping[Course, float], top: float, bottom: float) -> dict[Course, float]:
    """Heights as near as possible to the wanted ones, in the same order, a line of text apart, from top to bottom."""
    order = sorted(wanted, key=lambda course: (wanted[course], course.variant))
    # of labels that would overlap, each block keeps its mean (isotonic regression, pool adjacent violators)
    blocks: list[tuple[float, int]] = []
    for place, course in enumerate(order):
        mean, count = wanted[course] - LINE * place, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, count = (count * mean + more * other) / (count + more), count + more
        blocks.append((mean, count))
    most = bottom - LINE * (len(order) - 1)
    starts = [min(max(mean, top), most) for mean, count in blocks for _ in range(count)]
    return {course: start + LINE * place for place, (course, start) in enumerate(zip(order, starts))}


def spaced(spans: Sequence[int], x: Scale) -> list[float]:
    """The lengths whose ticks have room. Powers of two go before the others."""
    kept: list[float] = []
    for length in sorted(spans, key=lambda length: (length & (length - 1) != 0, length)):
        if all(abs(x(length) - x(other)) >= TICK for other in kept):
            kept.append(length)
    return sorted(kept)


def in_thousands(length: float) -> str:
    """A length as it is said.

    >>> in_thousands(4096), in_thousands(1 << 20), in_thousands(1000)
    ('4K', '1M', '1,000')
    """
    if length % (1 << 20) == 0:
        return f"{length / (1 << 20):g}M"
    return f"{length / 1024:g}K" if length % 1024 == 0 else f"{length:,g}"
