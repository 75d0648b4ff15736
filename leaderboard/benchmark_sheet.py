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
GROWTH = ("faster from", "smaller from", "power of time", "declared time", "power of memory", "declared memory", "end")


def sheets(benchmark: Benchmark) -> list[Sheet]:
    """For each direction a table of numbers by length, and one of how they grow."""
    made = []
    for direction, courses in by_direction(benchmark).items():
        title = direction.capitalize()
        made.append(sheet(benchmark, direction, f"{title}, by length", measured_on(benchmark), courses, numbers))
        made.append(sheet(benchmark, f"{direction}-growth", f"{title}, how it grows", MEANING, courses, growth))
    return made


def whole(benchmark: Benchmark, direction: str) -> Sheet:
    """The table of the site: all of one direction."""
    title, caption = f"{direction.capitalize()} by length", f"{measured_on(benchmark)} {MEANING}"
    return sheet(benchmark, direction, title, caption, by_direction(benchmark)[direction], growth, numbers)


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


def measured_on(benchmark: Benchmark) -> str:
    """What was measured, and on what."""
    hardware, settings = benchmark.hardware, benchmark.settings
    device = str(hardware.get("device", ""))
    device = f"{hardware.get('cpu', device)}, {hardware.get('cores', '?')} cores" if device == "cpu" else device
    return f"{settings.get('model', '')} Measured on: {device}, JAX {hardware.get('jax', '?')}.".strip()


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
        rates = [points[length].tokens_per_second if length in points else None for length in spans]
        sizes = [points[length].megabytes if length in points else None for length in spans]
        forms = [",.3g" if rate is not None and rate < 100 else ",.0f" for rate in rates]
        cells.append((*map(number, rates, forms), *(number(size, ",.0f") for size in sizes)))
    return columns, cells


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
        "batch", "steps/s", "examples/s", "tokens/s", "+-", "speed", "MB", "compilation, s", "MHz", "kernels", "note",
    )  # fmt: skip
    columns = [Column("variant", number=False), Column("length"), Column("direction", number=False)]
    columns += [Column(name, number=name not in ("kernels", "note")) for name in names]
    entries = [Entry(cells(row)) for row in sorted(benchmark.rows, key=lambda row: (row.length, row.direction))]
    return Sheet(f"{benchmark.name}-rows", "All measurements", measured_on(benchmark), tuple(columns), tuple(entries))


def cells(row: Measurement) -> tuple[Cell, ...]:
    """The cells of a measurement. "speed" is the ratio to the Transformer's."""
    kernels, note = ", ".join(row.kernels), row.error or ""
    return (
        Cell(row.variant, row.variant), number(row.length, ","), Cell(row.direction, row.direction),
        number(row.batch, ","), number(row.steps_per_second, ".3g"), number(row.examples_per_second, ".3g"),
        number(row.tokens_per_second, ",.0f"), number(None if row.end else 100 * row.spread, ".0f"),
        number(row.speed, ".2f"), number(row.megabytes, ",.0f"), number(row.compile_seconds, ".1f"),
        number(row.clock_mhz, ",.0f"), Cell(kernels, kernels), Cell(note, note),
    )  # fmt: skip


def flat(benchmark: Benchmark) -> list[dict[str, object]]:
    """All measurements with what follows from them, under the same keys in CSV and JSON."""
    made: list[dict[str, object]] = []
    for courses in by_direction(benchmark).values():
        _, grown = growth(benchmark, courses)
        for course, summary in zip(courses, grown):
            texts = {name.replace(" ", "_"): cell.text for name, cell in zip(GROWTH, summary) if name != "end"}
            for row in (*course.points, *([course.end] if course.end else [])):
                made.append(
                    {
                        "variant": row.variant, "length": row.length, "direction": row.direction, "batch": row.batch,
                        "steps_per_second": row.steps_per_second, "examples_per_second": row.examples_per_second,
                        "tokens_per_second": row.tokens_per_second, "spread": row.spread, "speed": row.speed,
                        "speed_spread": row.speed_spread, "megabytes": row.megabytes,
                        "compile_seconds": row.compile_seconds, "clock_mhz": row.clock_mhz,
                        "kernels": ", ".join(row.kernels), "end": row.end, "error": row.error, **texts,
                    }
                )  # fmt: skip
    return made
