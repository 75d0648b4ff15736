"""`map` over processes, in order."""

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

A, B = TypeVar("A"), TypeVar("B")


def parallel(function: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """`map`, in order, over processes and with a bounded number of items under way."""
    if workers == 1:
        yield from map(function, items)
        return
    items = iter(items)
    # spawn: a forked child inherits JAX's locks if the caller has used JAX
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent) as pool:
        pending = [pool.submit(function, item) for item in itertools.islice(items, 2 * workers)]
        try:
            while pending:
                yield pending.pop(0).result()
                pending.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Ends this worker when its parent is killed: the executor's pipes alone would keep it waiting for ever."""

    def wait() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
