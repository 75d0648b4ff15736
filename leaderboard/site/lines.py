"""Pictures with lines: the curves of a run, and time and memory against length."""

from collections.abc import Callable, Sequence

from lra.leaderboard.record import Record
from lra.leaderboard.site.charts import CHARACTER, at, cropped, figure, x_axis, y_axis
from lra.leaderboard.site.markup import Child, Markup, element
from lra.leaderboard.site.scale import Scale, around
from lra.leaderboard.view import Point, Scaling

WIDTH, PANEL = 680, 320
HUES = 8


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return element("polyline", points=" ".join(f"{at(x)},{at(y)}" for x, y in points), class_=kind)


def curves(record: Record) -> list[Markup]:
    """Accuracy and loss of every seed against the step, and their mean in bold."""
    found = []
    for quantity, title in (("accuracy", "Accuracy while training, %"), ("loss", "Loss while training, nats")):
        factor = 100 if quantity == "accuracy" else 1
        lines = {
            split: [
                (line["step"], [None if value is None else factor * value for value in line[quantity]])  # type: ignore[literal-required]
                for line in record["curve"]
                if line["split"] == split
            ]
            for split in ("train", "validation")
        }
        values = [value for split in lines.values() for _, seeds in split for value in seeds if value is not None]
        steps = [step for split in lines.values() for step, _ in split]
        if values and max(steps) > 0:
            found.append(panel(quantity, title, lines, values, steps))
    return found


def panel(quantity: str, title: str, lines: dict, values: Sequence[float], steps: Sequence[int]) -> Markup:
    left, right, top, bottom = 60, WIDTH - 90, 14, 230
    x, y = Scale(0, max(steps), left, right), around(values, bottom, top)
    parts: list[Child] = [x_axis(x, top, bottom, "step"), y_axis(y, left, right, quantity)]
    ends = []
    for split, own in lines.items():
        if not own:
            continue
        count = len(own[0][1])
        for place in range(count):
            points = [(x(step), y(seeds[place])) for step, seeds in own if seeds[place] is not None]
            parts.append(path(points, f"seed {split}"))
        means = [(step, [value for value in seeds if value is not None]) for step, seeds in own]
        points = [(x(step), y(sum(seeds) / len(seeds))) for step, seeds in means if seeds]
        parts.append(path(points, f"mean {split}"))
        ends.append((split, points[-1][1]))
    parts.append(end_labels(ends, right, lambda split: f"label {split}"))
    described = "Thin lines are seeds, bold ones their mean; " + " and ".join(name for name, _ in ends)
    return figure(f"curve-{quantity}", title, described, bottom + 42, *parts)


def end_labels(ends: Sequence[tuple[str, float]], x: float, kind: Callable[[str], str]) -> list[Child]:
    """Names at the ends of lines, pushed apart where they would cover each other."""
    found: list[Child] = []
    last = -1e9
    for name, y in sorted(ends, key=lambda item: (item[1], item[0])):
        last = max(y, last + 13)
        found.append(element("text", cropped(name, 20), x=at(x + 6), y=at(last + 4), class_=kind(name)))
    return found


def lengths(scaling: Scaling) -> list[Markup]:
    """Steps a second and memory against length, both logarithmic."""
    rate: Callable[[Point], float | None] = lambda point: point.steps_per_second
    megabytes: Callable[[Point], float | None] = lambda point: point.megabytes
    found = []
    for name, title, value in (
        ("speed", "Training steps a second against length", rate),
        ("memory", "Memory of a training step against length, MB", megabytes),
    ):
        points = [(point.model, point.length, number) for point in scaling.points if (number := value(point))]
        if len({length for _, length, _ in points}) > 1:
            found.append(length_panel(f"{scaling.name}-{name}", title, points))
    return found


def length_panel(name: str, title: str, points: Sequence[tuple[str, int, float]]) -> Markup:
    models = list(dict.fromkeys(model for model, _, _ in points))
    widest = min(max(map(len, models)), 20) * CHARACTER
    left, right, top, bottom = 66, WIDTH - 12 - widest, 14, max(300, 14 + 14 * len(models))
    x = around([length for _, length, _ in points], left, right, log=True)
    y = around([value for _, _, value in points], bottom, top, log=True)
    spans = sorted({length for _, length, _ in points})
    parts: list[Child] = [x_axis(x, top, bottom, "tokens", spans if len(spans) <= 8 else None)]
    parts.append(y_axis(y, left, right, "MB" if "MB" in title else "steps/s"))
    ends = []
    for number, model in enumerate(models):
        own = sorted((length, value) for other, length, value in points if other == model)
        places = [(x(length), y(value)) for length, value in own]
        marks = [element("circle", cx=at(px), cy=at(py), r=2.5, class_="dot") for px, py in places]
        words = element("title", f"{model}: " + ", ".join(f"{value:g} at {length:,}" for length, value in own))
        parts.append(
            element("g", words, path(places, "series"), *marks, class_=f"hue{number % HUES} dash{number // HUES}")
        )
        ends.append((model, places[-1][1]))
    parts.append(end_labels(ends, right, lambda model: f"label ink{models.index(model) % HUES}"))
    described = f"{len(models)} lines against length, both axes logarithmic: {', '.join(models)}."
    return figure(name, title, described, bottom + 42, *parts)
