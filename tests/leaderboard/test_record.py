"""Records: what is written is read back. A file that is no record gives an error that names the place."""

import base64
import copy
import json
import multiprocessing
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_records import at, changed, make, old, raw, sealed
from msgspec.structs import force_setattr

from lra.errors import UserError
from lra.files import sha256, sha256_text
from lra.leaderboard import store
from lra.leaderboard.predictions import Packed, labels_file_sha256, pack, unpack
from lra.leaderboard.reading import read
from lra.leaderboard.record import LABELS, Record, as_json, file_name, json_schema, write

RECORD = make()
RAW = raw(RECORD)
TEXTS = [
    "run", "status", "task.name", "task.version", "task.data_sha256", "variant.name", "variant.paper", "protocol.name",
    "config", "config_sha256", "selection", "seeds.0.status", "measured.finished_at",
]  # fmt: skip
INTEGERS = ["schema", "parameters", "variant.version", "seeds.0.seed", "seeds.0.step", "seeds.1.step"]
NUMBERS = [
    "seeds.0.validation.loss", "seeds.0.validation.accuracy", "seeds.0.test.loss", "seeds.0.test.accuracy",
    "measured.steps_per_second", "measured.train_seconds", "measured.compile_seconds",
]  # fmt: skip
OBJECTS = [
    "task", "task.parameters", "task.examples", "task.floor", "variant", "protocol", "measured", "measured.hardware",
    "measured.memory_bytes", "measured.versions",
]  # fmt: skip
LISTS = ["protocol.overrides", "seeds", "curve"]
OPTIONAL = ["error", "variant.source_sha256", "seeds.0.validation", "seeds.0.test", "measured.git"]
REQUIRED = sorted({*TEXTS, *INTEGERS, *NUMBERS, *OBJECTS, *LISTS, *OPTIONAL})
WRONG = [
    *((path, value) for path in TEXTS for value in (3, None, ["x"])),
    *((path, value) for path in INTEGERS for value in ("1", 1.5, None, True)),
    *((path, value) for path in NUMBERS for value in ("0.5", True, [0.5], float("nan"), float("inf"), -float("inf"))),
    *((path, value) for path in OBJECTS for value in ([], None, "x", 3)),
    *((path, value) for path in LISTS for value in ({}, None, "x", 3)),
    *((path, value) for path in OPTIONAL for value in (3, [], True)),
    ("status", "fine"),
    ("seeds.0.status", "failed"),
    ("task.examples.test", 2000.5),
    ("task.floor.test", "0.125"),
    ("task.floor.test", None),
    ("protocol.overrides", [3]),
    ("measured.memory_bytes.step", "much"),
    ("measured.versions.jax", 10),
    ("curve.0", "step"),
    ("seeds.0", None),
]


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


# --- Writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        make(accuracy={}, status="failed", error="ValueError: no", measured__steps_per_second=None, measured__git=None),
        make(accuracy={3: None}, variant__source_sha256="a" * 64),
        make(protocol__overrides=['local.name = "π | \\n"'], measured__compile_seconds=0.1 + 0.2),
    ],
    ids=["ok", "failed", "diverged", "odd texts"],
)
def test_round_trip(tmp_path, record):
    path = write(record, tmp_path / "new" / "records")
    assert read(path) == record
    assert path.name == file_name(record)
    assert [*path.parent.iterdir()] == [path]
    first = path.read_bytes()
    write(copy.deepcopy(record), path.parent)
    assert path.read_bytes() == first


def test_name_of_the_file_ends_with_the_run():
    record = make("linformer", run="00ff00ff00ff", protocol__name="paper")
    assert file_name(record) == "listops.paper.linformer.00ff00ff00ff.json"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    path = write(RECORD, tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write(changed(RECORD, "parameters", 1), tmp_path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


NAN = float("nan")


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        (lambda record: record.seeds[0].test, "loss", NAN),
        (lambda record: record.curve[0], "loss", (NAN, None)),
        (lambda record: record.measured, "train_seconds", NAN),
    ],
    ids=["seeds.0.test.loss", "curve.0.loss.0", "measured.train_seconds"],
)
def test_what_is_not_json_is_not_written(tmp_path, part, field, value):
    record = make()
    force_setattr(part(record), field, value)  # what is made by code is not checked
    with pytest.raises(ValueError, match="JSON"):
        write(record, tmp_path)
    assert [*tmp_path.iterdir()] == []


