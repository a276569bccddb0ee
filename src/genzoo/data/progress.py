"""How far the reading of a data set has come, for people who wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(total: int, text: str, quiet: bool, things: str = "images") -> Iterator[Callable[[int], None]]:
    """Show a progress bar with the time left on a terminal, else one line at the end of what took long."""
    if quiet or total < 2:
        yield lambda n: None
        return
    start = time.monotonic()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(text, total=total)
            yield lambda n: progress.advance(task, n)
    else:
        print(f"{text}: {total} {things}", file=sys.stderr, flush=True)
        done, said = 0, start

        def advance(n: int) -> None:
            nonlocal done, said
            done += n
            if time.monotonic() - said > 10:
                said = time.monotonic()
                wait = (said - start) / done * (total - done)
                print(f"{text}: {done} of {total}, about {wait:.0f} s left", file=sys.stderr, flush=True)

        yield advance
