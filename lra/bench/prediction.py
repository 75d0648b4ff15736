"""How well what a compiler says predicts the time of a training step: by the rank correlation over the variants."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lra.leaderboard.sheet import Cell, Column, Entry, Sheet

QUANTITIES = {
    "memory": "memory",
    "operations": "operations",
    "bytes": "bytes moved",
    "elements": "elements written",
}
HEADER = ("length", *QUANTITIES.values(), "variants")
FEWEST = 4  # variants of which a rank correlation says something
Rows = Iterable[Mapping[str, Any]]


def predictions(compiled: Rows, measured: Rows) -> list[dict[str, Any]]:
    """Spearman's rank correlation of each quantity with the seconds of a step, at each length with enough variants.

    Args:
      compiled: rows of `lra bench compile` of the target on which the others were measured.
      measured: rows of `lra bench variants`. Those of training count that ended with a time.
    """
    from scipy.stats import spearmanr

    costs = {(row["variant"], row["length"]): row for row in compiled if not row["error"]}
    by_length: dict[int, list[tuple[Mapping[str, Any], float]]] = {}
    for row in measured:
        cost = costs.get((row["variant"], row["length"]))
        if cost and row["direction"] == "training" and not row["end"]:
            by_length.setdefault(row["length"], []).append((cost, 1 / row["steps_per_second"]))
    return [
        {"length": length, "variants": len(pairs)}
        | {
            name: float(spearmanr([cost[name] for cost, _ in pairs], [seconds for _, seconds in pairs]).statistic)
            for name in QUANTITIES
        }
        for length, pairs in sorted(by_length.items())
        if len(pairs) >= FEWEST
    ]


def beside(compiled: Rows, measured: Path) -> list[dict[str, Any]]:
    """The predictions of a file of `lra bench variants` on a CPU; none without such a file."""
    if not measured.is_file():
        return []
    content = json.loads(measured.read_bytes())
    if content["hardware"]["platform"] != "cpu":
        return []
    return predictions((row for row in compiled if row["target"] == "cpu"), content["rows"])


def cells(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['length']:,}", *(f"{row[name]:.2f}" for name in QUANTITIES), str(row["variants"])]


def sheet(rows: Iterable[Mapping[str, Any]]) -> Sheet:
    """The table of predictions."""
    columns = tuple(Column(name, number=True) for name in HEADER)
    entries = tuple(Entry(tuple(map(Cell, cells(row)))) for row in rows)
    caption = "Spearman's rank correlation, over the variants, of what the compiler says with the measured time."
    return Sheet("predictions", "What predicts the time of a step", caption, columns, entries)
