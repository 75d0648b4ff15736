"""The tables of a benchmark of the variants: numbers by length, how they grow, and all measurements."""

from collections.abc import Callable, Sequence

from lra.leaderboard.benchmark import DIRECTIONS, REFERENCE, Benchmark, Course, Measurement
from lra.leaderboard.scaling import Crossing, Fit
from lra.leaderboard.sheet import Cell, Column, Entry, Sheet, number

SHOWN = 4  # lengths that every table has; the site and CSV have all
ENDS = {"memory": "out of memory", "time": "too slow", "refused": "not possible"}
MEANING = (
    "Faster, smaller: than the Transformer with fused attention, from this length on. "
    "Power: p of the length L in L^p, of an example, ± the half of its 95 % interval."
)
Part = Callable[[Benchmark, Sequence[Course]], tuple[list[Column], list[tuple[Cell, ...]]]]
FIELDS = (
    "variant", "length", "direction", "batch", "steps_per_second", "examples_per_second", "tokens_per_second",
    "spread", "speed", "speed_spread", "megabytes", "compile_seconds", "clock_mhz", "kernels", "end", "error",
)  # fmt: skip
GROWTH = ("faster from", "smaller from", "power of time", "declared time", "power of memory", "declared memory", "end")


def sheets(benchmark: Benchmark) -> list[Sheet]:
    """For each direction a table of numbers by length, and one of how they grow."""
    made = []
    for direction, courses in by_direction(benchmark).items():
        where = f"{direction.capitalize()} on {device_of(benchmark)}"
        made.append(sheet(benchmark, direction, f"{where}, by length", measured_on(benchmark), courses, numbers))
        made.append(sheet(benchmark, f"{direction}-growth", f"{where}, how it grows", MEANING, courses, growth))
    return made


def whole(benchmark: Benchmark, direction: str) -> Sheet:
    """The table of the site: all of one direction."""
    title = f"{direction.capitalize()} on {device_of(benchmark)}, by length"
    courses, caption = by_direction(benchmark)[direction], f"{measured_on(benchmark)} {MEANING}"
    return sheet(benchmark, direction, title, caption, courses, growth, numbers)


def sheet(
    benchmark: Benchmark, name: str, title: str, caption: str, courses: Sequence[Course], *parts: Part
) -> Sheet:  # fmt: skip
    """A table of a row for each course, with the columns of some parts side by side."""
    columns, cells = [Column("variant", number=False)], [[Cell(course.variant, course.variant)] for course in courses]
    for part in parts:
        more, others = part(benchmark, courses)
        columns += more
        for own, other in zip(cells, others):
            own += other
    return Sheet(f"{benchmark.name}-{name}", title, caption, tuple(columns), tuple(Entry(tuple(own)) for own in cells))


def device_of(benchmark: Benchmark) -> str:
    hardware = benchmark.hardware
    device = str(hardware.get("device", "?"))
    return f"{hardware.get('cpu', device)}, {hardware.get('cores', '?')} cores" if device == "cpu" else device


def measured_on(benchmark: Benchmark) -> str:
    """What was measured, and with what."""
    return f"{benchmark.settings.get('model', '')} JAX {benchmark.hardware.get('jax', '?')}.".strip()


def by_direction(benchmark: Benchmark) -> dict[str, list[Course]]:
    courses = {direction: benchmark.courses(direction) for direction in DIRECTIONS}
    return {direction: own for direction, own in courses.items() if own}


def numbers(benchmark: Benchmark, courses: Sequence[Course]) -> tuple[list[Column], list[tuple[Cell, ...]]]:
    """Tokens a second and memory at each length."""
    spans = benchmark.lengths
    columns = [
        Column(f"{unit}, {length:,}", extra=place >= SHOWN)
        for unit in ("tokens/s", "MB")
        for place, length in enumerate(spans)
    ]
    cells = []
    for course in courses:
        points = {one.length: one for one in course.points}
        rates = [rate(points[length].tokens_per_second) if length in points else Cell() for length in spans]
        sizes = [number(points[length].megabytes, ",.0f") if length in points else Cell() for length in spans]
        cells.append((*rates, *sizes))
    return columns, cells


def rate(value: float | None) -> Cell:
    """A number of things a second, with three digits or more."""
    return number(value, ",.0f" if value is not None and value >= 100 else ".3g")