# --- Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REQUIRED)
def test_missing_key(tmp_path, path):
    record = copy.deepcopy(RAW)
    container, key = at(record, path)
    del container[key]
    refused(put(tmp_path, record), "schema version None" if path == "schema" else f"lacks '{key}'")


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda value: str(value))
def test_wrong_value(tmp_path, path, value):
    finite = value == value and value not in (float("inf"), -float("inf"))
    what = ("schema version" if path == "schema" else f"record.{path}") if finite else "JSON"
    refused(put(tmp_path, changed(RAW, path, value)), what)


def test_numbers_without_an_end_in_json(tmp_path):
    """1e999 is JSON, and infinite; so is a whole number of 400 digits, once it is a float."""
    for number in ("1e999", "-1e999", "1" * 400):
        text = json.dumps(changed(RAW, "seeds.0.test.loss", "HERE")).replace('"HERE"', number)
        refused(put(tmp_path, text), "record.seeds.0.test.loss")
    for path in ("parameters", "measured.memory_bytes.step", "seeds.0.step"):
        refused(put(tmp_path, changed(RAW, path, 10**400)), f"record.{path}")


@pytest.mark.parametrize("schema", [0, -1, "1", None, [1]])
def test_other_schema(tmp_path, schema):
    refused(put(tmp_path, changed(RAW, "schema", schema)), f"schema version {schema!r}")


@pytest.mark.parametrize("schema", [4, 10**9])
def test_newer_schema(tmp_path, schema):
    with pytest.raises(UserError, match=f"schema version {schema}.* take a newer lra"):
        read(put(tmp_path, changed(RAW, "schema", schema)))


def test_records_of_schema_1_are_read(tmp_path):
    """They are read as they were written: without predictions, labels, and the source."""
    new = make(accuracy={0: 0.5, 1: None, 2: 0.25})
    before = old(new)
    assert "predictions" not in json.dumps(before)
    record = read(put(tmp_path, before))
    assert (record.schema, record.run) == (3, new.run)
    assert [seed.predictions for seed in record.seeds] == [None] * 3
    assert (record.task.test_labels, record.variant.source) == (None, None)
    assert [seed.test for seed in record.seeds] == [seed.test for seed in new.seeds]
    for path in ("task", "variant", "seeds", "seeds.0"):
        for value in (None, 3, "x"):
            refused(put(tmp_path, changed(before, path, value)), "some.record.json")


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize(
    ("task", "unlearnt", "stands_in_for"),
    [("listops", None, None), ("pathx", 0.5, None), ("pathx256", None, None), ("synthetic_text", None, "text")],
)
def test_what_came_with_schema_3_is_added_to_older_records(tmp_path, schema, task, unlearnt, stands_in_for):
    record = read(put(tmp_path, old(make(task__name=task), schema)))
    assert (record.task.unlearnt, record.task.stands_in_for) == (unlearnt, stands_in_for)
    assert record.parameter_tree_sha256 is None
    assert read(write(record, tmp_path)) == record
    assert write(record, tmp_path).name == file_name(make(task__name=task))  # the run has its name still
    for path in ("task", "task.name"):
        for value in (None, 3, [], {}):
            refused(put(tmp_path, changed(old(RECORD, schema), path, value)), "some.record.json")


RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"


def test_the_projects_own_records_are_read_as_they_are_on_the_disk():
    """Every field of the files is in what is read, with the same value."""
    paths = sorted(RESULTS.glob("*.json"))
    assert len(paths) == 24
    for path in paths:
        content, again = json.loads(path.read_bytes()), raw(read(path))
        assert content["schema"] == 2
        assert {key: again[key] for key in content if key not in ("schema", "task")} == {
            key: content[key] for key in content if key not in ("schema", "task")
        }
        assert content["task"].items() <= again["task"].items()
        assert path.name.endswith(f".{again['run']}.json")


@pytest.mark.parametrize("path", ["", "task.", "task.examples.", "seeds.0.", "seeds.0.predictions.", "curve.0."])
def test_a_field_too_many_is_refused(tmp_path, path):
    message = f"record.{path}".rstrip(".") + ": Object contains unknown field `extra`"
    refused(put(tmp_path, changed(RAW, f"{path}extra", 1)), message)


@pytest.mark.parametrize(
    "key", ["x` - at `$.task", "x` - at `$.task[...]", "x` - at `$[...]", "x` - at `$.seeds[99].y", "\n"]
)
def test_a_name_that_looks_like_a_place_is_refused(tmp_path, key):
    for container in ("task", "seeds.0"):
        inner, last = at(copied := copy.deepcopy(RAW), container)
        inner[last][key] = 1
        refused(put(tmp_path, copied), "unknown field")


