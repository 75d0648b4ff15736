"""Times training and inference of the variants by length until memory ends, in turns with the Transformer (LRA's table
2)."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from lra import settings
from lra.bench.frequency import clock_mhz
from lra.bench.programs import Program, TooLarge
from lra.bench.report import Report
from lra.bench.timing import Run, Timing, enough, seconds
from lra.checks.check import DoesNotApply
from lra.checks.growth import exponent
from lra.errors import UserError
from lra.leaderboard.benchmark import DIRECTIONS, MEMORY, PLAIN, REFERENCE, REFUSED, TIME
from lra.models.attention import VARIANTS
from lra.models.kernels import backends
from lra.plan import Plan, resolve
from lra.proof import choice
from lra.proof.choice import AUTO, Choice, always, proven_for
from lra.recipe import merged, variant_named
from lra.spec import RunSpec

TASK, PROTOCOL, BASE = "text", "paper", REFERENCE
LENGTHS = (1024, 2048, 3072, 4096)  # LRA's; each further one is twice the last
ROUNDS = 5
MOST = 10.0  # seconds of a step
MOST_COMPILING = 120.0  # seconds, of the length before
TURN = 0.5  # seconds: a longer step of the Transformer is timed once a length, and not beside each variant
# by platform: the tokens of a batch, and bindings that make the model small
TOKENS = {"cpu": 1 << 12}
SMALL = {
    "cpu": tuple(
        f"encoder.{name}" for name in ("layers = 1", "dim = 128", "qkv_dim = 128", "heads = 2", "mlp_dim = 512")
    )
}
TRAINING = DIRECTIONS[0]
KEYS = ("variant", "length", "direction")
HEADER = ("variant", "length", "direction", "steps/s", "+-", "tokens/s", "speed", "MB", "note")


class Entry(NamedTuple):
    """A line of the table.

    Attributes:
      backend: the implementation of all ops; None for what a run takes.
      memory: how memory grows with the length.
    """

    name: str
    variant: str
    backend: str | None
    cost: str
    memory: str


class Loop(NamedTuple):
    """A run, and how many of its steps are timed together."""

    run: Run
    steps: int


def entries(names: Sequence[str]) -> list[Entry]:
    """The Transformer with fused attention, the same with its whole matrix of scores, and the named variants."""
    base = entry(BASE)
    plain = Entry(PLAIN, BASE, "plain", base.cost, "L^2")
    return [base, plain, *(entry(name) for name in names if name != BASE)]


def entry(name: str) -> Entry:
    variant = VARIANTS[name]
    return Entry(name, name, None, variant.cost, variant.memory)


def named(text: str) -> list[str]:
    """The variants in a list with commas, or all of them.

    Raises:
      UsageError: there is no such variant.
    """
    names = sorted(VARIANTS) if text == "all" else text.split(",")
    for name in names:
        variant_named(name)
    return names


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row. "speed" is the ratio to the Transformer's."""
    start = [row["variant"], f"{row['length']:,}", row["direction"]]
    if row["end"]:
        return [*start, *[""] * 5, row["error"]]
    numbers = f"{row['steps_per_second']:.3g}", f"{100 * row['spread']:.0f} %", f"{row['tokens_per_second']:,.0f}"
    speed = "" if row["speed"] is None else f"{row['speed']:.2f}"
    return [*start, *numbers, speed, f"{row['megabytes']:,.0f}", ""]


def settings_of(overrides: Sequence[str], kernels: str | None = None) -> dict[str, Any]:
    """What the rows of one file have in common.

    Args:
      overrides: gin bindings.
      kernels: the implementation of the ops, as for `lra run`; None is XLA on a CPU and "auto" elsewhere.
    """
    platform = settings.device().platform
    tokens, small = TOKENS.get(platform, 1 << 15), SMALL.get(platform, ())
    size = "one layer of 128, 2 heads" if small else "4 layers of 256, 4 heads"
    model = f"Byte-level Text, protocol {PROTOCOL}, {size}; {tokens:,} tokens a step, or one text if it is longer."
    if overrides:
        model += f" By hand: {', '.join(overrides)}."
    return {
        "model": f"{model} A step that would take longer than {MOST:g} s is not run.", "task": TASK,
        "protocol": PROTOCOL, "overrides": [*merged(small, overrides)], "tokens": tokens, "most_seconds": MOST,
        "kernels": kernels or ("xla" if platform == "cpu" else AUTO),
    }  # fmt: skip


