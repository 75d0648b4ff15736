"""How well what a compiler says predicts the time of a training step: by the rank correlation over the variants."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def cells(row: Mapping[str, Any]) -> Sequence[str]:
    return [f"{row['length']:,}", *(f"{row[name]:.2f}" for name in QUANTITIES), str(row["variants"])]