def growth(benchmark: Benchmark, courses: Sequence[Course]) -> tuple[list[Column], list[tuple[Cell, ...]]]:
    """From which length a variant is faster and smaller than the Transformer, and the fitted powers of the length."""
    spans = benchmark.lengths
    reference = next((course for course in courses if course.variant == REFERENCE), None)
    cells = []
    for course in courses:
        pairs = [(Crossing(None), 0)] * 2
        if reference and course is not reference:
            pairs = [course.faster(reference), course.smaller(reference)]
        end = f"{ENDS[course.end.end or 'refused']} at {course.end.length:,}" if course.end else ""
        cells.append(
            (
                *(crossing_cell(own, longest, spans) for own, longest in pairs),
                fit_cell(course.time_fit), Cell(course.cost, course.cost),
                fit_cell(course.memory_fit), Cell(course.memory, course.memory),
                Cell(end, course.end.length if course.end else None),
            )
        )  # fmt: skip
    return [Column(name, number="declared" not in name and name != "end") for name in GROWTH], cells


def crossing_cell(own: Crossing, longest: int, spans: list[int]) -> Cell:
    """From which length on; an interpolated length has three digits."""
    if not longest:
        return Cell()
    if own.length is None:
        return Cell(f"none up to {longest:,}", None)
    if own.first:
        return Cell(f"{own.length:,.0f} or less", own.length)
    length = own.length if own.length in spans else float(f"{own.length:.3g}")
    return Cell(f"{length:,.0f}", own.length)


def fit_cell(own: Fit | None) -> Cell:
    """A power with the half of its 95 % interval."""
    if own is None:
        return Cell()
    half = "" if own.high is None else f" ± {own.high - own.power:.2f}"
    return Cell(f"{own.power:.2f}{half}", own.power)


def rows(benchmark: Benchmark) -> Sheet:
    """All measurements, a row for each."""
    names = (
        "batch", "steps/s", "examples/s", "tokens/s", "+- %", "speed", "MB", "compilation, s", "MHz", "kernels", "note",
    )  # fmt: skip
    columns = [Column("variant", number=False), Column("length"), Column("direction", number=False)]
    columns += [Column(name, number=name not in ("kernels", "note")) for name in names]
    entries = [Entry(cells(row)) for row in sorted(benchmark.rows, key=lambda row: (row.length, row.direction))]
    return Sheet(
        f"{benchmark.name}-rows",
        f"All measurements on {device_of(benchmark)}",
        measured_on(benchmark),
        tuple(columns),
        tuple(entries),
    )


def cells(row: Measurement) -> tuple[Cell, ...]:
    """The cells of a measurement. "speed" is the ratio to the Transformer's."""
    kernels, note = ", ".join(row.kernels), row.error or ""
    return (
        Cell(row.variant, row.variant), number(row.length, ","), Cell(row.direction, row.direction),
        number(row.examples_per_second and row.batch, ","), rate(row.steps_per_second), rate(row.examples_per_second),
        rate(row.tokens_per_second), number(None if row.end else 100 * row.spread, ".0f"),
        number(row.speed, ".2f"), number(row.megabytes, ",.0f"), number(row.compile_seconds, ".1f"),
        number(row.clock_mhz, ",.0f"), Cell(kernels, kernels), Cell(note, note),
    )  # fmt: skip


def flat(benchmark: Benchmark) -> list[dict[str, object]]:
    """All measurements with what follows from them, as CSV has them."""
    made: list[dict[str, object]] = []
    for courses in by_direction(benchmark).values():
        reference = next((course for course in courses if course.variant == REFERENCE), None)
        for course in courses:
            known = summary(course, reference)
            for row in (*course.points, *([course.end] if course.end else [])):
                made.append({name: getattr(row, name) for name in FIELDS} | {"kernels": ", ".join(row.kernels)} | known)
    return made


def summary(course: Course, reference: Course | None) -> dict[str, object]:
    """The numbers of `growth`: None where there is none."""
    made: dict[str, object] = {}
    for name, compared in (("faster", Course.faster), ("smaller", Course.smaller)):
        own, longest = compared(course, reference) if reference and course is not reference else (Crossing(None), 0)
        made |= {f"{name}_from": own.length, f"{name}_known_to": longest or None}
    for name, power, declared in (("time", course.time_fit, course.cost), ("memory", course.memory_fit, course.memory)):
        low, high = (power.low, power.high) if power else (None, None)
        made |= {f"{name}_power": power and power.power, f"{name}_power_low": low, f"{name}_power_high": high}
        made[f"{name}_declared"] = declared
    return made
