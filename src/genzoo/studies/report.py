"""What a study has found: table.csv (the comparison), trials.csv (every run), drawings; the page of all of it is in `page`."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.files import write_atomic
from genzoo.data.locks import locked
from genzoo.runs.meters import read_log
from genzoo.studies.page import order, write_study_page
from genzoo.studies.plan import Plan
from genzoo.use.pages.figures import new_figure, save_figure


def write_report(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> None:
    """Write table.csv, trials.csv, the drawings and index.html, each whole; two workers take turns."""
    with locked(path / ".making"):
        table = summary(plan, rows)
        write_atomic(path / "table.csv", _csv(tuple(table[0]), table))
        write_atomic(path / "trials.csv", _csv(tuple(rows[0]), [_flat(row) for row in rows]))
        drawings = [save_figure(figure, path / f"{name}.png") for name, figure in _drawings(path, plan, rows)]
        write_study_page(path, plan, rows, ranked(plan, table), drawings)


def summary(plan: Plan, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Summarize each system and data set in a row. It holds no times, so that the same study gives the same table.

    The best draw of the settings is the one with the best mean over its seeds; a draw with a failed seed cannot be best.
    """
    found = []
    for system in plan.systems:
        for data in plan.data:
            own = [r for r in rows if (r["system"], r["data"]) == (system, data)]
            values = [r["value"] for r in own if r["value"] is not None]
            by_draw = {d: [r["value"] for r in own if r["draw"] == d] for d in dict.fromkeys(r["draw"] for r in own)}
            whole = {d: v for d, v in by_draw.items() if None not in v}
            pick = min if plan.direction == "lower" else max
            other = max if plan.direction == "lower" else min
            best = pick(whole, key=lambda d: statistics.fmean(whole[d])) if whole else None
            settings: dict[str, Any] = next((r["settings"] for r in own if r["draw"] == best), {})
            searched = {k: settings[k] for k in plan.ranges(system)} if best is not None else {}
            found.append(
                {
                    "system": system,
                    "data": data,
                    "trials": len(values),
                    "failed": sum(r["state"] == "failed" for r in own),
                    "draws": len(by_draw),
                    "seeds": len(plan.seed_list),
                    "best": pick(values) if values else None,
                    "mean of best draw": statistics.fmean(whole[best]) if best is not None else None,
                    "sd over its seeds": statistics.stdev(whole[best])
                    if best is not None and len(whole[best]) > 1
                    else None,
                    "median": statistics.median(values) if values else None,
                    "worst": other(values) if values else None,
                    "settings of best draw": json.dumps(searched) if searched else "",
                    "steps": max((r["steps"] or 0 for r in own), default=0),
                    "examples seen": max((r["images"] or 0 for r in own), default=0),
                    **{
                        f"{name} of best draw": _mean(r["also"].get(name) for r in own if r["draw"] == best)
                        for name in plan.also
                    },
                }
            )
    return found


