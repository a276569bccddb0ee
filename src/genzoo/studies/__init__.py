"""Studies: systems x data x settings x seeds under one budget, from one file, by any number of workers that share a folder or a database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from genzoo.core.errors import UserError
from genzoo.studies.journal import Journal
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
    storage: str = "",
    beat: Annotated[int, Field(ge=1, le=86_400)] = 60,
    quiet: bool = False,
) -> Study:
    """Work on a study until nothing is left to do, and write its page.

    Start the same call in another process or on another machine that sees the folder (or, with `storage`, the database), and the two share the
    trials. A worker that dies loses nothing that is finished: its open trial is resumed by the next worker that finds it.

    Args:
        file: The study's TOML file, or the folder of a study that was begun.
        out: Folder; studies/NAME when not given.
        limit: Trials that this worker finishes at most.
        retry: Begin those anew that failed before.
        storage: URL of a database, as Optuna takes it, that keeps what is finished in place of the folder: postgresql://USER@HOST/NAME. Machines that
            share it need share no folder; a trial that a lost machine had begun then begins anew.
        beat: Seconds between two signs of life of a worker in that database; a trial is free again after two that were missed.
        quiet: Show no progress.

    Raises:
        UserError: A mistake in the file, data, weights or a database that are not there, or a folder that holds another study: before anything
            is trained.
        DiskFull: What is finished is kept.
        TrainingStopped: By a signal; the open trial is saved.
    """
    if beat < 1:
        raise UserError(f"beat={beat} is not allowed; give 1 second or more")
    path, plan = read_plan(file, out)

    def page(journal: Journal) -> list[dict[str, Any]]:
        rows = rows_of(path, plan, journal)
        if any(row["state"] in ("complete", "failed") for row in rows):
            write_report(path, plan, rows)
        return rows

    try:
        journal = work(path, plan, limit=limit, retry=retry, quiet=quiet, storage=storage, beat=beat, page=page)
    except BaseException:
        with contextlib.suppress(OSError, UserError):  # what stopped the work is what the person should read
            page(Journal(path, plan, storage, beat))
        raise
    return Study(path, plan, page(journal))
