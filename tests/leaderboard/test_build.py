"""`lra leaderboard build`: the same records give the same bytes, and --check finds every other byte."""

import csv
import io
import itertools
import json
import random
from pathlib import Path

import pytest
from conftest import lra
from made_records import make, old

from lra.cli import main
from lra.leaderboard import store
from lra.leaderboard.record import write

RECORDS = [
    make(name, {0: 0.25, 1: share, 2: None}, task__name=task, protocol__name=protocol)
    for name, share in (("transformer", 0.5), ("local", 0.75), ("s5", 0.5))
    for task in ("listops", "image")
    for protocol in ("demo", "paper")
]


def fill(folder: Path, records: list) -> Path:
    for record in records:
        write(record, store.folder_of(folder))
    return folder


def made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = fill(tmp_path_factory.mktemp("built"), RECORDS)
    assert main(["leaderboard", "build", str(folder), "--out", str(folder / "out")]) == 0
    return folder


def build(*words: object) -> int:
    return main(["leaderboard", "build", *map(str, words)])


def test_everything_is_written(built):
    files = made(built / "out")
    assert {
        "index.html",
        "style.css",
        "script.js",
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "elsewhere.csv",
        "published.csv",
    } | {f"runs/{record.run}.html" for record in RECORDS} == set(files)


def test_folders_of_the_records_do_not_matter(built, tmp_path):
    for index, record in enumerate(random.Random(2).sample(RECORDS, len(RECORDS))):
        fill(tmp_path / f"{index % 3}", [record, RECORDS[0]])
    for number, order in enumerate(itertools.permutations("012")):
        out = tmp_path / f"out{number}"
        assert build(*(tmp_path / name for name in order), "--out", out) == 0
        assert made(out) == made(built / "out")


