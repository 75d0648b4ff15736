"""Writes the tables of these pages that come from the code: `.venv/bin/python docs/make.py`; a test compares them.

In a page such a table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

import dataclasses
import functools
import importlib
import inspect
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from picture import PROBES, own_board, probes, rows_by_family

from lra.bench import prediction
from lra.checks import CHECKS
from lra.commands import COMMANDS
from lra.commands.parameters import parameters
from lra.errors import UsageError
from lra.families import FAMILIES
from lra.leaderboard.benchmark import DIRECTIONS, read
from lra.leaderboard.benchmark_sheet import whole
from lra.leaderboard.record import SELECTIONS, Record
from lra.leaderboard.sheet import levels_sheet
from lra.models.attention import VARIANTS, Shape, register_attention
from lra.plan import untraced
from lra.recipe import protocol_named, protocols, recipes_of
from lra.sections import SECTIONS, meanings
from lra.spec import RunSpec
from lra.tasks import TASKS

DOCS = Path(__file__).resolve().parent
MEASURED = DOCS.parent / "leaderboard" / "results" / "bench-variants.json"
PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Rows = Iterable[Iterable[Any]]  # the first is the header


def commands() -> Rows:
    yield "command", "does"
    for name, command in COMMANDS.items():
        yield f"`lra {name}`", command.summary


def variants() -> Rows:
    yield "variant", "family", "paper", "time", "memory", "reads positions", "options and their defaults"
    for variant in (VARIANTS[name] for names in FAMILIES.values() for name in sorted(names)):
        options = [f"`{field.name}` {field.default!r}" for field in dataclasses.fields(variant.options)]
        reads = "yes" if variant.reads_positions else ""
        paper = re.sub(r"\b\d{4}\.\d{5}\b", r"[\g<0>](https://arxiv.org/abs/\g<0>)", variant.paper)
        name, family = f"`{variant.name}`", variant.family
        yield name, family, paper, variant.cost, variant.memory, reads, ", ".join(options)


def wide() -> Rows:
    yield "variant", "stays in float32"
    for name, variant in sorted(VARIANTS.items()):
        if variant.is_own and variant.wide:
            yield f"`{name}`", ", ".join(f"`{part}`" for part in variant.wide)


def checks() -> Rows:
    yield "check", "what it promises of a variant", "what a failure means"
    for name, check in CHECKS.items():
        yield name, check.promise, check.meaning


def tasks() -> Rows:
    yield "task", "what", "classes", "tokens", "train / validation / test"
    for name, task in TASKS.items():
        source: Any = task.source()
        sizes = " / ".join(f"{size:,}" for size in source.sizes.values())
        tokens = f"{task.documents} x {source.max_length:,}" if task.documents > 1 else f"{source.max_length:,}"
        yield f"`{name}`", task.summary, task.num_classes, tokens, sizes


def protocol_rules() -> Rows:
    yield "protocol", "rules", "scores", "parameters", "a variant from outside may narrow"
    for name in protocols():
        rules = protocol_named(name)
        budget = f"at most {rules.parameter_budget:.0%} more than the Transformer" if rules.parameter_budget else "any"
        narrow = ", ".join(f"`{parameter}`" for parameter in rules.may_narrow)
        yield f"`{name}`", rules.rules, SELECTIONS[rules.select], budget, narrow


def sizes() -> Rows:
    """The sizes of protocol `paper`."""
    yield "task", "layers", "dim", "qkv_dim", "heads", "mlp_dim", "pool", "tokens", "batch", "steps"
    for task in TASKS:
        try:
            recipes_of(task, None, "paper")
        except UsageError:
            continue
        plan = untraced(RunSpec(task, "transformer", "paper"))
        model, train = plan.encoder, plan.train
        numbers = (model.layers, model.dim, model.qkv_dim, model.heads, model.mlp_dim, model.pool)
        yield f"`{task}`", *numbers, *(f"{n:,}" for n in (plan.source.max_length, train.batch_size, train.steps))


def parameters_of_sections() -> Rows:
    yield "parameter", "type", "default", "what"
    for row in (row | {"section": name} for name in SECTIONS for row in parameters(name)):
        default = "must be set" if row["required"] else f"`{row['default']!r}`"
        yield f"`{row['section']}.{row['name']}`", row["type"], default, row["meaning"]


def shape() -> Rows:
    yield "field", "what"
    said = meanings(Shape)
    for field in dataclasses.fields(Shape):
        yield f"`shape.{field.name}`", said[field.name]
    yield "`shape.head_dim`", inspect.getdoc(Shape.head_dim)


def registration() -> Rows:
    yield "argument", "what it declares"
    for name, meaning in meanings(register_attention).items():
        yield f"`{name}`", meaning


BENCHMARKS = ("phases", "trainer", "padding", "torch")  # what each leaves in this folder is a table


def benchmark(name: str) -> Any:
    """What a benchmark has left in this folder: `lra bench NAME --results docs`."""
    return json.loads((DOCS / f"bench-{name}.json").read_bytes())


def rows_of_benchmark(name: str) -> Rows:
    module = importlib.import_module(f"lra.bench.{name}")
    yield module.HEADER
    yield from map(module.cells, benchmark(name)["rows"])


def compiled(target: str) -> Rows:
    """Memory and operations by variant and length, from `lra bench compile --results docs`."""
    rows = [row for row in benchmark("compile")["rows"] if row["target"] == target]
    lengths = sorted({row["length"] for row in rows})
    yield "variant", *(f"{length:,}" for length in lengths)
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = {row["length"]: row for row in rows if row["variant"] == name}
        yield f"`{name}`", *(compact(own[length]) if length in own else "" for length in lengths)


def compact(row: dict[str, Any]) -> str:
    return row["error"] or f"{row['memory'] / 1e6:,.0f} / {row['operations'] / 1e9:,.0f}"


def predicted() -> Rows:
    """Of `lra bench compile`, beside the project's own measurements."""
    yield prediction.HEADER
    yield from map(prediction.cells, prediction.beside(benchmark("compile")["rows"], MEASURED))


