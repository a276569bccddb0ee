"""Logs of a run: means on the device, read only when a line is written; a progress bar or plain lines for the person."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.core.files import write_atomic
from genzoo.runs.loggers import About, Loggers
from genzoo.text.documents import is_number, read_lines


class Meter:
    """Means of named scalars since the last reading. Nothing is read off the device before `read`.

    Args:
        summed: Returns the sum of a tensor over all ranks, which then all read at the same time, after the same names.
    """

    def __init__(self, summed: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        self.summed = summed
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def add(self, logs: dict[str, Tensor]) -> None:
        """Take in the logs of one step. Values that are not finite are left out of the mean (they are counted elsewhere)."""
        for key, value in logs.items():
            value = torch.as_tensor(value).detach().float()
            finite = torch.isfinite(value)
            value = torch.where(finite, value, 0.0)
            if key in self.sums:
                self.sums[key] += value
                self.counts[key] += finite
            else:
                self.sums[key], self.counts[key] = value.clone(), finite.float()

    def read(self) -> dict[str, float]:
        """Return the means (over ranks as well) as numbers, in one transfer, and start anew. A key without a finite value is NaN."""
        if not self.sums:
            return {}
        both = torch.stack([torch.stack(list(self.sums.values())), torch.stack(list(self.counts.values()))])
        every = self.summed(both).tolist()
        means = {k: s / c if c else float("nan") for k, s, c in zip(self.sums, *every, strict=True)}
        self.sums, self.counts = {}, {}
        return means


class LogFile:
    """`log.jsonl`: one JSON object a line. Lines past the step that a run resumes from are dropped.

    Args:
        path: The file.
        step: Step that the run starts from.

    Attributes:
        damaged: Lines that were none of a log, and are not there any more.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        known = read_log(path)
        self.damaged = max(0, (path.read_bytes().count(b"\n") if path.exists() else 0) - len(known))
        lines = [line for line in known if line["step"] <= step]
        self.path = path
        write_atomic(
            path, "".join(json.dumps(line) + "\n" for line in lines).encode()
        )  # a full disk keeps the old lines
        self.file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed by close)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line."""
        text = json.dumps(line) + "\n"
        with disk_full_is_said(self.path, len(text)):
            self.file.write(text)

    def close(self) -> None:
        """Close the file; what a full disk cannot take is dropped without a second error."""
        with contextlib.suppress(OSError):
            self.file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log: a step and numbers. An unfinished last line (a killed run) and what is no such line are left out."""
    return [line for line in read_lines(path)[0] if _is_logged(line)]


def _is_logged(line: dict[str, Any]) -> bool:
    """Tell whether a line is what `LogFile` writes: a step, and numbers by name, none where a value was not finite; counts one level deeper."""
    step = line.get("step")
    if not (is_number(step) and isinstance(step, int) and 0 <= step < 2**53):
        return False
    told = [v for value in line.values() for v in (value.values() if isinstance(value, dict) else [value])]
    return all(v is None or is_number(v) for v in told)


def clock(seconds: float) -> str:
    """Write seconds as 1:02:03 or 2:03."""
    m, s = divmod(int(seconds), 60)
    h, m = divmod(m, 60)
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"


def pace(rate: float) -> str:
    """Write a rate as steps per second, or a slow one as seconds per step.

    >>> pace(12.34), pace(0.05)
    ('12.3 steps/s', '20.0 s/step')
    """
    return f"{rate:.1f} steps/s" if rate >= 1 or rate <= 0 else f"{1 / rate:.1f} s/step"