def test_the_place_of_a_value_among_many_is_named(tmp_path):
    """msgspec does not name the keys of dicts."""
    sizes = {f"part {number}": number for number in range(1000)}
    for number in (0, 1, 499, 998, 999):
        wrong = changed(RAW, "measured.memory_bytes", sizes | {f"part {number}": "much"})
        refused(put(tmp_path, wrong), f"record.measured.memory_bytes.part {number}: Expected `int`, got `str`")


def test_the_json_schema_in_the_docs_is_that_of_the_code():
    """`make leaderboard` writes it."""
    assert (RESULTS.parents[1] / "docs" / "record.schema.json").read_text() == json_schema()


def test_a_file_has_its_fields_in_their_order_and_floats_as_python_writes_them(tmp_path):
    record = make(accuracy={0: 0.5}, seeds__0__test__loss=1e-05, measured__train_seconds=0.1 + 0.2)
    text = write(record, tmp_path).read_text()
    assert text.startswith('{\n "schema": 3,\n "run": "')
    assert '\n    "loss": 1e-05,\n' in text
    assert '"train_seconds": 0.30000000000000004,' in text
    assert [*json.loads(text)] == [*RAW]
    assert "learning_rate" in json.dumps(json.loads(text)["curve"][0])
    assert "learning_rate" not in json.loads(text)["curve"][1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe\x80",
        b"\x89PNG\r\n\x1a\n",
        b"hello",
        json.dumps(RAW).encode()[:-1],
        json.dumps(RAW).encode() * 2,
        b"[" * 100_000,
        b'{"schema": ' + b"1" * 10_000 + b"}",
    ],
    ids=["empty", "binary", "image", "text", "truncated", "twice", "nested", "long number"],
)
def test_no_json(tmp_path, content):
    refused(put(tmp_path, content), "cannot be read as a record")


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'"1"', b"{}", b"[1]"])
def test_json_that_is_no_record(tmp_path, content):
    refused(put(tmp_path, content), "schema version None")


def test_file_that_cannot_be_read(tmp_path):
    refused(tmp_path / "nowhere.json", "cannot be read as a record")
    refused(tmp_path, "cannot be read as a record")


