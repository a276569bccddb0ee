"""Work on a study: systems over data, settings and seeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import genzoo
from genzoo.cli.table import Command
from genzoo.cli.text import columns, number

COMMAND = Command(
    "compare systems over data, settings and seeds; start it again to go on, or several times to share the work",
    "FILE.toml [out=FOLDER limit=5]",
    place=60,
)


def study(
    file: str,
    out: str = "",
    limit: Annotated[int, Field(ge=1)] | None = None,
    retry: bool = False,
    storage: str = "",
    beat: Annotated[int, Field(ge=1, le=86_400)] = 60,
    quiet: bool = False,
) -> None:
    """Work on a study until nothing is left to do, and write its page.

    Args:
        file: The study's TOML file, or the folder of a study that was begun.
        out: Folder of the study; studies/NAME when not given.
        limit: Trials that this worker finishes at most.
        retry: Begin those anew that failed before.
        storage: URL of a database that keeps what is finished, for workers on many machines: postgresql://USER@HOST/NAME (needs genzoo[cluster]).
        beat: Seconds between two signs of life of a worker in that database; a trial is free again after two that were missed.
        quiet: Show no progress.
    """
    found = genzoo.study(file, out=out or None, limit=limit, retry=retry, storage=storage, beat=beat, quiet=quiet)
    states = [row["state"] for row in found.rows]
    open_ = len(states) - states.count("complete") - states.count("failed")
    held = f", {open_} open (other workers have them, or a later start)" if open_ else ""
    print(f"{states.count('complete')} of {len(states)} trials finished, {states.count('failed')} failed{held}\n")
    plan = found.plan
    for data in plan.data:
        print(f"{data}: {plan.measure}, {plan.direction} is better")
        told = [("", "mean of best draw", "sd over its seeds", "best", "median", "worst", "steps", "finished")]
        for r in (r for r in found.table if r["data"] == data):
            words = [r[key] for key in told[0][1:-1]]
            told.append((r["system"], *map(number, words), f"{r['trials']} of {r['draws'] * r['seeds']}"))
        print(columns(told) + "\n")
    print(f"page: {found.path / 'index.html'}, table: {found.path / 'table.csv'}")
