"""The folder of records: each run once, what is no record is named, and many writers lose nothing."""

import multiprocessing
from pathlib import Path
from typing import Any

from made_records import changed, make, old, put

from lra.leaderboard import store
from lra.leaderboard.record import write

RECORD = make()


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


def test_what_file_managers_leave_is_no_record(tmp_path):
    path = write(RECORD, store.folder_of(tmp_path))
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert store.load([tmp_path]) == ([RECORD], [])
    assert store.find(tmp_path, RECORD.run) == RECORD
    assert store.locate(RECORD.run[:3], [tmp_path]) == path


def test_of_records_of_one_run_that_agree_one_counts(tmp_path):
    """One with predictions; among these the newest. The order of the folders decides nothing."""
    store.folder_of(tmp_path / "old").mkdir(parents=True)
    put(store.folder_of(tmp_path / "old"), old(RECORD))
    write(RECORD, store.folder_of(tmp_path / "new"))
    for order in (("old", "new"), ("new", "old")):
        assert store.load(tmp_path / name for name in order)[0] == [RECORD]
    newer = changed(RECORD, "measured.finished_at", "2026-11-22T00:00:00+00:00")
    write(newer, store.folder_of(tmp_path / "mine"))
    for order in (("mine", "new"), ("new", "mine")):
        assert store.load(tmp_path / name for name in order)[0] == [newer]


def test_records_of_one_run_that_do_not_agree_all_stay(tmp_path):
    other = make(accuracy={0: 0.6, 1: None})
    assert other.run == RECORD.run
    for name, record in (("one", RECORD), ("two", other)):
        write(record, store.folder_of(tmp_path / name))
    both = [store.load(tmp_path / name for name in order)[0] for order in (("one", "two"), ("two", "one"))]
    assert both[0] == both[1]
    assert len(both[0]) == 2


def test_a_run_of_before_schema_3_that_was_made_again_is_one_run(tmp_path):
    """Under another name, since its configuration names the optimiser now."""
    before = make("local", {0: 0.5}, config=RECORD.config.replace("train.optimizer = @adamw()\n", ""))
    store.folder_of(tmp_path / "old").mkdir(parents=True)
    put(store.folder_of(tmp_path / "old"), old(before, 2))
    now = make("local", {0: 0.5}, config=RECORD.config)
    write(now, store.folder_of(tmp_path / "new"))
    assert before.run != now.run
    assert len(store.load([tmp_path / "new", tmp_path / "old"])[0]) == 1
    failed = [make("local", {}, status="failed", error="x", config=f"a.b = {place}\n") for place in range(2)]
    for record in failed:
        write(record, store.folder_of(tmp_path / "failed"))
    assert len(store.load([tmp_path / "failed"])[0]) == 2


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