def by_length(direction: str) -> Rows:
    """Time and memory of the variants by length, from `lra bench variants --results leaderboard/results`."""
    sheet = whole(read(MEASURED), direction)
    yield (column.name for column in sheet.columns)
    yield from ((cell.text for cell in entry.cells) for entry in sheet.entries)


def cost() -> Rows:
    """Training operations and hours of LRA's table, from `docs/cost.py`."""
    rows = json.loads((DOCS / "cost.json").read_bytes())
    tasks = [*dict.fromkeys(row["task"] for row in rows)]
    yield "variant", *tasks, "all", "CPU, hours", "H100, hours"
    for name in (*dict.fromkeys(row["variant"] for row in rows), None):
        own = [row for row in rows if name in (row["variant"], None)]
        work = [sum(row["operations"] for row in own if task in (row["task"], None)) for task in (*tasks, None)]
        cpu, hopper = (sum(row["seconds"][target] for row in own) / 3600 for target in ("cpu", "hopper"))
        yield f"`{name}`" if name else "all", *(f"{x / 1e15:,.0f}" for x in work), f"{cpu:,.0f}", f"{hopper:,.1f}"


def declared_reach(record: Record) -> int | None:
    """How many tokens away the first token can see in the model of a record of `range`; None if it can see all.

    The layers are composed: what reaches a token that reaches the first one.
    """
    task, variant, protocol = record.task.name, record.variant.name, record.protocol
    plan = untraced(RunSpec(task, variant, protocol.name, overrides=protocol.overrides))
    length, seen = plan.source.max_length, np.arange(plan.source.max_length) == 0
    model = nnx.eval_shape(lambda: plan.model(nnx.Rngs(params=0, dropout=0)))
    layers = [module for _, module in nnx.iter_modules(model) if hasattr(module, "reach")]
    for layer in layers:
        seen = seen @ np.asarray(layer.reach(length), int) > 0
    return None if not layers or seen.all() else int(np.flatnonzero(seen)[-1])


def probe_results() -> Rows:
    """How far the best seed of each variant reaches in each probe, and how many seeds reach as far."""
    by_task = probes(own_board())
    yield "variant", *(f"{PROBES[task]}: {levels.difficulty.name}" for task, levels in by_task.items()), "can see"
    found: dict[str, dict[str, str]] = {}
    sees: dict[str, str] = {}
    for task, levels in by_task.items():
        sheet = levels_sheet(levels, False)
        for row, entry in zip(levels.table.rows, sheet.entries):
            cells = {column.name: cell.text for column, cell in zip(sheet.columns, entry.cells)}
            name, reaches, seeds = (cells.get(key, "") for key in ("variant", "reaches", "seeds"))
            found.setdefault(name, {})[task] = f"{reaches} ({seeds})" if seeds else reaches
            if task == "range":
                tokens = declared_reach(row.records[0])
                sees[name] = "all" if tokens is None else f"{tokens}"
    for name in itertools.chain.from_iterable(rows_by_family(own_board()).values()):
        if own := found.get(name):
            yield f"`{name}`", *(own.get(task, "") for task in by_task), sees.get(name, "")


def measured_on() -> Rows:
    names = ("device", "cpu", "cores", "python", "jax", "jaxlib", "flax")
    yield "command", *names
    for name in BENCHMARKS:
        yield f"`lra bench {name}`", *(benchmark(name)["hardware"][key] for key in names)


TABLES: dict[str, Callable[[], Rows]] = {
    "commands": commands, "variants": variants, "checks": checks, "tasks": tasks, "protocols": protocol_rules,
    "sizes": sizes, "sections": parameters_of_sections, "shape": shape,
    "registration": registration, "wide": wide, "measured_on": measured_on, "predictions": predicted,
    "cost": cost, "probe_results": probe_results,
}  # fmt: skip
TABLES |= {name: functools.partial(rows_of_benchmark, name) for name in BENCHMARKS}
TABLES |= {f"by_length_{direction}": functools.partial(by_length, direction) for direction in DIRECTIONS}
TABLES |= {f"compiled_{target}": functools.partial(compiled, target) for target in ("v5e", "hopper", "cpu")}


def markdown(rows: Rows) -> Iterator[str]:
    for number, row in enumerate(rows):
        cells = [str(cell).replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |\n"
        if number == 0:
            yield f"|{'---|' * len(cells)}\n"


def filled(text: str) -> str:
    """A page with its tables as the code has them."""
    return PLACE.sub(lambda match: match[1] + "".join(markdown(TABLES[match[2]]())) + match[3], text)


def pages() -> list[Path]:
    """The pages in this folder that have such tables."""
    return [path for path in sorted(DOCS.glob("*.md")) if PLACE.search(path.read_text("utf-8"))]


if __name__ == "__main__":
    for path in pages():
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