@pytest.mark.parametrize("where", ["task.floor", "task.examples"])
def test_what_the_tables_show_of_the_test_split_is_required(tmp_path, where):
    record = copy.deepcopy(RAW)
    container, key = at(record, where)
    del container[key]["test"]
    refused(put(tmp_path, record), f"record.{where}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REQUIRED), json_values)
@example("seeds.0.test.loss", 10**400)
@example("parameters", 10**400)
@example("variant.name", "\ud800")
@example("config", "\ud800")
@example("variant.paper", "\ud83d\ude00")
def test_any_json_in_any_place_is_read_or_refused(place, path, value):
    text = json.dumps(changed(RAW, path, value))
    try:
        record = read(put(place, text))
    except UserError as error:
        message = str(error)
    else:
        message = None
        expected = json.loads(text)
        container, key = at(expected, path)
        if path in NUMBERS and type(container[key]) is int:  # whole numbers become floats
            container[key] = float(container[key])
        assert raw(record) == expected
    assert message is None or str(place / "some.record.json") in message


@settings(max_examples=300, deadline=None)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(place, content):
    with pytest.raises(UserError, match=r"some\.record\.json"):
        read(put(place, content))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_flipped_byte_is_read_or_refused(place, where, mask):
    text = bytearray(json.dumps(RAW).encode())
    text[where % len(text)] ^= mask
    try:
        read(put(place, bytes(text)))
    except UserError as error:
        message = str(error)
    else:
        message = "some.record.json"
    assert "some.record.json" in message


# --- The folder of records -------------------------------------------------------------------------------------


def test_find_returns_what_is_finished(tmp_path):
    records = {"ok": make("local"), "diverged": make("linear", {0: None}, status="diverged")}
    records |= {s: make("performer", {}, status=s, error="x") for s in ("failed", "out of memory")}
    assert store.find(tmp_path, "0123456789ab") is None
    for record in records.values():
        write(record, store.folder_of(tmp_path))
    assert store.find(tmp_path, records["ok"].run) == records["ok"]
    assert store.find(tmp_path, records["diverged"].run) == records["diverged"]
    for status in ("failed", "out of memory"):
        assert store.find(tmp_path, records[status].run) is None
    assert store.find(tmp_path, "ffffffffffff") is None


def test_load_reads_all_folders_and_each_run_once(tmp_path):
    a, b, c = (make("local", {seed: 0.5}) for seed in range(3))
    for folder, some in {"one": (a, b), "two": (b, c)}.items():
        for record in some:
            write(record, store.folder_of(tmp_path / folder))
    records, left_out = store.load([tmp_path / "one", tmp_path / "two", tmp_path / "nowhere"])
    assert left_out == []
    assert sorted(records, key=lambda r: r.run) == sorted([a, b, c], key=lambda r: r.run)


def test_load_leaves_out_and_names_what_is_no_record(tmp_path):
    path = write(RECORD, store.folder_of(tmp_path))
    broken = store.folder_of(tmp_path) / "listops.demo.local.broken.json"
    broken.write_text("{")
    records, (line,) = store.load([tmp_path])
    assert records == [RECORD]
    assert str(broken) in line
    assert store.load([path.parent]) == ([RECORD], [line])  # a folder of nothing but records


def test_of_two_records_of_one_run_the_one_with_predictions_counts(tmp_path):
    store.folder_of(tmp_path / "old").mkdir(parents=True)
    put(store.folder_of(tmp_path / "old"), old(RECORD))
    write(RECORD, store.folder_of(tmp_path / "new"))
    for order in (("old", "new"), ("new", "old")):
        assert store.load(tmp_path / name for name in order)[0] == [RECORD]
    slower = changed(RECORD, "measured.train_seconds", 99.0)
    write(slower, store.folder_of(tmp_path / "mine"))
    assert store.load([tmp_path / "mine", tmp_path / "new"])[0] == [slower]
    assert store.load([tmp_path / "new", tmp_path / "mine"])[0] == [RECORD]


def test_a_run_of_before_schema_3_that_was_made_again_is_one_run(tmp_path):
    """Under another name, since its configuration names the optimiser now."""
    before = make("local", {0: 0.5}, config=RECORD.config.replace("train.optimizer = @adamw()\n", ""))
    store.folder_of(tmp_path / "old").mkdir(parents=True)
    put(store.folder_of(tmp_path / "old"), old(before, 2))
    now = make("local", {0: 0.5}, config=RECORD.config)
    write(now, store.folder_of(tmp_path / "new"))
    assert before.run != now.run
    assert store.load([tmp_path / "new", tmp_path / "old"])[0] == [now]
    assert [record.run for record in store.load([tmp_path / "old", tmp_path / "new"])[0]] == [before.run]
    failed = [make("local", {}, status="failed", error="x", config=f"a.b = {place}\n") for place in range(2)]
    for record in failed:
        write(record, store.folder_of(tmp_path / "failed"))
    assert len(store.load([tmp_path / "failed"])[0]) == 2


# --- What contradicts itself -----------------------------------------------------------------------------------

WITH_SOURCE = make(accuracy={0: 0.5, 1: 0.25}, variant__source="x = 1\n", variant__source_sha256=sha256_text("x = 1\n"))


def test_a_record_with_its_source_is_read(tmp_path):
    assert read(put(tmp_path, WITH_SOURCE)) == WITH_SOURCE


OTHER = pack(np.arange(2000) % 7)
CONTRADICTIONS = [
    ("seeds.0.test.accuracy", 0.5005, "test accuracy of seed 0"),
    ("seeds.0.test.accuracy", 1.5, "not a share"),
    ("seeds.0.predictions", None, "not both"),
    ("seeds.0.predictions", OTHER, "test accuracy of seed 0"),
    ("seeds.0.predictions.sha256", "0" * 64, "predictions of seed 0 is damaged"),
    ("seeds.0.predictions.count", 1999, "has not the 1,999 examples"),
    ("seeds.0.predictions.count", 10**12, "not 1 to"),
    ("seeds.0.predictions.deflated", "!!", "cannot be unpacked"),
    ("seeds.0.predictions.deflated", "AAAA", "cannot be unpacked"),
    ("seeds.0.predictions", pack(np.zeros(1999, int)), "1,999 predictions for 2,000 labels"),
    ("seeds.1.seed", 0, "twice"),
    ("seeds.0.status", "diverged", "seed 0"),
    ("task.test_labels", OTHER, "not those of the data"),
    ("task.files", {}, "not the hash of the task's files"),
    ("task.data_sha256", "0" * 64, "run is not the hash"),
    ("task.examples.test", 1000, "2,000 labels and 1,000 test examples"),
    ("config", "train.steps = 601\n", "config_sha256"),
    ("variant.source", "x = 2\n", "source_sha256"),
    ("variant.name", "linear", "run is not the hash"),
    ("run", "0123456789ab", "run is not the hash"),
    ("status", "diverged", "status is"),
    ("curve.0.loss", [1.0], "curve"),
]


@pytest.mark.parametrize(
    ("path", "value", "what"), CONTRADICTIONS, ids=[f"{path}-{what}" for path, _, what in CONTRADICTIONS]
)
def test_what_contradicts_itself_is_refused(tmp_path, path, value, what):
    refused(put(tmp_path, changed(raw(WITH_SOURCE), path, value)), what)


def test_labels_of_other_data_are_refused_even_if_all_hashes_are_made_anew(tmp_path):
    """A record with other labels has another hash of the data, so it leaves the table."""
    record = changed(raw(WITH_SOURCE), "task.test_labels", OTHER)
    record["task"]["files"][LABELS] = labels_file_sha256(np.arange(2000) % 7)
    for seed in record["seeds"]:
        packed = Packed(**seed["predictions"])
        seed["test"]["accuracy"] = float((unpack(packed, "p") == np.arange(2000) % 7).mean())
    refused(put(tmp_path, record), "data_sha256")
    record["task"]["data_sha256"], record["run"] = "", ""
    again = read(put(tmp_path, sealed(record)))
    assert again.task.data_sha256 != WITH_SOURCE.task.data_sha256


def test_a_few_bytes_that_unpack_to_many_are_refused(tmp_path):
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000), 9)).decode()
    assert len(bomb) < 100_000
    path = put(tmp_path, changed(RECORD, "seeds.0.predictions.deflated", bomb))
    tracemalloc.start()
    refused(path, "has not the 2,000 examples")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_labels_are_hashed_as_numpy_writes_them(tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 77)
    np.save(tmp_path / "labels.npy", labels.astype(np.int32))
    assert labels_file_sha256(labels) == sha256(tmp_path / "labels.npy")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=300))
