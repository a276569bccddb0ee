"""How many threads compute: as many as are asked for, or as a few timed calls find best under the load that there is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch

ROUNDS, SECONDS = 3, 20.0
"""Calls that are timed with each number of threads, and the time after which no further round begins."""


@contextlib.contextmanager
def computing_with(count: int | None) -> Iterator[None]:
    """Compute with so many threads within the block, and with those of before after it; None leaves them."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def candidates(most: int) -> list[int]:
    """Return the numbers of threads worth a try: 1, 2, 4 ... and `most`.

    >>> candidates(6)
    [1, 2, 4, 6]
    """
    return [*(2**k for k in range(most.bit_length()) if 2**k < most), most]


def fastest(
    call: Callable[[], object], counts: list[int], clock: Callable[[], float] = time.perf_counter
) -> tuple[int, dict[int, float]]:
    """Find with how many threads a call takes least wall time, in turns, after one call that is not counted.

    Threads of PyTorch wait for each other: beside a core that another program keeps busy, two of them can be many times slower than one. So
    a count whose first call takes twice the best so far is not tried again.

    Args:
        call: What is timed.
        counts: Numbers of threads.
        clock: Seconds.

    Returns:
        The number, and the median seconds of a call with each; of equal ones the smaller number wins.
    """
    taken: dict[int, list[float]] = {count: [] for count in counts}
    call()
    begun = clock()
    for turn in range(ROUNDS):
        for count in counts if turn % 2 == 0 else counts[::-1]:
            best = min((min(t) for t in taken.values() if t), default=float("inf"))
            if turn and (min(taken[count]) > 2 * best or clock() - begun > SECONDS):
                continue
            with computing_with(count):
                start = clock()
                call()
                taken[count].append(clock() - start)
    found = {count: sorted(t)[len(t) // 2] for count, t in taken.items()}
    return min(found, key=lambda count: (found[count], count)), found
