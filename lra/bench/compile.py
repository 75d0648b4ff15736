"""What the compilers of devices say of the training step of each variant. Nothing runs, so no device is needed.

Everything is exact: the same compilers give the same numbers on every machine.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from lra import settings, targets
from lra.bench import hlo
from lra.bench.report import Report
from lra.bench.step import plan_at, step_of
from lra.errors import UserError
from lra.recipe import merged

KEYS = ("target", "variant", "length")
HEADER = ("target", "variant", "length", "MB", "arguments", "GFLOP", "GB moved", "M elements", "note")
BATCH = "train.batch_size = 1"
PACKAGES = ("jax", "jaxlib", "flax", "optax")  # these make the programs


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row. Memory is that of arguments and temporaries."""
    start = [row["target"], row["variant"], str(row["length"])]
    if row["error"]:
        return [*start, *[""] * 5, row["error"]]
    numbers = (memory(row) / 1e6, row["arguments"] / 1e6, row["operations"] / 1e9, row["bytes"] / 1e9)
    return [*start, *(f"{number:,.1f}" for number in (*numbers, row["elements"] / 1e6)), ""]


def memory(row: Mapping[str, Any]) -> int:
    """The bytes of arguments and temporaries."""
    return row["arguments"] + row["temporaries"]


def compilers(names: Iterable[str], overrides: Sequence[str]) -> dict[str, Any]:
    """What decides the numbers: the versions of packages, and the bindings given by hand."""
    found = {}
    for package in (*PACKAGES, *(package for name in names for package in targets.packages(name))):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"bindings": list(overrides)}


def bench(
    names: Sequence[str], variants: Sequence[str], lengths: Sequence[int], overrides: Sequence[str], report: Report
) -> Iterator[dict[str, Any]]:
    """Compiles what the report lacks, adds the rows to it and yields them.

    The model is that of protocol `paper` on Text, with a batch of one text of the maximal length.

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
            for variant in variants:
                if report.wants(target=name, variant=variant, length=length):
                    row = compiled(name, variant, length, overrides)
                    report.add(row)
                    yield row


def compiled(target: str, variant: str, length: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The row of a variant at a length. What cannot be compiled, or does not fit the device, has an `error`."""
    row: dict[str, Any] = {"target": target, "variant": variant, "length": length}
    try:
        plan = plan_at(length, variant, merged([BATCH], overrides))
        function, arguments = step_of(plan)
        with settings.fixed():
            program = targets.compile_for(target, function, *arguments)
        row |= {"error": None, **cost(program)}
    except (UserError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
        row["error"] = reason(str(error))
    finally:
        jax.clear_caches()  # programs of two hundred rows would fill the memory
    if target == "hopper" and not row["error"] and memory(row) > targets.HOPPER_BYTES:
        row["error"] = out_of_memory(f"{memory(row) / 1e9:.1f}G", f"{targets.HOPPER_BYTES / 1e9:.1f}G")
    return row


def cost(program: jax.stages.Compiled) -> dict[str, int]:
    """What a compiled program needs and does."""
    memory = program.memory_analysis()
    return {
        "arguments": memory.argument_size_in_bytes, "temporaries": memory.temp_size_in_bytes,
        **hlo.cost(program.as_text())._asdict(),
    }  # fmt: skip


def reason(error: str) -> str:
    """A compiler's message in one line.

    >>> reason("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 21.04G of 15.75G hbm. Exceeded ...")
    'out of memory: 21.04 GB of 15.75 GB'
    """
    if used := re.search(r"Used ([\d.]+[KMGT]) of ([\d.]+[KMGT])", error):
        return out_of_memory(*used.groups())
    return "out of memory" if "RESOURCE_EXHAUSTED" in error else " ".join(error.split())[:200]


def out_of_memory(used: str, there: str) -> str:
    return f"out of memory: {used[:-1]} {used[-1]}B of {there[:-1]} {there[-1]}B"
