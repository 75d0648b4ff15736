"""Maps functions over processes. The processes are spawned, since a forked one would inherit JAX's locks."""

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

A, B = TypeVar("A"), TypeVar("B")
Begin = Callable[[], None] | None  # called in each new process before its first item


def in_order(
    function: Callable[[A], B], items: Iterable[A], workers: int, begin: Begin = None, fresh: bool = False
) -> Iterator[B]:
    """`map` over processes. It reads at most two items a worker in advance.

    With one worker the items are processed in this process, and `begin` is not called.

    Args:
      begin: called in each new process before its first item.
      fresh: whether each item gets a new process, even with one worker. Then no item is read in advance.
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
    """Each item with its result, in the order in which results are ready; arguments as for `in_order`."""
    if workers == 1:
        yield from ((item, function(item)) for item in items)
        return
    with Pool(workers, begin) as pool:
        pending = {pool.submit(function, item): item for item in items}
        yield from ((pending[future], future.result()) for future in futures.as_completed(pending))


class Pool(futures.ProcessPoolExecutor):
    """A pool of spawned processes. The end of its `with` block cancels the items that no process has begun."""

    def __init__(self, workers: int, begin: Begin, fresh: bool = False):
        tasks = 1 if fresh else None
        super().__init__(workers, get_context("spawn"), start, (begin,), max_tasks_per_child=tasks)

    def __exit__(self, *error: Any) -> None:
        self.shutdown(cancel_futures=True)


def start(begin: Begin) -> None:
    """Ends this process when its parent is killed. Otherwise it would wait for the executor's pipes for ever."""

    def end_with_parent() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    if begin:
        begin()
