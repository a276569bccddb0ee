"""Signals that ask a run to stop, which it does when its step is done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stops(Protocol):
    """What runs until it is asked to stop."""

    stop: int
    """The signal that asks it to; 0 for none."""


@contextmanager
def signals(run: Stops) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a wish to stop after this step; a second SIGINT interrupts at once."""

    def ask(signum: int, _: FrameType | None) -> None:
        if run.stop == signal.SIGINT == signum:
            raise KeyboardInterrupt
        run.stop = signum

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals belong to somebody else
        yield
        return
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
