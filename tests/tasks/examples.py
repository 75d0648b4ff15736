"""Helpers for the tests of several tasks: examples are collected from blocks, and compared."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lra.tasks import Split
from lra.tasks.listops import VOCABULARY


def decode(ids: np.ndarray) -> str:
    """Token ids of ListOps as text: "[MAX 4 3 ]"."""
    return " ".join(VOCABULARY[token - 1] for token in ids)


def collect(blocks: Iterator[tuple[str, Split]]) -> dict[str, Split]:
    parts: dict[str, list[Split]] = collections.defaultdict(list)
    for split, block in blocks:
        parts[split].append(block)
    return {
        split: Split(*(np.concatenate([getattr(p, f.name) for p in chunks]) for f in dataclasses.fields(Split)))
        for split, chunks in parts.items()
    }


def read(source: Any, folder: Path, workers: int = 1) -> tuple[dict[str, Split], list[str]]:
    """The examples that a source reads from a folder, and its warnings."""
    warnings: list[str] = []
    return collect(source.read(folder, workers, warnings.append)), warnings


def assert_same(left: dict[str, Split], right: dict[str, Split]) -> None:
    assert list(left) == list(right)
    for split, field in itertools.product(left, dataclasses.fields(Split)):
        a, b = getattr(left[split], field.name), getattr(right[split], field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
