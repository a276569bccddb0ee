"""The page of a study: one static file that sorts its own tables, to be opened from the disk and sent to anybody with its folder."""

from __future__ import annotations

import datetime
import html
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genzoo.metrics.records import read_records
from genzoo.runs.meters import clock
from genzoo.studies.plan import Plan

CAPTIONS = {
    "boxes": "Every finished trial (points), with quartiles over draws and seeds.",
    "budget": "What the best of so many draws would have been, by bootstrap: mean and standard deviation (arXiv:1711.10337, section 5.1).",
    "settings": "Every finished trial over each searched setting.",
    "curves": "The measure while training, one line for each trial; its protocol is that of the training (measure_n), not of the table.",
}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#222}h1,h2{line-height:1.2}h2{margin-top:2.5rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}.wide{overflow-x:auto;max-height:40rem;overflow-y:auto}
td,th{border-bottom:1px solid #ddd;padding:.2rem .7rem;text-align:left;white-space:nowrap}th{cursor:pointer;background:#f6f6f6;position:sticky;top:0}
th:after{content:" \\2195";color:#bbb}tr.first td{font-weight:600}td.why{white-space:normal;min-width:20rem}img{max-width:100%}
figure{margin:1rem 1rem 1rem 0;display:inline-block;vertical-align:top}figure.half{max-width:24rem}figcaption{color:#555;font-size:90%}
progress{width:16rem;vertical-align:middle}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}th{background:#262626}td,th{border-color:#3a3a3a}a{color:#8bf}figcaption{color:#aaa}}
"""
SCRIPT = """
document.querySelectorAll("th").forEach(h => h.onclick = () => {
  const body = h.closest("table").tBodies[0], i = h.cellIndex, up = h.dataset.up = h.dataset.up === "1" ? "0" : "1"
  const key = r => { const t = r.cells[i].dataset.v ?? r.cells[i].textContent; return t === "" ? null : isNaN(t) ? t : +t }
  const rows = [...body.rows].map(r => [key(r), r])
  rows.sort(([a], [b]) => a === null ? 1 : b === null ? -1 : (a < b ? -1 : a > b ? 1 : 0) * (up === "1" ? 1 : -1))
  rows.forEach(([, r]) => body.append(r))
})
"""


def page(
    path: Path, plan: Plan, rows: list[dict[str, Any]], table: list[dict[str, Any]], drawings: Iterable[Path]
) -> str:
    """Write the report of a study as HTML.

    Args:
        path: The study's folder; pictures of samples are copied into it, so that the page can be moved with it.
        plan: What it compares.
        rows: One dictionary for each trial.
        table: One for each system and data set, the best first.
        drawings: Charts in the folder.
    """
    states = [r["state"] for r in rows]
    done, failed, begun = (
        sum(s in ("complete", "failed") for s in states),
        states.count("failed"),
        states.count("running"),
    )
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<p><progress value={done} max={len(rows)}></progress> {done} of {len(rows)} trials finished"
        + (f", {failed} failed" if failed else "")
        + (f", {begun} begun" if begun else "")
        + f"; {now}. Numbers: <a href='table.csv'>table.csv</a>, <a href='trials.csv'>trials.csv</a>; plan: <a href='study.toml'>study.toml</a>.</p>",
        f"<p>{html.escape(plan.measure)}: {plan.direction} is better; {plan.samples:,} samples of each trial. "
        "The best draw of a system is that with the best mean over its seeds. A click on a column sorts by it.</p>",
    ]
    for data in plan.data:
        parts += [f"<h2>{html.escape(data)}</h2>", _comparison(plan, [r for r in table if r["data"] == data], rows)]
    parts += [
        f"<figure><img src='{d.name}' alt='{d.stem}'><figcaption>{html.escape(CAPTIONS.get(d.stem, ''))}</figcaption></figure>" for d in drawings
    ]  # fmt: skip
    parts += ["<h2>Samples of the best trial of each</h2>", *_samples(path, plan, rows, table)]
    parts += ["<h2>Trials</h2>", _trials(path, plan, rows)]
    parts += ["<h2>Protocol</h2><ul>", *(f"<li>{html.escape(p)}</li>" for p in _protocols(path, plan, rows)), "</ul>"]
    fresh = "" if done == len(rows) else "<meta http-equiv='refresh' content='60'>"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'>{fresh}<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(plan.name)}</title><style>{STYLE}</style>\n"
        + "\n".join(parts)
        + f"\n<script>{SCRIPT}</script></html>\n"
    )


def order(plan: Plan, value: float | None) -> float:
    """Return a value as a key of sorting: the better, the smaller."""
    return float("inf") if value is None else value if plan.direction == "lower" else -value


def _comparison(plan: Plan, table: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """Write the table of the systems on one data set, the best first."""
    also = [f"{name} of best draw" for name in plan.also]
    header = [
        "system", "mean of best draw", "sd over its seeds", "best", "median", "worst", "trials", "failed", "steps", "examples seen",
        "time of a trial", *also, "settings of best draw",
    ]  # fmt: skip
    lines = []
    for i, row in enumerate(table):
        own = [r for r in rows if (r["system"], r["data"], r["state"]) == (row["system"], row["data"], "complete")]
        seconds = [r["seconds"] for r in own if r["seconds"] is not None]  # a run may have been removed since
        mean = sum(seconds) / len(seconds) if seconds else None
        cells = {**row, "trials": f"{row['trials']} of {row['draws'] * row['seeds']}", "time of a trial": mean}
        best = i == 0 and row["mean of best draw"] is not None
        shown = [_cell(cells[k], clock(mean) if k == "time of a trial" and mean is not None else None) for k in header]
        lines.append(f"<tr{' class=first' if best else ''}>{''.join(shown)}</tr>")
    return _table(header, lines)


def _trials(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> str:
    """Every trial, those with a value first, the best of them on top."""
    searched = list(dict.fromkeys(key for system in plan.systems for key in plan.ranges(system)))
    failed = any(r["state"] == "failed" for r in rows)
    header = ["run", "system", "data", "draw", "seed", *searched, "state", plan.measure, *plan.also, "steps", "time"]
    header += ["why"] if failed else []
    lines = []
    for r in sorted(rows, key=lambda r: order(plan, r["value"])):
        name = html.escape(Path(r["run"]).name)
        shown = next(
            (f"{r['run']}/{p}" for p in ("evaluation.html", "README.md") if (path / r["run"] / p).exists()), r["run"]
        )
        run = f"<a href='{html.escape(shown)}'>{name}</a>" if (path / r["run"]).exists() else name
        cells = [
            f"<td>{run}</td>",
            *(_cell(r[k]) for k in ("system", "data", "draw", "seed")),
            *(_cell(r["settings"].get(k)) for k in searched),
        ]
        cells += [
            _cell(r["state"]),
            _cell(r["value"]),
            *(_cell(r["also"].get(name)) for name in plan.also),
            _cell(r["steps"]),
        ]
        cells.append(_cell(r["seconds"], None if r["seconds"] is None else clock(r["seconds"])))
        cells += [f"<td class=why>{html.escape(r['why'])}</td>"] if failed else []
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return _table(header, lines)


def _samples(path: Path, plan: Plan, rows: list[dict[str, Any]], table: list[dict[str, Any]]) -> list[str]:
    """Copy the last picture of samples of the best trial of each system on each data set."""
    parts = []
    for row in table:
        own = [r for r in rows if (r["system"], r["data"]) == (row["system"], row["data"]) and r["value"] is not None]
        best = min(own, key=lambda r: order(plan, r["value"]), default=None)
        shown = sorted((path / best["run"] / "samples").glob("*.png")) if best else []
        if best and shown:
            name = f"samples-{best['system']}-{''.join(c if c.isalnum() else '-' for c in Path(best['data']).stem)}.png"
            shutil.copyfile(shown[-1], path / name)
            label = html.escape(
                f"{best['system']} on {best['data']}, seed {best['seed']}: {plan.measure} {_text(best['value'])}"
            )
            link = f"<a href='{html.escape(best['run'])}'>{label}</a>"
            parts.append(f"<figure class=half><img src='{name}' alt='samples'><figcaption>{link}</figcaption></figure>")
    return parts


def _protocols(path: Path, plan: Plan, rows: list[dict[str, Any]]) -> list[str]:
    """How each measure was taken on each data set, once."""
    found: dict[str, None] = {}
    for row in rows:
        file = path / row["run"] / "trial.json"
        if row["state"] == "complete":
            kept = read_records(file, under="measures")
            found |= {f"{name}: {kept[name]['protocol']}": None for name in (plan.measure, *plan.also) if name in kept}
    return list(found) or ["nothing is measured yet"]


def _table(header: Sequence[str], lines: Iterable[str]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _cell(value: Any, shown: str | None = None) -> str:
    number = f" data-v='{value!r}'" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
    return f"<td{number}>{html.escape(shown if shown is not None else _text(value))}</td>"


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
