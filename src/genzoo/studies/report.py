"""What a study has found: table.csv (the comparison), trials.csv (every run), drawings, and one static page."""

from __future__ import annotations

import csv
import fcntl
import html
import io
import json
import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.pictures import write_atomic
from genzoo.studies.plan import Plan
from genzoo.training.meters import read_log
from genzoo.use.figures import new_figure, save_figure


def write_report(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> None:
    """Write table.csv, trials.csv, the drawings and index.html, each whole; two workers take turns."""
    with open(path / ".making", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = summary(plan, rows)
        write_atomic(path / "table.csv", _csv(tuple(table[0]), table))
        write_atomic(path / "trials.csv", _csv(tuple(rows[0]), [_flat(row) for row in rows]))
        drawings = [save_figure(figure, path / f"{name}.png") for name, figure in _drawings(path, plan, rows)]
        write_atomic(path / "index.html", _page(path, plan, rows, table, drawings).encode())


def summary(plan: Plan, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each system and data set. It holds no times, so that the same study gives the same table.

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
            settings = next((r["settings"] for r in own if r["draw"] == best), {})
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
    """Mean and standard deviation of the best of `budget` draws with replacement: what a smaller search would have found.

    Lucic et al. (arXiv:1711.10337), section 5.1, by bootstrap.
    """
    drawn = np.random.default_rng(seed).choice(np.asarray(values), (repeats, budget))
    best = drawn.min(1) if lower else drawn.max(1)
    return float(best.mean()), float(best.std())


def _drawings(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    done = [r for r in rows if r["value"] is not None]
    figure, axes = new_figure(len(plan.data))
    for axis, data in zip(np.atleast_1d(axes), plan.data, strict=True):
        own = {s: [r["value"] for r in done if (r["system"], r["data"]) == (s, data)] for s in plan.systems}
        own = {s: v for s, v in own.items() if v}
        axis.boxplot(list(own.values()), tick_labels=list(own))
        axis.tick_params(axis="x", rotation=30)
        axis.set(title=data, ylabel=plan.measure)
    found = [("boxes", figure)]
    if plan.draws > 1:
        figure, axes = new_figure(len(plan.data))
        for axis, data in zip(np.atleast_1d(axes), plan.data, strict=True):
            for system in plan.systems:
                first = [
                    r["value"] for r in done if (r["system"], r["data"], r["seed"]) == (system, data, plan.seed_list[0])
                ]
                if first:
                    budgets = range(1, len(first) + 1)
                    curve = np.array([best_of(first, b, lower=plan.direction == "lower") for b in budgets])
                    axis.plot(budgets, curve[:, 0], label=system)
                    axis.fill_between(budgets, curve[:, 0] - curve[:, 1], curve[:, 0] + curve[:, 1], alpha=0.2)
            axis.set(title=f"{data}: best of so many draws", xlabel="draws of the settings", ylabel=plan.measure)
            if axis.lines:
                axis.legend(fontsize=7)
        found.append(("budget", figure))
    curves = {r["run"]: _measured(path / r["run"], plan.measure) for r in rows}
    if any(curves.values()):
        figure, axes = new_figure(2, len(plan.data))
        for pair, data in zip(np.atleast_2d(axes), plan.data, strict=True):
            for i, system in enumerate(plan.systems):
                own = [r for r in rows if (r["system"], r["data"]) == (system, data) and curves[r["run"]]]
                for k, r in enumerate(own):
                    steps, seconds, values = zip(*curves[r["run"]], strict=True)
                    batch = r["images"] / r["steps"]
                    label = None if k else system
                    pair[0].plot([step * batch for step in steps], values, color=f"C{i}", label=label)
                    pair[1].plot(seconds, values, color=f"C{i}")
            pair[0].set(title=data, xlabel="examples seen", ylabel=plan.measure)
            pair[1].set(title=data, xlabel="seconds", ylabel=plan.measure)
            if pair[0].lines:
                pair[0].legend(fontsize=7)
        found.append(("curves", figure))
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None where a value is missing or there is none."""
    found = list(values)
    return statistics.fmean(v for v in found if v is not None) if found and None not in found else None


def _measured(run: Path, measure: str) -> list[tuple[int, float, float]]:
    """(step, seconds, value) of a measure taken during training, where there is any."""
    return [(line["step"], line["seconds"], line[measure]) for line in read_log(run / "log.jsonl") if measure in line]


def _page(path: Path, plan: Plan, rows: list[dict[str, Any]], table: list[dict[str, Any]], drawings: list[Path]) -> str:
    def cells(kind: str, values: Any) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(_text(v))}</{kind}>" for v in values) + "</tr>"

    ranked = sorted(table, key=lambda r: (plan.data.index(r["data"]), _order(plan, r["mean of best draw"])))
    finished = sum(r["state"] in ("complete", "failed") for r in rows)
    parts = [
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<p>{html.escape(plan.measure)}, {plan.direction} is better; {finished} of {len(rows)} trials finished; {plan.samples:,} samples; "
        "settings in <a href='study.toml'>study.toml</a>, numbers in <a href='table.csv'>table.csv</a> and <a href='trials.csv'>trials.csv</a>. "
        "Protocol:</p>",
        "<ul>" + "".join(f"<li>{html.escape(p)}</li>" for p in _protocols(path, plan, rows)) + "</ul>",
        "<table>" + cells("th", table[0]) + "".join(cells("td", r.values()) for r in ranked) + "</table>",
        *(f"<p><img src='{d.name}' alt='{d.stem}'></p>" for d in drawings),
        "<h2>Samples of the best run of each</h2>",
    ]
    for row in ranked:
        own = [r for r in rows if (r["system"], r["data"]) == (row["system"], row["data"]) and r["value"] is not None]
        if own:
            best = min(own, key=lambda r: _order(plan, r["value"]))
            picture = _picture(path, best)
            label = f"{best['system']} on {best['data']}, seed {best['seed']}: {plan.measure} {_text(best['value'])}"
            image = f"<img src='{picture}' alt=''>" if picture else ""
            parts.append(
                f"<figure>{image}<figcaption><a href='{best['run']}'>{html.escape(label)}</a></figcaption></figure>"
            )
    failures = [r for r in rows if r["state"] == "failed"]
    if failures:
        parts.append("<h2>Failed</h2><table>" + cells("th", ("run", "why")))
        parts += [cells("td", (r["run"], r["why"])) for r in failures]
        parts.append("</table>")
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #ccc;padding:.2rem .6rem;text-align:left}img{max-width:100%}figure{display:inline-block;margin:.5rem}"
    )
    return (
        f"<!doctype html><meta charset='utf-8'><title>{html.escape(plan.name)}</title><style>{style}</style>"
        + "\n".join(parts)
        + "\n"
    )


def _picture(path: Path, row: dict[str, Any]) -> str:
    """A copy of a run's last picture of samples inside the study's folder, so that the page can be moved with it."""
    shown = sorted((path / row["run"] / "samples").glob("*.png"))
    if not shown:
        return ""
    name = f"samples-{row['system']}-{''.join(c if c.isalnum() else '-' for c in Path(row['data']).stem)}.png"
    shutil.copyfile(shown[-1], path / name)
    return name


def _protocols(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[str]:
    """How each measure was taken on each data set, once."""
    found: dict[str, None] = {}
    for row in rows:
        if row["state"] == "complete":
            kept = json.loads((path / row["run"] / "trial.json").read_text(encoding="utf-8"))["measures"]
            found |= {f"{name}: {kept[name]['protocol']}": None for name in (plan.measure, *plan.also) if name in kept}
    return list(found) or ["nothing is measured yet"]


def _order(plan: Plan, value: float | None) -> float:
    return float("inf") if value is None else value if plan.direction == "lower" else -value


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()}


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()