def choice_of(one: Entry, plan: Plan, way: str, kernels: str) -> Choice:
    """The implementations of the ops: the entry's own, or as a run takes them, which scores in XLA."""
    if one.backend or way != TRAINING:
        return always(one.backend or "xla", "the row says so", 1)
    return proven_for(plan, [plan.source.max_length]) if kernels == AUTO else choice.named(kernels, 1)


def bench(
    names: Sequence[str], lengths: Sequence[int] | None, overrides: Sequence[str], report: Report
) -> Iterator[dict[str, Any]]:
    """Measures the rows that the report lacks, adds them to it and yields them.

    Args:
      lengths: in tokens; None for LRA's, and from there on until each variant has ended.
      overrides: gin bindings.
    """
    for length in lengths or onwards():
        left = {way: [one for one in entries(names) if not ended(report, one, way, length)] for way in DIRECTIONS}
        if report.late or not any(left.values()):
            return
        for way, some in left.items():
            yield from bench_at(length, way, some, overrides, report)


def bench_at(
    length: int, way: str, some: Sequence[Entry], overrides: Sequence[str], report: Report
) -> Iterator[dict[str, Any]]:
    """The rows of one direction at one length."""
    key = lambda one: {"variant": one.name, "length": length, "direction": way}
    wanted = [one for one in some if report.wants(**key(one))]
    base: Loop | None = None  # the Transformer's loop, if it is short enough to take turns with the variants
    if wanted and wanted[0].name != BASE and is_short(timing_in(report, length, way)):
        _, base = measured(entry(BASE), way, length, overrides, report, None)
    for one in wanted:
        if report.late:
            return
        row, loop = measured(one, way, length, overrides, report, base)
        report.add(row)
        yield row
        if one.name == BASE and is_short(timing_in(report, length, way)):
            base = loop


def onwards() -> Iterator[int]:
    """LRA's lengths, and then each twice the last."""
    yield from LENGTHS
    length = LENGTHS[-1]
    while True:
        yield (length := 2 * length)


def rows_of(report: Report, one: Entry, way: str) -> list[dict[str, Any]]:
    """The rows of one direction of a variant, by length."""
    own = [row for row in report.rows.values() if (row["variant"], row["direction"]) == (one.name, way)]
    return sorted(own, key=lambda row: row["length"])


def ended(report: Report, one: Entry, way: str, length: int) -> bool:
    """Whether the row of a shorter length says why there are no longer ones."""
    return any(row["end"] and row["length"] < length for row in rows_of(report, one, way))


def measured(
    one: Entry, way: str, length: int, overrides: Sequence[str], report: Report, base: Loop | None
) -> tuple[dict[str, Any], Loop | None]:
    """A row, and its loop if it could run."""
    row: dict[str, Any] = {"variant": one.name, "length": length, "direction": way, "batch": 1, "end": None}
    row |= {"cost": one.cost, "memory": one.memory, "kernels": [], "error": None}
    try:
        plan = resolve(RunSpec(TASK, one.variant, PROTOCOL, overrides=bindings(length, overrides)))
        row["batch"] = plan.train.batch_size
        foresee(rows_of(report, one, way), one, length, row["batch"])
        chosen = choice_of(one, plan, way, report.common["settings"]["kernels"])
        with backends.deciding(chosen):
            program = Program(plan, way)
        row["kernels"] = chosen.words
        row |= {"megabytes": program.bytes / 1e6, "compile_seconds": program.compile_seconds}
        run = program.start()
        loop = Loop(run, repetitions(run))
        times = timed({one.name: loop} | ({BASE: base} if base else {}))
    except TooSlow as error:
        return row | {"end": TIME, "error": str(error)}, None
    except TooLarge as error:
        return row | {"megabytes": error.bytes / 1e6, "end": MEMORY, "error": str(error)}, None
    except (UserError, NotImplementedError) as error:
        return row | {"end": REFUSED, "error": str(error)}, None
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return row | {"end": MEMORY, "error": "out of memory"}, None
    return row | numbers(row, times[one.name], times.get(BASE) or timing_in(report, length, way)), loop


