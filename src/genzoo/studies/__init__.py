"""Studies: systems x data x settings x seeds under one budget, from one file, by any number of workers that share a folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.studies.plan import Plan, read_plan
from genzoo.studies.report import ranked, summary, write_report
from genzoo.studies.work import rows_of, work

__all__ = ["Plan", "Study", "read_plan", "study"]


@dataclass(frozen=True)
class Study:
    """A study and what it has found so far.

    Args:
        path: Its folder: journal.log, runs/, table.csv, trials.csv, index.html.
        plan: What it compares.
        rows: One dictionary for each trial: system, data, draw, seed, settings, state, value, seconds, run.
    """

    path: Path
    plan: Plan
    rows: list[dict[str, Any]]

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row for each system and data set, the best first on each."""
        return ranked(self.plan, summary(self.plan, self.rows))

    @property
    def done(self) -> bool:
        """Every trial has been finished, well or badly."""
        return all(row["state"] in ("complete", "failed") for row in self.rows)


def study(
    file: str | Path,
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    retry: bool = False,
    quiet: bool = False,
) -> Study:
    """Work on a study until nothing is left to do, and write its page.

    Start the same call in another process or on another machine that sees the folder, and the two share the trials. A worker that dies
    loses nothing that is finished: its open trial is resumed by the next worker that finds it.

    Args:
        file: The study's TOML file, or the folder of a study that was begun.
        out: Folder; studies/NAME when not given.
        limit: Trials that this worker finishes at most.
        retry: Begin those anew that failed before.
        quiet: Show no progress.

    Raises:
        UserError: A mistake in the file, data or weights that are not there, or a folder that holds another study: before anything is trained.
        DiskFull: What is finished is kept.
        TrainingStopped: By a signal; the open trial is saved.
    """
    path, plan = read_plan(file, out)

    def page() -> list[dict[str, Any]]:
        rows = rows_of(path, plan)
        if any(row["state"] in ("complete", "failed") for row in rows):
            write_report(path, plan, rows)
        return rows

    try:
        work(path, plan, limit=limit, retry=retry, quiet=quiet, page=page)
    except BaseException:
        with contextlib.suppress(OSError, UserError):  # what stopped the work is what the person should read
            page()
        raise
    return Study(path, plan, page())
