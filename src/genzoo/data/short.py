"""Many short tasks, whose results are wanted in order: handing one to a thread and back takes as long as a tenth of a small picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_TRIED, _TOGETHER = 4, 64
"""Of so many tasks together, the first few are timed."""
_FEW = 8
"""Tasks that a thread is given at once, at most."""
_SOON = 1e-3
"""Seconds within which a task is soon done."""


def in_pool(pool: Executor, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what a task makes of each item, in their order; where there are many, a thread is given a few at once.

    Args:
        pool: Threads.
        work: The task.
        items: What it is done with.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(in_pool(pool, abs, range(-200, -197)))
    [200, 199, 198]
    """
    count = max(1, min(_FEW, len(items) // _TOGETHER))
    few = [items[start : start + count] for start in range(0, len(items), count)]
    for part in pool.map(lambda part: [work(item) for item in part], few):
        yield from part


def in_order(pool: Executor, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what a task makes of each item, in their order.

    Threads that hold the interpreter for a millisecond at a time wait for each other longer than they work: such tasks are done one after
    another in the thread that asks. What waits for a disk, or works for longer, is given to the pool. That is timed anew every 64 tasks.

    Args:
        pool: Threads.
        work: The task.
        items: What it is done with.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(in_order(pool, abs, [-3, 2, -1]))
    [3, 2, 1]
    """
    for start in range(0, len(items), _TOGETHER):
        tried, rest = items[start : start + _TRIED], items[start + _TRIED : start + _TOGETHER]
        clock, processor = time.perf_counter(), time.thread_time()
        done = [work(item) for item in tried]
        clock, processor = time.perf_counter() - clock, time.thread_time() - processor
        yield from done
        if clock < _SOON * len(tried) and clock < 2 * processor + 1e-4:
            yield from map(work, rest)
        else:
            yield from in_pool(pool, work, rest)
