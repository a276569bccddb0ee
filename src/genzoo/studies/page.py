"""The page of a study: one static file that sorts its own tables, to be opened from the disk and sent to anybody with its folder."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genzoo.metrics.records import read_records
from genzoo.runs.meters import clock
from genzoo.studies.plan import Plan
from genzoo.use.pages.page import number, write_page

CAPTIONS = {
    "boxes": "Every finished trial (points), with quartiles over draws and seeds.",
    "budget": "What the best of so many draws would have been, by bootstrap: mean and standard deviation (arXiv:1711.10337, section 5.1).",
    "settings": "Every finished trial over each searched setting.",
    "curves": "The measure while training, one line for each trial; its protocol is that of the training (measure_n), not of the table.",
}
TRIAL = ["run", "system", "data", "draw", "seed"]
SYSTEM = [
    "system", "mean of best draw", "sd over its seeds", "best", "median", "worst", "trials", "failed", "steps", "examples seen", "time of a trial",
]  # fmt: skip


def write_study_page(
    path: Path, plan: Plan, rows: list[dict[str, Any]], table: list[dict[str, Any]], drawings: Iterable[Path]
) -> Path:
    """Write index.html of a study.

    Args:
        path: The study's folder; pictures of samples are copied into it, so that the page can be moved with it.
        plan: What it compares.
        rows: One dictionary for each trial.
        table: One for each system and data set, the best first.
        drawings: Charts in the folder.
    """
    states = [r["state"] for r in rows]
    searched = list(dict.fromkeys(key for system in plan.systems for key in plan.ranges(system)))
    columns = [*TRIAL, *searched, "state", plan.measure, *plan.also, "steps", "time"]
    return write_page(
        path / "index.html", Path(__file__).with_name("study.html.j2"), plan=plan, clock=clock, captions=CAPTIONS, drawings=drawings,
        finished=sum(s in ("complete", "failed") for s in states),
        others={"failed": states.count("failed"), "begun": states.count("running")},
        now=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        of_system=[*SYSTEM, *(f"{name} of best draw" for name in plan.also), "settings of best draw"],
        systems={data: [_compared(r, rows) for r in table if r["data"] == data] for data in plan.data},
        of_trial=[*columns, "why"] if "failed" in states else columns,
        trials=[_trial(path, plan, r) for r in sorted(rows, key=lambda r: order(plan, r["value"]))],
        samples=_samples(path, plan, rows, table), protocols=_protocols(path, plan, rows),
    )  # fmt: skip


def order(plan: Plan, value: float | None) -> float:
    """Return a value as a key of sorting: the better, the smaller."""
    return float("inf") if value is None else value if plan.direction == "lower" else -value


def _compared(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a system's row of the comparison with its trials and their mean time in words."""
    own = [r for r in rows if (r["system"], r["data"], r["state"]) == (row["system"], row["data"], "complete")]
    seconds = [r["seconds"] for r in own if r["seconds"] is not None]  # a run may have been removed since
    mean = sum(seconds) / len(seconds) if seconds else None
    return {**row, "trials": f"{row['trials']} of {row['draws'] * row['seeds']}", "time of a trial": mean}


def _trial(path: Path, plan: Plan, row: dict[str, Any]) -> dict[str, Any]:
    """Gather the columns of a trial, and where its name leads: to its evaluation, its card or its folder, as far as they are there."""
    places = (f"{row['run']}/evaluation.html", f"{row['run']}/README.md", row["run"])
    return {
        **row["settings"], **{key: row[key] for key in (*TRIAL, "state", "steps", "why")}, "time": row["seconds"],
        plan.measure: row["value"], **{name: row["also"].get(name) for name in plan.also},
        "run": Path(row["run"]).name, "link": next((p for p in places if (path / p).exists()), ""),
    }  # fmt: skip


def _samples(
    path: Path, plan: Plan, rows: list[dict[str, Any]], table: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """Copy the last picture of samples of the best trial of each system on each data set."""
    parts = []
    for row in table:
        own = [r for r in rows if (r["system"], r["data"]) == (row["system"], row["data"]) and r["value"] is not None]
        best = min(own, key=lambda r: order(plan, r["value"]), default=None)
        shown = sorted((path / best["run"] / "samples").glob("*.png")) if best else []
        if best and shown:
            name = f"samples-{best['system']}-{''.join(c if c.isalnum() else '-' for c in Path(best['data']).stem)}.png"
            shutil.copyfile(shown[-1], path / name)
            label = f"{best['system']} on {best['data']}, seed {best['seed']}: {plan.measure} {number(best['value'])}"
            parts.append((name, label, best["run"]))
    return parts


def _protocols(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[str]:
    """Say how each measure was taken on each data set, once."""
    found: dict[str, None] = {}
    for row in rows:
        file = path / row["run"] / "trial.json"
        if row["state"] == "complete":
            kept = read_records(file, under="measures")
            found |= {f"{name}: {kept[name]['protocol']}": None for name in (plan.measure, *plan.also) if name in kept}
    return list(found) or ["nothing is measured yet"]
