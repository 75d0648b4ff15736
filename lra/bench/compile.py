"""What the compilers of devices say of the training step of each variant. Nothing runs, so no device is needed.

Everything is exact: the same compilers give the same numbers on every machine.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lra import memory, settings, targets
from lra.bench import hlo
from lra.bench.report import Report
from lra.bench.variants import PROTOCOL, SMALL, TASK, TOKENS, Entry, entries, named
from lra.errors import UserError
from lra.models.kernels import backends
from lra.plan import Plan, resolve
from lra.recipe import merged
from lra.spec import RunSpec
from lra.tasks import Split
from lra.train import step_functions

LENGTHS = (1024, 2048, 4096, 8192, 16384)
KEYS = ("target", "variant", "length")
HEADER = ("target", "variant", "length", "MB", "arguments", "GFLOP", "GB moved", "M elements", "note")
ACCELERATOR = 1 << 15, ("encoder.layers = 1",)  # the tokens of a batch, and bindings; a layer is enough to compare
PACKAGES = ("jax", "jaxlib", "flax", "optax")  # these make the programs


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row. Memory is that of arguments and temporaries."""
    start = [row["target"], row["variant"], f"{row['length']:,}"]
    if row["error"]:
        return [*start, *[""] * 5, row["error"]]
    numbers = row["memory"] / 1e6, row["arguments"] / 1e6, row["operations"] / 1e9, row["bytes"] / 1e9
    return [*start, *(f"{number:,.1f}" for number in (*numbers, row["elements"] / 1e6)), ""]


def compilers(overrides: Sequence[str], names: Iterable[str] = targets.TARGETS) -> dict[str, Any]:
    """What decides the numbers: the versions of packages, and the bindings given by hand.

    Args:
      names: of targets.
    """
    found: dict[str, Any] = {"device": "compilers alone"}
    for package in (*PACKAGES, *(package for name in names for package in targets.packages(name))):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found | {"bindings": list(overrides)}


def bench(
    names: Sequence[str], variants: Sequence[str], lengths: Sequence[int], overrides: Sequence[str], report: Report
) -> Iterator[dict[str, Any]]:
    """Compiles what the report lacks, adds the rows to it and yields them.

    Args:
      names: of targets.
      lengths: in tokens.
      overrides: gin bindings.

    Raises:
      UsageError: a target is unknown, or its compiler is not installed.
    """
    for name in names:
        targets.device(name)
    for name in names:
        for length in lengths:
            for one in entries(variants):
                if report.wants(target=name, variant=one.name, length=length):
                    row = compiled(name, one, length, overrides)
                    report.add(row)
                    yield row


def compared(
    path: Path,
    names: Sequence[str] | None,
    variants: Sequence[str] | None,
    lengths: Sequence[int] | None,
    overrides: Sequence[str],
) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of a file, and how what the compilers say now differs from each; empty if nothing does.

    Args:
      names, variants, lengths: of which the rows are compiled; None for all.

    Raises:
      UserError: the file is none of `lra bench compile`, is of other compilers or bindings, or has no such row.
      UsageError: the compiler of a row is not installed.
    """
    try:
        content = json.loads(path.read_bytes())
        rows = {tuple(row[key] for key in KEYS): row for row in content["rows"]}
        made_by = dict(content["hardware"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no file of 'lra bench compile' ({error})") from None
    among = lambda value, allowed: allowed is None or value in allowed
    chosen = [
        row for row in rows.values()
        if among(row["target"], names) and among(row["variant"], variants) and among(row["length"], lengths)
    ]  # fmt: skip
    if not chosen:
        raise UserError(f"{path} has no row of these targets, variants and lengths")
    here = compilers(overrides, {row["target"] for row in chosen})
    if other := differing(made_by, here):
        raise UserError(f"{path} is not comparable: {other}; 'lra bench compile' makes a new one")
    by_name = {one.name: one for one in entries(named("all"))}
    for row in chosen:
        if one := by_name.get(row["variant"]):
            yield row, differing(row, compiled(row["target"], one, row["length"], overrides))
        else:
            yield row, "there is no such variant any more"


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The entries of the second that the first has otherwise, or not at all."""
    return ", ".join(f"{name} {then.get(name)}, now {value}" for name, value in now.items() if then.get(name) != value)


def compiled(target: str, one: Entry, length: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The row of a variant at a length. What cannot be compiled, or does not fit the device, has an `error`."""
    row: dict[str, Any] = {"target": target, "variant": one.name, "length": length, "error": None}
    try:
        with backends.use(one.backend) if one.backend else contextlib.nullcontext():
            row |= cost(step(target, plan_at(target, length, one.variant, overrides)))
    except (UserError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
        row["error"] = reason(str(error))
    if target == "hopper" and row.get("memory", 0) > targets.HOPPER_BYTES:
        row["error"] = f"out of memory: {memory.words(row['memory'])} of {memory.words(targets.HOPPER_BYTES)}"
    return row


def plan_at(target: str, length: int, variant: str, overrides: Sequence[str]) -> Plan:
    """The plan of the step: for a CPU that of `lra bench variants`, for other targets that with one layer."""
    tokens, sizes = (TOKENS["cpu"], SMALL["cpu"]) if target == "cpu" else ACCELERATOR
    chosen = (*sizes, f"train.batch_size = {max(tokens // length, 1)}")
    bindings = merged(chosen, overrides, [f"{TASK}.max_length = {length}"])
    return resolve(RunSpec(TASK, variant, PROTOCOL, overrides=bindings))


@settings.fixed()
def step(target: str, plan: Plan) -> jax.stages.Compiled:
    """The loop over training steps that `lra run` compiles, for a target, with a batch as its data."""
    batch, length, functions = plan.train.batch_size, plan.source.max_length, step_functions(plan)
    shape = jax.ShapeDtypeStruct
    columns = (shape((batch, length), jnp.uint8), shape((batch,), jnp.int32), shape((batch,), jnp.int32))
    split = Split(*columns)  # type: ignore[arg-type]
    number, rows = shape((), jnp.int32), shape((1, 1, batch), jnp.int32)
    state = jax.eval_shape(lambda: functions.init([0]))
    keys = jax.eval_shape(lambda: jax.random.key(0)[None])
    leaves, tree = jax.tree.flatten((state, keys, number, number, rows, split))
    run = lambda *leaves: functions.run(*jax.tree.unflatten(tree, leaves))
    return targets.compile_for(target, run, *leaves, donated=range(len(jax.tree.leaves(state))))


def cost(program: jax.stages.Compiled) -> dict[str, int]:
    """What a compiled program takes and does."""
    need = memory.need(program)
    return {"memory": need.total, "arguments": need.arguments} | hlo.cost(program.as_text() or "")._asdict()


def reason(error: str) -> str:
    """A compiler's message in one line.

    >>> reason("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 21.04G of 15.75G hbm. Exceeded ...")
    'out of memory: 21.04 GB of 15.75 GB'
    """
    if used := re.search(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT])", error):
        return "out of memory: {} {}B of {} {}B".format(*used.groups())
    return "out of memory" if "RESOURCE_EXHAUSTED" in error else " ".join(error.split())[:200]
