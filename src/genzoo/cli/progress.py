"""Show signs of life of commands that may take minutes: how long it has been, and what is left where that is known."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from genzoo.metrics.drawing import TELL

FIRST, LONGEST = 5.0, 60.0
"""Seconds until the first line, and between lines at most."""


@contextmanager
def waiting(what: str, *, first: float = FIRST) -> Iterator[None]:
    """Write a line on stderr now and then, after 5, 10, 20 ... seconds, for as long as the block runs.

    Args:
        what: What is being done.
        first: Seconds until the first line.
    """
    begun, over, drawn = time.monotonic(), threading.Event(), [0, 0]

    def tell(done: int, total: int) -> None:
        drawn[:] = done, total

    def speak() -> None:
        pause = first
        while not over.wait(pause):
            from genzoo.runs.meters import clock  # most commands are done before there is anything to say

            pause = min(2 * pause, LONGEST)
            spent = time.monotonic() - begun
            done, total = drawn
            left = f", {done} of {total} drawn, about {clock(spent / done * (total - done))} left" if done else ""
            print(f"{what}: {clock(spent)} so far{left}", file=sys.stderr, flush=True)

    speaker = threading.Thread(target=speak, daemon=True, name="genzoo-waiting")
    told = TELL.set(tell)
    speaker.start()
    try:
        yield
    finally:
        over.set()
        speaker.join()
        TELL.reset(told)