def timed(loops: Mapping[str, Loop]) -> dict[str, Timing]:
    """The time of a step of each loop. They take turns.

    A difference of two loops, which excludes the time of launching, would cost three times as many steps of up to
    seconds. A loop is so long that this time is nothing beside it.
    """
    rounds = [{name: seconds(*loop) / loop.steps for name, loop in loops.items()} for _ in range(ROUNDS)]
    own = {name: [one[name] for one in rounds] for name in loops}
    return {name: Timing(statistics.median(times), (max(times) - min(times)) / 2) for name, times in own.items()}


def repetitions(run: Run) -> int:
    """How many steps take so long that launching them is nothing beside. This warms up the run.

    Raises:
      TooSlow: a step takes too long to be repeated.
    """
    took = seconds(run, 1)
    if took > MOST and (took := seconds(run, 1)) > MOST:  # the first may have waited for something else
        raise TooSlow(f"a step took {took:.0f} s")
    return 1 if took > TURN else enough(run)


def bindings(length: int, overrides: Sequence[str]) -> tuple[str, ...]:
    """The bindings of a plan: texts of a length, and as many as have the tokens of a step."""
    common = settings_of(())
    batch = max(common["tokens"] // length, 1)
    chosen = (*common["overrides"], f"train.batch_size = {batch}")
    return merged(chosen, overrides, (f"{TASK}.max_length = {length}",))


def numbers(row: dict[str, Any], own: Timing, base: Timing | None) -> dict[str, Any]:
    """What follows from the times of a step and of the Transformer's."""
    rate, spread = 1 / own.seconds, own.spread / own.seconds
    return {
        "steps_per_second": rate,
        "examples_per_second": rate * row["batch"],
        "tokens_per_second": rate * row["batch"] * row["length"],
        "spread": spread,
        "speed": base.seconds / own.seconds if base else None,
        "speed_spread": spread + base.spread / base.seconds if base else 0.0,
        "clock_mhz": clock_mhz(),
    }


def timing_in(report: Report, length: int, way: str) -> Timing | None:
    """The time of the Transformer's step in its own row."""
    row = report.rows.get((BASE, length, way))
    if not row or row["end"]:
        return None
    return Timing(1 / row["steps_per_second"], row["spread"] / row["steps_per_second"])


def is_short(timing: Timing | None) -> bool:
    return timing is not None and timing.seconds < TURN


class TooSlow(Exception):
    """A program takes so long that neither it nor a longer one is timed. The message says how long."""


def foresee(shorter: Sequence[dict[str, Any]], one: Entry, length: int, batch: int) -> None:
    """Raises TooSlow if a step would take too long, by the longest length before and the declared power of the length.

    Args:
      shorter: the rows of the variant, by length.
    """
    known = [row for row in shorter if row["length"] < length and not row["end"]]
    if not known:
        return
    last = known[-1]
    try:
        power = exponent(one.cost)
    except DoesNotApply:
        power = 2.0
    expected = batch / last["examples_per_second"] * (length / last["length"]) ** power
    if expected > MOST:
        raise TooSlow(f"a step would take about {expected:.0f} s")
    if last["compile_seconds"] > MOST_COMPILING:
        raise TooSlow(f"compilation took {last['compile_seconds']:.0f} s at {last['length']:,}")
