"""Line charts: the curves of a run, and time and memory against length."""

from collections.abc import Callable, Mapping, Sequence

from lra.leaderboard.levels import Levels, best
from lra.leaderboard.record import CurveLine, Record
from lra.leaderboard.site.figure import CHARACTER, MOST, WIDTH, at, figure, style, x_axis, y_axis
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.names import distinct
from lra.leaderboard.site.scale import Scale, around
from lra.leaderboard.view import Point, Scaling

NAME = 20  # letters at the end of a line
Course = list[tuple[int, Sequence[float | None]]]  # a step, and the value of each seed


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return element("polyline", points=" ".join([f"{x:.1f},{y:.1f}" for x, y in points]), class_=kind)


def curves(record: Record) -> list[Markup]:
    """Accuracy and loss of every seed against the step, with their mean in bold."""
    quantities: list[tuple[str, str, float, Callable[[CurveLine], tuple[float | None, ...]]]] = [
        ("accuracy", "Accuracy while training, %", 100, lambda line: line.accuracy),
        ("loss", "Loss while training, nats", 1, lambda line: line.loss),
    ]
    drawn = []
    for name, title, factor, values in quantities:
        courses: dict[str, Course] = {
            split: [
                (line.step, [drawable(value, factor) for value in values(line)])
                for line in sorted(record.curve, key=lambda line: line.step)
                if line.split == split and 0 <= line.step < MOST
            ]
            for split in ("train", "validation")
        }
        courses = {
            split: course for split, course in courses.items() if any(v is not None for _, s in course for v in s)
        }
        if courses:
            drawn.append(panel(f"curve-{name}", title, courses, style(record.variant.name)))
    return drawn


def drawable(value: float | None, factor: float) -> float | None:
    return None if value is None or abs(value) > MOST else factor * value


def panel(name: str, title: str, courses: Mapping[str, Course], kind: str) -> Markup:
    left, right, top, bottom = 48, WIDTH - 70, 14, 250
    values = [value for course in courses.values() for _, seeds in course for value in seeds if value is not None]
    x = Scale(0, max(1, *(step for course in courses.values() for step, _ in course)), left, right)
    y = around(values, bottom, top)
    parts: list[Child] = [x_axis(x, top, bottom, "step"), y_axis(y, left, right)]
    ends = {}
    for split, course in courses.items():
        for place in range(max(len(seeds) for _, seeds in course)):
            own = [(step, seeds[place]) for step, seeds in course if place < len(seeds)]
            parts.append(path([(x(step), y(value)) for step, value in own if value is not None], f"seed {split}"))
        means = [(step, [value for value in seeds if value is not None]) for step, seeds in course]
        points = [(x(step), y(sum(seeds) / len(seeds))) for step, seeds in means if seeds]
        parts.append(path(points, f"mean {split}"))
        ends[split] = right, points[-1][1]
    parts += end_labels(ends, lambda split: f"label {split}").values()
    described = f"Thin lines are seeds, bold ones their mean: {' and '.join(courses)}."
    return figure(name, title, described, bottom + 42, element("g", parts, class_=kind))


def end_labels(ends: Mapping[str, tuple[float, float]], kind: Callable[[str], str]) -> dict[str, Markup]:
    """Labels at the ends of lines, pushed apart where they would overlap."""
    labels: dict[str, Markup] = {}
    last: dict[float, float] = {}
    short = dict(zip(ends, distinct([*ends], NAME)))
    for name, (x, y) in sorted(ends.items(), key=lambda item: (item[1][1], item[0])):
        last[x] = max(y, last.get(x, -1e9) + 13)
        labels[name] = element("text", short[name], x=at(x + 7), y=at(last[x] + 4), class_=kind(name))
    return labels


