"""Functions over processes: their order, their errors, and that no process is left behind."""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lra.errors import UserError
from lra.workers import as_completed, in_order

BEGUN: list[str] = []


def begin() -> None:
    BEGUN.append("once")


def begun(_: int) -> tuple[int, int]:
    return os.getpid(), len(BEGUN)


def slow_if_even(item: int) -> int:
    time.sleep(0.2 * (item % 2 == 0))
    return item


def refuse_two(item: int) -> int:
    if item == 2:
        raise UserError("two")
    return item


def leave_a_file(folder: Path, item: int) -> int:
    (folder / str(item)).touch()
    time.sleep(0.1)
    return item


def mapped(how: Any, items: Any, workers: int, function: Any = slow_if_even) -> list[int]:
    results = how(function, items, workers)
    return [result[1] if how is as_completed else result for result in results]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_the_order_of_the_items(workers):
    assert mapped(in_order, range(7), workers) == list(range(7))
    assert mapped(in_order, [], workers) == mapped(as_completed, [], workers) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_each_result_comes_with_its_item(workers):
    assert sorted(as_completed(slow_if_even, range(5), workers)) == [(item, item) for item in range(5)]


def wait_for_a_file(path: Path, item: int) -> int:
    until = time.monotonic() + 60
    while item == 0 and not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    return item


def test_as_completed_does_not_wait_for_a_slow_item(tmp_path):
    path = tmp_path / "one is there"
    results = as_completed(functools.partial(wait_for_a_file, path), range(2), 2)
    assert next(results) == (1, 1)
    path.touch()
    assert list(results) == [(0, 0)]


def test_few_items_are_read_ahead():
    read = []
    items = (read.append(item) or item for item in itertools.count())
    with contextlib.closing(in_order(slow_if_even, items, 2)) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(read) <= 2 * 2 + 2


@pytest.mark.parametrize("how", [in_order, as_completed])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_a_worker_reaches_the_caller(how, workers):
    with pytest.raises(UserError, match="two"):
        mapped(how, range(4), workers, refuse_two)


@pytest.mark.parametrize("how", [in_order, as_completed])
def test_workers_begin_once_before_their_items(how):
    results = [result[1] if how is as_completed else result for result in how(begun, range(6), 2, begin)]
    assert all(pid != os.getpid() and count == 1 for pid, count in results)
    assert len({pid for pid, _ in results}) <= 2


def test_a_fresh_process_for_each_item_and_none_ahead():
    read = []
    items = (read.append(item) or item for item in itertools.count())
    with contextlib.closing(in_order(begun, items, 1, begin, fresh=True)) as results:
        first, second = next(results), next(results)
    assert read == [0, 1]
    assert first[0] != second[0]
    assert first[1] == second[1] == 1


@pytest.mark.parametrize("how", [in_order, as_completed])
def test_what_nobody_has_begun_is_cancelled_when_the_caller_stops(how, tmp_path):
    items = range(100)
    with contextlib.closing(how(functools.partial(leave_a_file, tmp_path), items, 2)) as results:
        next(results)
    assert 1 <= len(list(tmp_path.iterdir())) < 20
    assert not multiprocessing.active_children()


def give_the_workers_away(how: Any, pipe: Any) -> None:
    for _ in how(slow_if_even, range(10_000), 2):
        pipe.send([child.pid for child in multiprocessing.active_children()])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [in_order, as_completed])
def test_workers_end_with_a_killed_parent(how):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    parent = context.Process(target=give_the_workers_away, args=(how, there))
    parent.start()
    assert here.poll(60)
    workers = here.recv()
    assert len(workers) == 2
    parent.kill()
    parent.join()
    until = time.monotonic() + 10
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in workers if runs(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
