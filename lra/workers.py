"""Functions mapped over processes, which are spawned: a forked one would inherit the locks of its caller's JAX."""

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

A, B = TypeVar("A"), TypeVar("B")
Begin = Callable[[], None] | None  # what a process calls before its first item


def in_order(
    function: Callable[[A], B], items: Iterable[A], workers: int, begin: Begin = None, fresh: bool = False
) -> Iterator[B]:
    """`map`, at most two items a worker ahead. One worker is this process, which does not call `begin`.

    If `fresh`, each item gets a new process, and none is ahead.
    """
    if workers == 1 and not fresh:
        yield from map(function, items)
        return
    items = iter(items)
    with Pool(workers, begin, fresh) as pool:
        pending = [pool.submit(function, item) for item in itertools.islice(items, workers if fresh else 2 * workers)]
        while pending:
            yield pending.pop(0).result()
            pending.extend(pool.submit(function, item) for item in itertools.islice(items, 1))


def as_completed(
    function: Callable[[A], B], items: Iterable[A], workers: int, begin: Begin = None
) -> Iterator[tuple[A, B]]:
    """Each item with its result, the first finished first. One worker is this process, which does not call `begin`."""
    if workers == 1:
        yield from ((item, function(item)) for item in items)
        return
    with Pool(workers, begin) as pool:
        pending = {pool.submit(function, item): item for item in items}
        yield from ((pending[future], future.result()) for future in futures.as_completed(pending))


class Pool(futures.ProcessPoolExecutor):
    """Cancels, at the end of its `with`, the items that no process has begun."""

    def __init__(self, workers: int, begin: Begin, fresh: bool = False):
        tasks = 1 if fresh else None
        super().__init__(workers, get_context("spawn"), start, (begin,), max_tasks_per_child=tasks)

    def __exit__(self, *error: Any) -> None:
        self.shutdown(cancel_futures=True)


def start(begin: Begin) -> None:
    """Lets this process end when its parent is killed: the executor's pipes alone would keep it waiting for ever."""

    def end_with_parent() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    if begin:
        begin()
