"""What commands say: signs of life while they run, and where their files are."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from genzoo.data.drawing import STILLS

PICTURES = (*STILLS, ".npy")

FIRST, LONGEST = 5.0, 60.0
"""Seconds until the first line, and between lines at most."""


@contextmanager
def waiting(what: str, *, first: float = FIRST) -> Iterator[None]:
    """Write a line on stderr now and then, after 5, 10, 20 ... seconds, for as long as the block runs.

    Args:
        what: What is being done.
        first: Seconds until the first line.
    """
    from genzoo.metrics.drawing import TELL  # imports torch, which not every command does

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
            left = f", {done} of {total} done, about {clock(spent / done * (total - done))} left" if done else ""
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


def wrote(path: Path, *, asked: str | Path) -> None:
    """Print where a result lies, and where that is not where it was asked for, why."""
    moved = (
        f" ({asked} was there already; overwrite=true replaces it)"
        if asked and path.name != Path(asked).name and not Path(asked).is_dir()
        else ""
    )
    print(f"wrote {path}{moved}")


def wrote_images(written: Sequence[Path], *, asked: str) -> None:
    """Print where the results of an image, or of several, lie."""
    if len(written) == 1:
        wrote(written[0], asked=asked if Path(asked).suffix and "*" not in asked else "")
    else:
        print(f"wrote {len(written)} images to {os.path.commonpath([p.parent for p in written])}")
