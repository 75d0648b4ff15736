"""Records that no run has made."""

import copy
import hashlib
import json
from typing import Any

Json = Any
PATTERN: dict[str, Json] = {
    "schema": 1,
    "run": "0123456789ab",
    "status": "ok",
    "error": None,
    "task": {
        "name": "listops",
        "version": "1.0.0",
        "parameters": {"max_length": 48, "seed": 0},
        "data_sha256": "d" * 64,
        "examples": {"train": 20_000, "validation": 1_000, "test": 2_000},
        "floor": {"validation": 0.25, "test": 0.125},
    },
    "variant": {"name": "local", "version": 1, "paper": "2004.05150", "source_sha256": None},
    "protocol": {"name": "demo", "overrides": []},
    "config": "train.steps = 600\n",
    "config_sha256": "c" * 64,
    "parameters": 67_210,
    "selection": "best validation accuracy",
    "seeds": [],
    "curve": [{"step": 50, "split": "train", "loss": [1.5, None]}],
    "measured": {
        "steps_per_second": 12.5,
        "train_seconds": 48.0,
        "compile_seconds": 2,
        "memory_bytes": {"step": 1_000_000},
        "hardware": {"platform": "gpu", "device": "NVIDIA H200"},
        "versions": {"jax": "0.10.0"},
        "git": {"commit": "abc", "dirty": False},
        "finished_at": "2026-11-21T23:17:18+00:00",
    },
}


def at(record: Json, path: str) -> tuple[Json, str | int]:
    """The innermost container on a path such as "seeds.0.test.loss", and the last key."""
    *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in outer:
        record = record[key]
    return record, last


def changed(record: Json, path: str, value: Json) -> Json:
    """A copy with another value at a path."""
    record = copy.deepcopy(record)
    container, key = at(record, path)
    container[key] = value
    return record


def seed_result(seed: int, accuracy: float | None) -> Json:
    """What a record says of a seed; of one that diverged if it has no accuracy."""
    if accuracy is None:
        return {"seed": seed, "status": "diverged", "step": 70, "validation": None, "test": None}
    validation, test = {"loss": 1.25, "accuracy": 0.5}, {"loss": 1.5, "accuracy": accuracy}
    return {"seed": seed, "status": "ok", "step": 600, "validation": validation, "test": test}


def make(variant: str = "local", accuracy: dict[int, float | None] | None = None, **changes: Json) -> Json:
    """A record with some test accuracies by seed; in the names of `changes`, "__" stands for the dot of a path."""
    record = changed(PATTERN, "variant.name", variant)
    record["seeds"] = [seed_result(*item) for item in ({0: 0.5, 1: None} if accuracy is None else accuracy).items()]
    for name, value in changes.items():
        record = changed(record, name.replace("__", "."), value)
    if "run" not in changes:
        record["run"] = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:12]
    return record