def best_of(
    values: list[float], budget: int, *, lower: bool, repeats: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Compute mean and standard deviation of the best of `budget` draws with replacement: what a smaller search would have found.

    Lucic et al. (arXiv:1711.10337), section 5.1, by bootstrap.
    """
    drawn = np.random.default_rng(seed).choice(np.asarray(values), (repeats, budget))
    best = drawn.min(1) if lower else drawn.max(1)
    return float(best.mean()), float(best.std())


def ranked(plan: Plan, table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort the rows of the summary, data set by data set, the best first."""
    return sorted(table, key=lambda r: (plan.data.index(r["data"]), order(plan, r["mean of best draw"])))


def _drawings(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    done = [r for r in rows if r["value"] is not None]
    return [*_boxes(plan, done), *_budget(plan, done), *_slices(plan, done), *_curves(path, plan, rows)]


def _boxes(plan: Plan, done: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Draw every finished trial as a point, and boxes behind them."""
    if not done:
        return []
    figure, axes = new_figure(len(plan.data))
    for axis, data in zip(np.atleast_1d(axes), plan.data, strict=True):
        own = {s: [r["value"] for r in done if (r["system"], r["data"]) == (s, data)] for s in plan.systems}
        own = {s: v for s, v in own.items() if v}
        if own:
            axis.boxplot(list(own.values()), tick_labels=list(own), showfliers=False, medianprops={"color": "black"})
        for place, values in enumerate(own.values(), 1):
            axis.scatter(
                np.full(len(values), place), values, s=14, alpha=0.5, color=f"C{_colour(plan, list(own)[place - 1])}"
            )
        axis.tick_params(axis="x", rotation=40)
        _scaled(axis, [v for values in own.values() for v in values])
        axis.set(title=data, ylabel=f"{plan.measure} ({plan.direction} is better)")
    return [("boxes", figure)]


def _budget(plan: Plan, done: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Draw what the best of fewer draws of the settings would have reached, over their number."""
    if plan.draws == 1 or not done:
        return []
    figure, axes = new_figure(len(plan.data))
    for axis, data in zip(np.atleast_1d(axes), plan.data, strict=True):
        for system in plan.systems:
            same = (system, data, plan.seed_list[0])
            first = [r["value"] for r in done if (r["system"], r["data"], r["seed"]) == same]
            if first:
                budgets, colour = range(1, len(first) + 1), f"C{_colour(plan, system)}"
                curve = np.array([best_of(first, b, lower=plan.direction == "lower") for b in budgets])
                axis.plot(budgets, curve[:, 0], label=system, color=colour)
                axis.fill_between(
                    budgets, curve[:, 0] - curve[:, 1], curve[:, 0] + curve[:, 1], alpha=0.2, color=colour
                )
        axis.set(title=f"{data}: best of so many draws", xlabel="draws of the settings", ylabel=plan.measure)
        if axis.lines:
            axis.legend(fontsize=7)
    return [("budget", figure)]


def _slices(plan: Plan, done: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Draw the measure over each searched setting: which of them matter, and where the good values lie."""
    ranges = {system: plan.ranges(system) for system in plan.systems}
    keys = list(dict.fromkeys(key for of in ranges.values() for key in of))
    if not keys or not done:
        return []
    figure, axes = new_figure(len(keys), len(plan.data))
    for line, data in zip(np.reshape(axes, (len(plan.data), len(keys))), plan.data, strict=True):
        for axis, key in zip(line, keys, strict=True):
            shown = []
            for system in (s for s in plan.systems if key in ranges[s]):
                own = [r for r in done if (r["system"], r["data"]) == (system, data)]
                if not own:  # yet: a logarithmic axis with nothing on it cannot be drawn
                    continue
                at = [r["settings"][key] for r in own]
                if hasattr(ranges[system][key], "choices"):
                    at = [str(value) for value in at]
                elif getattr(ranges[system][key], "log", False):
                    axis.set_xscale("log")
                axis.scatter(at, [r["value"] for r in own], s=14, label=system, color=f"C{_colour(plan, system)}")
                shown += [r["value"] for r in own]
            _scaled(axis, shown)
            axis.set(title=data, xlabel=key, ylabel=plan.measure)
            if shown:
                axis.legend(fontsize=7)
    return [("settings", figure)]


def _curves(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Draw the measure while training, over examples seen and over seconds."""
    curves = {r["run"]: _measured(path / r["run"], plan.measure) for r in rows}
    if not any(curves.values()):
        return []
    figure, axes = new_figure(2, len(plan.data))
    for pair, data in zip(np.atleast_2d(axes), plan.data, strict=True):
        for system in plan.systems:
            own = [r for r in rows if (r["system"], r["data"]) == (system, data) and curves[r["run"]]]
            for k, r in enumerate(own):
                steps, seconds, values = zip(*curves[r["run"]], strict=True)
                batch, colour = r["images"] / r["steps"], f"C{_colour(plan, system)}"
                pair[0].plot(
                    [step * batch for step in steps], values, color=colour, label=None if k else system, marker="."
                )
                pair[1].plot(seconds, values, color=colour, marker=".")
        for axis, label in zip(pair, ("examples seen", "seconds of training"), strict=True):
            _scaled(axis, [v for line in axis.lines for v in line.get_ydata()])
            axis.set(title=data, xlabel=label, ylabel=plan.measure)
        if pair[0].lines:
            pair[0].legend(fontsize=7)
    return [("curves", figure)]


def _colour(plan: Plan, system: str) -> int:
    return plan.systems.index(system)


def _scaled(axis: Any, values: list[float]) -> None:
    """Make an axis logarithmic where values differ so much that the good ones would lie on each other."""
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axis.set_yscale("log")


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean, or None where a value is missing or there is none."""
    found = list(values)
    return statistics.fmean(v for v in found if v is not None) if found and None not in found else None


def _measured(run: Path, measure: str) -> list[tuple[int, float, float]]:
    """Read (step, seconds, value) of a measure taken during training, where there is any."""
    return [(line["step"], line["seconds"], line[measure]) for line in read_log(run / "log.jsonl") if measure in line]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()}


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()