def lengths(scaling: Scaling, rows: Mapping[str, int]) -> list[Markup]:
    """Train steps a second and memory against length. Both axes are logarithmic.

    Args:
      rows: the row of each model in the table beside the chart.
    """
    quantities: list[tuple[str, str, Callable[[Point], float | None]]] = [
        ("speed", "Training steps a second against length", lambda point: point.steps_per_second),
        ("memory", "Memory of a training step against length, MB", lambda point: point.megabytes),
    ]
    drawn = []
    for name, title, value in quantities:
        points = [
            (point.model, point.length, number)
            for point in scaling.points
            if point.length > 0 and 0 < (number := value(point) or 0) < MOST
        ]
        if len({length for _, length, _ in points}) > 1:
            drawn.append(length_panel(f"{scaling.name}-{name}", title, points, rows))
    return drawn


def by_level(name: str, levels: Levels, names: Sequence[str]) -> Markup | None:
    """Accuracy against difficulty, of the seed of each row that reaches farthest, and the floor.

    Args:
      names: those of the rows of the table.
    """
    told = levels.difficulty
    drawn = {
        place: [(level, 100 * share) for level, share in enumerate(own) if share is not None]
        for place in range(len(names))
        if (own := best(levels, place))
    }
    drawn = {place: points for place, points in drawn.items() if points}
    if len(told.levels) < 2 or not drawn:
        return None
    widest = min(max(len(names[place]) for place in drawn), NAME) * CHARACTER
    left, right, top, bottom = 40, WIDTH - 12 - widest, 14, max(250, 14 + 14 * len(drawn))
    x, y = Scale(0, len(told.levels) - 1, left + 8, right), Scale(0, 102, bottom, top)
    words = lambda place: f"{told.levels[round(place)]}"
    ticks = list(map(float, range(len(told.levels))))
    parts: list[Child] = [x_axis(x, top, bottom, told.name, ticks, words), y_axis(y, left, right)]
    floor = [(x(level), y(100 * share)) for level, share in enumerate(told.floor)]
    parts.append(element("g", element("title", "a guess"), path(floor, "floor")))
    courses = {place: [(x(level), y(share)) for level, share in points] for place, points in drawn.items()}
    ends = end_labels({names[place]: course[-1] for place, course in courses.items()}, lambda _: "label ink")
    for place, course in courses.items():
        numbers = ", ".join(f"{share:.1f} % at {told.levels[level]}" for level, share in drawn[place])
        dots = [element("circle", cx=at(px), cy=at(py), r=2.5, class_="dot") for px, py in course]
        line = [element("title", f"{names[place]}: {numbers}"), path(course, "series"), dots, ends[names[place]]]
        parts.append(element("g", line, class_=style(names[place]), data_row=place))
    described = f"{len(drawn)} lines: accuracy in per cent by {told.name}, and what a guess has."
    return figure(name, f"Accuracy by {told.name}, of the seed that reaches farthest", described, bottom + 42, *parts)


def length_panel(name: str, title: str, points: Sequence[tuple[str, int, float]], rows: Mapping[str, int]) -> Markup:
    models = list(dict.fromkeys(model for model, _, _ in points))
    widest = min(max(map(len, models)), NAME) * CHARACTER
    left, right, top, bottom = 52, WIDTH - 12 - widest, 14, max(300, 14 + 14 * len(models))
    spans = sorted({length for _, length, _ in points})
    x = around(spans, left, right, log=True)
    y = around([value for _, _, value in points], bottom, top, log=True)
    parts: list[Child] = [x_axis(x, top, bottom, "tokens", spans if len(spans) < 6 else None), y_axis(y, left, right)]
    courses = {
        model: [(x(length), y(value)) for other, length, value in sorted(points) if other == model] for model in models
    }
    words = end_labels({model: course[-1] for model, course in courses.items()}, lambda _: "label ink")
    for model, course in courses.items():
        own = sorted((length, value) for other, length, value in points if other == model)
        numbers = f"{model}: " + ", ".join(f"{value:g} at {length:,}" for length, value in own)
        dots = [element("circle", cx=at(px), cy=at(py), r=2.5, class_="dot") for px, py in course]
        line = [element("title", numbers), path(course, "series"), dots, words[model]]
        parts.append(element("g", line, class_=style(model), data_row=rows.get(model)))
    described = f"{len(models)} lines, both axes logarithmic: {', '.join(models)}."
    return figure(name, title, described, bottom + 42, *parts)
