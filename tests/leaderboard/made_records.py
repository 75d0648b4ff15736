"""Records that no run has made, but that agree with themselves."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lra.errors import UserError
from lra.leaderboard.board import make_board
from lra.leaderboard.predictions import labels_file_sha256, pack, unpack
from lra.leaderboard.reading import read
from lra.leaderboard.record import LABELS, Record, as_json
from lra.leaderboard.tracks import Track

Json = Any
# lines of a configuration that gin would execute, or that are no plain binding
GIN_TRICKS = [
    "import evil", "from evil import x", "include 'evil.gin'", "local.radius = @evil.f()", "local.radius = @evil/f",
    "local.radius = %evil", "local.radius = __import__('evil')", "local.radius = 1\nimport evil", "a/local.radius = 1",
    "local.radius = (1,\n    import evil)", "local:\n  radius = 1", "local.radius = open('trace', 'w')", "local = 1",
    "local.radius = [x for x in (1,)]", "local.radius = 1; import evil", "import.x = evil",
]  # fmt: skip
EXAMPLES = 2_000
LABELS_OF_TEST = np.random.default_rng(0).integers(0, 10, EXAMPLES)
PATTERN: dict[str, Json] = {
    "schema": 7,
    "run": "",
    "status": "ok",
    "error": None,
    "task": {
        "name": "listops",
        "version": "1.0.0",
        "parameters": {"max_length": 48, "seed": 0},
        "data_sha256": "",
        "files": {"test.inputs.npy": "d" * 64, LABELS: labels_file_sha256(LABELS_OF_TEST)},
        "test_labels": as_json(pack(LABELS_OF_TEST)),
        "examples": {"train": 20_000, "validation": 1_000, "test": EXAMPLES},
        "floor": {"validation": 0.25, "test": 0.125},
        "unlearnt": None,
        "stands_in_for": None,
        "difficulty": None,
    },
    "variant": {
        "name": "local",
        "version": 1,
        "paper": "2004.05150",
        "source_sha256": None,
        "sources": None,
        "checks": None,
    },
    "protocol": {"name": "demo", "overrides": []},
    "config": "train.optimizer = @adamw()\ntrain.select = 'best'\ntrain.steps = 240\n",
    "config_sha256": "",
    "parameters": 67_210,
    "parameter_tree_sha256": "f" * 64,
    "selection": "best validation accuracy",
    "seeds": [],
    "curve": [],
    "measured": {
        "steps_per_second": 12.5,
        "train_seconds": 48.0,
        "compile_seconds": 2,
        "memory_bytes": {"step": 1_000_000},
        "kernels": None,
        "hardware": {"platform": "gpu", "device": "NVIDIA H200"},
        "versions": {"jax": "0.10.0"},
        "git": {"commit": "abc", "dirty": False},
        "finished_at": "2026-11-21T23:17:18+00:00",
    },
}


SECTIONS = frozenset({"train", "encoder", "pair", "adamw", "rsqrt", "cosine"})
NOTHING = lambda task, variant: {}  # what the files of these protocols set
TRACKS = {
    "paper": Track(
        "paper", "At most 10 % more parameters.", SECTIONS, "last", ("variant",), 0.1, lambda task: 100_000, NOTHING
    ),
    "demo": Track("demo", "To try things.", SECTIONS, "best", ("variant",), None, lambda task: 1 // 0, NOTHING),
}


def raw(record: Record) -> Json:
    """The JSON of a record: a dict, of which tests can also make what is no record."""
    return json.loads(json.dumps(as_json(record)))


def at(record: Json, path: str) -> tuple[Json, str | int]:
    """The innermost container on a path such as "seeds.0.test.loss", and the last key."""
    *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in outer:
        record = record[key]
    return record, last


def changed(record: Json, path: str, value: Json) -> Json:
    """A copy of a record, or of its JSON, with another value at a path. The copy has the type of the original."""
    content = raw(record) if isinstance(record, Record) else copy.deepcopy(record)
    container, key = at(content, path)
    container[key] = msgspec.to_builtins(value)
    return msgspec.convert(content, Record) if isinstance(record, Record) else content


def seed_result(seed: int, accuracy: float | None) -> Json:
    """What a record says of a seed. A seed without an accuracy is one that diverged."""
    if accuracy is None:
        return {"seed": seed, "status": "diverged", "step": 70, "validation": None, "test": None, "predictions": None,
                "by_level": None}  # fmt: skip
    right = np.random.default_rng(seed).permutation(EXAMPLES) < round(accuracy * EXAMPLES)
    answers = np.where(right, LABELS_OF_TEST, (LABELS_OF_TEST + 1) % 10)
    validation, test = {"loss": 1.25, "accuracy": 0.5}, {"loss": 1.5, "accuracy": int(right.sum()) / EXAMPLES}
    return {
        "seed": seed, "status": "ok", "step": 240, "validation": validation, "test": test,
        "predictions": as_json(pack(answers)), "by_level": None,
    }  # fmt: skip


def curve_of(seeds: list[Json]) -> list[Json]:
    """A curve of two lines in which the scored step is the best."""
    each = lambda value: [value if seed["status"] == "ok" else None for seed in seeds]
    return [
        {"step": 120, "split": "train", "loss": each(1.5), "accuracy": each(0.25), "learning_rate": 0.001},
        {"step": 240, "split": "validation", "loss": each(1.25), "accuracy": each(0.5)},
    ]


def sealed(record: Json) -> Json:
    """The JSON of a record, with its hashes computed from the rest of it."""
    task, files = record["task"], record["task"]["files"]
    if files and not task["data_sha256"]:
        task["data_sha256"] = sha256("".join(f"{name} {digest}\n" for name, digest in files.items()))
    record["config_sha256"] = record["config_sha256"] or sha256(record["config"])
    variant = record["variant"]
    identity = [
        task["name"], task["version"], task["data_sha256"], variant["name"], variant["version"],
        variant["source_sha256"], record["protocol"]["name"], record["config_sha256"],
        [seed["seed"] for seed in record["seeds"]],
    ]  # fmt: skip
    record["run"] = record["run"] or sha256(json.dumps(identity))[:12]
    return record


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def make(variant: str = "local", accuracy: dict[int, float | None] | None = None, **changes: Json) -> Record:
    """A record with these test accuracies by seed, each to a half thousandth.

    In the names of `changes`, "__" stands for the dot of a path. Hashes follow from the rest unless they are changed.
    """
    record = changed(PATTERN, "variant.name", variant)
    record["seeds"] = [seed_result(*item) for item in ({0: 0.5, 1: None} if accuracy is None else accuracy).items()]
    record["curve"] = curve_of(record["seeds"])
    if record["seeds"] and all(seed["status"] == "diverged" for seed in record["seeds"]):
        record["status"] = "diverged"
    for name, value in changes.items():
        record = changed(record, name.replace("__", "."), value)
    return msgspec.convert(sealed(record), Record)


def old(record: Record, schema: int = 1) -> Json:
    """The JSON of a record with the same numbers in an older schema, which has no difficulty.

    Before schema 6 it has no kernels, before schema 5 no checks of a variant, before schema 4 but one text of it.
    """
    content = changed(raw(record), "schema", schema)
    del content["task"]["difficulty"]
    for seed in content["seeds"]:
        del seed["by_level"]
    if schema < 6:
        del content["measured"]["kernels"]
    if schema < 5:
        del content["variant"]["checks"]
    if schema < 4:
        texts = content["variant"].pop("sources")
        content["variant"]["source"] = texts and next(iter(texts.values()))
    if schema < 3:
        del content["parameter_tree_sha256"], content["task"]["unlearnt"], content["task"]["stands_in_for"]
    if schema == 1:
        for part, name in (("task", "files"), ("task", "test_labels"), ("variant", "source")):
            del content[part][name]
        for seed in content["seeds"]:
            del seed["predictions"]
    return content


def put(folder: Path, content: bytes | str | dict | Record) -> Path:
    path = folder / "some.record.json"
    content = as_json(content) if isinstance(content, Record) else content
    content = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path, what: str) -> None:
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert what in message
    assert "move it out of the folder" in message
    assert "\n" not in message


def tables(records: list, reference: str = "transformer") -> tuple:
    return make_board(records, TRACKS, reference).tables


def row(*records: Record):
    """The only row of the only table."""
    ((entry,),) = (table.rows for table in tables([*records]))
    return entry


def answering(record: Record, right: dict[int, np.ndarray]) -> Record:
    """The record with these answers of each seed right, and all other answers wrong."""
    labels = unpack(record.task.test_labels, "labels")
    for place, seed in enumerate(record.seeds):
        mine = right[seed.seed]
        record = changed(record, f"seeds.{place}.predictions", pack(np.where(mine, labels, (labels + 1) % 10)))
        record = changed(record, f"seeds.{place}.test.accuracy", float(mine.mean()))
    return record