def test_the_users_locale_does_not_matter(built, tmp_path):
    """Nor do the time zone and the order of sets."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "1", "TZ": "Asia/Kolkata"}
    done = lra("leaderboard", "build", built, "--out", tmp_path, **locale)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == made(built / "out")


def test_what_file_managers_leave_does_not_matter(built, tmp_path):
    folder = fill(tmp_path / "records", RECORDS)
    for path in [*store.folder_of(folder).iterdir()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert build(folder, "--out", tmp_path / "out") == 0
    assert made(tmp_path / "out") == made(built / "out")


def test_tables_that_cannot_be_written_are_shown(built, tmp_path, read_only, capsys):
    assert build(built, "--out", built / "out") == 0
    tables, _, _ = capsys.readouterr().out.partition("tables: ")
    read_only(tmp_path)
    assert build(built, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out == tables
    assert f"cannot write {tmp_path / 'out'}" in said.err
    assert len(said.err.splitlines()) == 1


def test_check_finds_every_kind_of_difference(built, tmp_path, capsys):
    out = tmp_path / "out"
    build(built, "--out", out)
    assert build(built, "--out", out, "--check") == 0
    page = out / "runs" / f"{RECORDS[0].run}.html"
    for change, name in (
        (lambda: (out / "leaderboard.csv").write_text("x"), "leaderboard.csv"),
        (lambda: page.write_bytes(page.read_bytes() + b" "), page.name),
        (lambda: (out / "index.html").unlink(), "index.html"),
        (lambda: (out / "runs" / "0123456789ab.html").write_text("stale"), "0123456789ab.html"),
    ):
        change()
        before = made(out)
        capsys.readouterr()
        assert build(built, "--out", out, "--check") == 1
        assert name in capsys.readouterr().err
        assert made(out) == before  # it writes nothing
        assert build(built, "--out", out) == 0
        assert build(built, "--out", out, "--check") == 0


def test_what_is_no_record_is_named_and_the_rest_is_built(tmp_path, capsys):
    fill(tmp_path, RECORDS[:2])
    broken = store.folder_of(tmp_path) / "broken.json"
    broken.write_text('{"schema": 2')
    newer = store.folder_of(tmp_path) / "newer.json"
    newer.write_text('{"schema": 99}')
    (store.folder_of(tmp_path) / "old.json").write_text(json.dumps(old(RECORDS[2])))
    assert build(tmp_path, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "2 files were left out" in said.err
    assert str(broken) in said.err
    assert "take a newer lra" in said.err
    assert len(said.err.splitlines()) == 1
    page = (tmp_path / "out" / "index.html").read_text()
    assert "broken.json" in page
    assert len([*(tmp_path / "out" / "runs").iterdir()]) == 3


def test_results_and_the_projects_own_records_without_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mine = make("transformer", {11: 0.75}, variant__source_sha256="a" * 64)
    fill(tmp_path / "lra-results", [mine])
    assert build() == 0
    said = capsys.readouterr().out
    assert "lra-results/leaderboard/index.html" in said
    assert f"{mine.task.name} {mine.task.version}, protocol {mine.protocol.name}" in said
    assert "hops by difficulty" not in said  # the project's alone, as its level of a guess is no row
    pages = {path.stem for path in (tmp_path / "lra-results" / "leaderboard" / "runs").iterdir()}
    assert mine.run in pages
    assert len(pages) > 1
    with (tmp_path / "lra-results" / "leaderboard" / "leaderboard.csv").open(newline="") as file:
        assert {row["runs"] for row in csv.DictReader(file) if row["from"] == "own"} == {mine.run}


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert build(tmp_path / "nowhere") == 1
    assert "nowhere is no folder" in capsys.readouterr().err
    assert build(tmp_path, "--out", tmp_path / "out") == 1
    assert "there are no records" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_json_has_the_rows_and_the_keys_of_csv(built, capsys):
    capsys.readouterr()
    assert build(built, "--out", built / "out", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    (row,) = (r for r in rows if (r["task"], r["protocol"], r["variant"]) == ("listops", "demo", "local"))
    assert (row["accuracy_mean"], row["seeds"], row["ranked"], row["source_sha256"]) == (0.5, 3, True, None)
    assert row["family"] == "softmax pattern"
    # 0.25, 0.75: t(0.975, 1) = 12.7062 times 0.25 is beyond both ends
    assert (row["accuracy_low"], row["accuracy_high"]) == (0, 1)
    assert (row["steps_per_second"], row["hardware"]) == ([37.5], ["NVIDIA H200"])
    lines = [*csv.DictReader(io.StringIO((built / "out" / "leaderboard.csv").read_text(), newline=""))]
    as_text = {None: "", True: "true", False: "false"}
    word = lambda value: as_text[value] if value is None or isinstance(value, bool) else str(value)
    cell = lambda value: "; ".join(map(word, value)) if isinstance(value, list) else word(value)
    assert [{key: cell(value) for key, value in row.items()} for row in rows] == lines
    assert len(rows) == len(RECORDS)


def test_one_seed_has_no_interval(tmp_path, capsys):
    assert build(fill(tmp_path, [make(accuracy={0: 0.5})]), "--out", tmp_path / "out", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["accuracy_mean"], row["accuracy_low"], row["accuracy_high"]) == (0.5, None, None)


def test_time_and_memory_of_a_benchmark_are_shown(tmp_path):
    folder = fill(tmp_path / "results", RECORDS[:1])
    assert build(folder, "--out", tmp_path / "none") == 0
    rows = [
        {"variant": "s5", "length": length, "direction": "training", "steps_per_second": 3.0, "megabytes": 70.5}
        for length in (1024, 2048)
    ]
    rows.append({"variant": "s5", "length": 4096, "direction": "training", "end": "memory", "error": "out of memory"})
    content = {"hardware": {"device": "TPU <v9>"}, "settings": {"model": "Small."}, "rows": rows}
    (folder / "bench-variants.json").write_text(json.dumps(content))
    assert build(folder, "--out", tmp_path / "out") == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Training on TPU &lt;v9&gt;, by length" in page
    assert "Time a token, training" in page
    assert "out of memory at 4,096" in page
    assert "| s5 | 3,072 | 6,144 | 70 | 70 |" in (tmp_path / "out" / "leaderboard.md").read_text()
    changed = [name for name in ("leaderboard.csv", "published.csv", "style.css", "script.js")
               if (tmp_path / "out" / name).read_bytes() != (tmp_path / "none" / name).read_bytes()]  # fmt: skip
    assert changed == []
    (folder / "bench-variants.json").write_text("[]")
    assert build(folder, "--out", tmp_path / "out") == 1
