"""Signals that ask a training to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """Has a signal's number where it has been asked to stop; 0 otherwise."""

    stop: int


@contextlib.contextmanager
def asked_to_stop(training: Stoppable, *, several: bool) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a wish to stop after this step; a second SIGINT interrupts at once.

    Args:
        training: What is asked.
        several: It is one of several processes. Where another has gone, the launcher sends SIGTERM to those that are left, and these have
            yet to write what is on its way and to say why they stop: after an error that signal ends nothing any more.
    """

    def ask(signum: int, _: FrameType | None) -> None:
        if training.stop == signal.SIGINT == signum:
            raise KeyboardInterrupt
        training.stop = signum

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals belong to somebody else
        yield
        return
    try:
        yield
    except RuntimeError:
        if several:
            del before[signal.SIGTERM]
        raise
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
