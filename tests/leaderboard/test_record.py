"""Records: what is written is read back. A file that is no record gives an error that names the place."""

import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_records import at, changed, make, old, put, raw, refused, sealed, sha256
from msgspec.structs import force_setattr

from lra.errors import UserError
from lra.leaderboard.reading import read
from lra.leaderboard.record import file_name, json_schema, write

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


@pytest.mark.parametrize("schema", [8, 10**9])
def test_newer_schema(tmp_path, schema):
    with pytest.raises(UserError, match=f"schema version {schema}.* take a newer lra"):
        read(put(tmp_path, changed(RAW, "schema", schema)))


def test_records_of_schema_1_are_read(tmp_path):
    """They are read as they were written: without predictions, labels, and the source."""
    new = make(accuracy={0: 0.5, 1: None, 2: 0.25})
    before = old(new)
    assert "predictions" not in json.dumps(before)
    record = read(put(tmp_path, before))
    assert (record.schema, record.run) == (7, new.run)
    assert [seed.predictions for seed in record.seeds] == [None] * 3
    assert (record.task.test_labels, record.variant.sources) == (None, None)
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


@pytest.mark.parametrize("schema", [2, 3])
def test_the_text_of_a_variant_is_its_only_source_before_schema_4(tmp_path, schema):
    texts = {"mine.py": "x = 1\n"}
    new = make("mine", variant__sources=texts, variant__source_sha256=sha256("x = 1\n"))
    before = old(new, schema)
    assert before["variant"]["source"] == "x = 1\n"
    record = read(put(tmp_path, before))
    assert (record.schema, record.run, record.variant) == (7, new.run, new.variant)
    assert read(put(tmp_path, old(RECORD, schema))).variant == RECORD.variant
    for wrong in (3, ["x"], {"mine.py": "x = 1\n"}):
        refused(put(tmp_path, changed(before, "variant.source", wrong)), "record.variant.sources")
    refused(put(tmp_path, changed(before, "variant", {})), "some.record.json")


CHECKS = {
    "lra": "0.0.1", "holds": ["shape"], "fails": {"causality": "it sees the future"},
    "excepted": {"order": "so it is in the paper"}, "not_run": {"oracle": "it has none"},
}  # fmt: skip


def test_a_record_may_say_since_schema_5_which_checks_hold(tmp_path):
    text = {"variant__sources": {"mine.py": "x = 1\n"}, "variant__source_sha256": sha256("x = 1\n")}
    record = make("mine", variant__checks=CHECKS, **text)
    assert record.variant.checks is not None
    assert read(write(record, tmp_path)) == record
    assert record.run == make("mine", **text).run
    assert read(put(tmp_path, old(make(), 4))) == make()
    for field in CHECKS:
        refused(put(tmp_path, changed(RAW, "variant.checks", CHECKS | {field: 3})), f"record.variant.checks.{field}")
        less = {name: value for name, value in CHECKS.items() if name != field}
        refused(put(tmp_path, changed(RAW, "variant.checks", less)), f"lacks '{field}'")


KERNEL = {"call": "softmax attention of q k v float32[8,24,2,8]", "key": "0" * 16, "implementation": "plain",
          "why": "plain 1 ms; xla 2 ms"}  # fmt: skip


def test_a_record_says_since_schema_6_which_implementations_ran(tmp_path):
    record = make(measured__kernels=[KERNEL])
    assert read(write(record, tmp_path)) == record
    assert record.run == make().run, "the run is the same, whatever computes it"
    assert read(put(tmp_path, old(make(), 5))) == make()
    for field in KERNEL:
        wrong = changed(RAW, "measured.kernels", [KERNEL | {field: 3}])
        refused(put(tmp_path, wrong), f"record.measured.kernels.0.{field}")


RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"


def test_the_projects_own_records_are_read_as_they_are_on_the_disk():
    """Every field of the files is in what is read, with the same value."""
    paths = sorted(RESULTS.glob("*.*.*.*.json"))
    assert len(paths) > 24
    for path in paths:
        content, again = json.loads(path.read_bytes()), raw(read(path))
        assert content == again
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
    assert text.startswith('{\n "schema": 7,\n "run": "')
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
    with pytest.raises(UserError, match=r"nowhere.json: there is no such file"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match=r"is a folder; name the files of records in it"):
        read(tmp_path)


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


@settings(max_examples=300)
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


@settings(max_examples=300)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(place, content):
    with pytest.raises(UserError, match=r"some\.record\.json"):
        read(put(place, content))


@settings(max_examples=300)
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


# --- Sizes and tricks ---------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["my-attention", "2nd", "a.b", "_a"])
@pytest.mark.parametrize("path", ["task.name", "variant.name", "protocol.name"])
def test_names_that_nothing_can_have_now_are_read_in_old_records_alone(tmp_path, path, name):
    record = make(**{path.replace(".", "__"): "x" if name == "_a" else name})
    if name == "_a":  # no record ever had one
        refused(put(tmp_path, sealed(changed(changed(raw(record), path, name), "run", ""))), f"record.{path}")
        return
    assert read(put(tmp_path, old(record, 3))).run == record.run
    refused(put(tmp_path, record), f"'{name}' is no name of a task, variant or protocol")


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("path", ["task.name", "variant.name", "protocol.name", "run"])
def test_names_that_are_none_are_refused(tmp_path, path, trick):
    refused(put(tmp_path, changed(RAW, path, trick)), f"record.{path}")