class Progress:
    """A rich bar with rate and ETA on a terminal, plain lines otherwise, nothing when quiet.

    Args:
        total: Steps in all; None when it is not known.
        start: Steps already done.
        quiet: Show nothing.
    """

    def __init__(self, total: int | None, start: int = 0, *, quiet: bool = False) -> None:
        self.total, self.start, self.done, self.begun, self.quiet = total, start, start, time.monotonic(), quiet
        self.bar: Any = None
        self.shown = 0.0
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Rich

            self.bar = Rich(
                MofNCompleteColumn(), BarColumn(None), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False),
                TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[logs]}"), console=Console(stderr=True), expand=True,
            )  # fmt: skip
            self.bar.start()
            self.task = self.bar.add_task("", total=total, completed=start, rate="", logs="")

    def advance(self) -> None:
        """Count one more step as done."""
        self.done += 1
        if self.bar and (now := time.monotonic()) - self.shown > 0.1:
            self.shown = now
            self.bar.update(self.task, completed=self.done, rate=pace(self.rate))

    @property
    def rate(self) -> float:
        """Steps per second in this process."""
        return (self.done - self.start) / max(time.monotonic() - self.begun, 1e-9)

    def line(self, logs: dict[str, float]) -> None:
        """Show the logs of an interval."""
        text = "  ".join(f"{k} {v:.4g}" for k, v in logs.items())
        if self.bar:
            self.bar.update(self.task, completed=self.done, logs=text)
        elif not self.quiet and (time.monotonic() - self.shown > 2 or self.done == self.total):
            self.shown = time.monotonic()
            left = f", {clock((self.total - self.done) / max(self.rate, 1e-9))} left" if self.total else ""
            print(
                f"step {self.done}{f'/{self.total}' if self.total else ''}  {pace(self.rate)}{left}  {text}",
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """Print a line of its own."""
        if self.bar:
            self.bar.console.print(text, highlight=False, markup=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar down."""
        if self.bar:
            self.bar.update(self.task, completed=self.done)
            self.bar.stop()


class Logbook:
    """Keeps what a training says of itself: log.jsonl and the loggers on the first rank, and the progress bar.

    Args:
        folder: The run folder.
        step: Steps already done.
        total: Steps in all; None when it is not known.
        main: Write files.
        quiet: Show nothing.
        loggers: Who gets the numbers and pictures as well (see `genzoo.runs.loggers`).
        summed: How a sum over ranks is taken; see `Meter`.

    Raises:
        UserError: A new run asks for a logger that is not there.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        total: int | None,
        *,
        main: bool,
        quiet: bool,
        loggers: Sequence[str],
        summed: Callable[[Tensor], Tensor] = lambda own: own,
    ) -> None:
        self.progress, self.meter = Progress(total, step, quiet=quiet), Meter(summed)
        try:
            self.loggers = Loggers(loggers if main else (), About(folder, step), self.say)
        except UserError:
            self.progress.close()
            raise
        self.file = LogFile(folder / "log.jsonl", step) if main else None
        if self.file and self.file.damaged:
            self.say(f"{self.file.path}: {self.file.damaged} damaged lines are left out")

    def step(self, logs: dict[str, Tensor]) -> None:
        """Take in the logs of one more step."""
        self.meter.add(logs)
        self.progress.advance()

    def interval(self, step: int, seconds: float, *, skipped: int, lr: float | None) -> None:
        """Write and show the means since the last call.

        Args:
            step: Steps done.
            seconds: Time taken so far.
            skipped: Updates that were skipped.
            lr: Learning rate of the first optimizer, where there is one.
        """
        means = self.meter.read()
        if not self.file:
            return
        more = {"skipped": skipped} if skipped else {}
        line = {"step": step, "seconds": round(seconds, 3), **{k: _short(v) for k, v in means.items()}, **more}
        self.file.write(line if lr is None else {**line, "lr": _short(lr)})
        self.progress.line({**means, **more})
        self.loggers.log(step, means)

    def measured(self, step: int, seconds: float, values: dict[str, float], took: float) -> None:
        """Write and show the values of a measurement that took `took` seconds."""
        if not self.file:
            return
        self.file.write({"step": step, "seconds": round(seconds, 3), **values, "measured_in": round(took, 2)})
        self.loggers.log(step, values)
        text = ", ".join(f"{k} {v:.4g}" for k, v in values.items()) or "nothing that is a number"
        self.say(f"measured at step {step} in {took:.1f} s: {text}")

    def picture(self, step: int, path: Path | None) -> None:
        """Give a sample picture that has been written to the loggers."""
        if path is not None and path.is_file():
            self.loggers.picture(step, "samples", path)

    def say(self, text: str) -> None:
        """Show a line of its own."""
        self.progress.say(text)

    def close(self) -> None:
        """Close the files and take the bar down."""
        self.progress.close()
        if self.file:
            self.file.close()
        self.loggers.close()


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