def test_predictions_are_unpacked_as_they_were(classes):
    assert unpack(pack(np.array(classes)), "p").tolist() == classes


@pytest.mark.parametrize("classes", [[-1], [256], [0.5]])
def test_only_classes_are_packed(classes):
    with pytest.raises(ValueError, match="0 to 255"):
        pack(np.array(classes))


# --- Sizes, tricks, and many writers ---------------------------------------------------------------------------


def test_a_million_seeds_are_refused(tmp_path):
    one = json.dumps(RAW["seeds"][1])
    text = json.dumps(changed(RAW, "seeds", "HERE"))
    refused(put(tmp_path, text.replace('"HERE"', "[" + ",".join([one] * 300_000) + "]")), "some.record.json")
    seeds = [changed(RAW["seeds"][1], "seed", number) for number in range(1001)]
    record = changed(changed(RAW, "seeds", seeds), "curve", [])
    refused(put(tmp_path, sealed(changed(changed(record, "run", ""), "status", "diverged"))), "1,001 seeds")


TRICKS = [
    "../../etc/passwd", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "<script>alert(1)</script>", "a b",
    '" onload="x', r"\input{x}", "", "a" * 65, "a\x00b", "a\n", "\u202etxt", "C:\\x",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("path", ["task.name", "variant.name", "protocol.name", "run"])
def test_names_that_are_none_are_refused(tmp_path, path, trick):
    refused(put(tmp_path, changed(RAW, path, trick)), f"record.{path}")


def write_many(folder: Path, writer: int, started: Any) -> None:
    started.wait()
    for number in range(25):
        write(make(accuracy={writer * 100 + number: 0.5}), store.folder_of(folder))
        write(RECORD, store.folder_of(folder))


def test_eight_processes_that_write_at_once_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")  # beside JAX, whose threads a fork would break
    started = spawn.Barrier(8)
    writers = [spawn.Process(target=write_many, args=(tmp_path, writer, started)) for writer in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    records, left_out = store.load([tmp_path])
    assert left_out == []
    seeds = sorted(seed.seed for record in records if record != RECORD for seed in record.seeds)
    assert seeds == sorted(writer * 100 + number for writer in range(8) for number in range(25))
    assert RECORD in records
    assert len([*store.folder_of(tmp_path).iterdir()]) == 201  # and nothing half-written beside them
