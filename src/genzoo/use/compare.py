"""Runs side by side: measures that compare are ranked with their intervals, others are told apart with the reason."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

from genzoo.core.errors import UserError
from genzoo.metrics.measure import protocol
from genzoo.metrics.records import NORMAL_95, read_records, span
from genzoo.use.common.outputs import free
from genzoo.use.common.sample_sets import Split, evaluation_of, is_given
from genzoo.use.common.source import Source, place_of, run_path
from genzoo.use.pages.page import write_page

PROTOCOL = {
    "data": "data",
    "split": "split",
    "data_digest": "images of the data",
    "binarize": "binarization",
    "n_fake": "number of samples",
    "n_real": "number of real images",
    "n": "number of examples",
    "extractor": "feature network",
    "digest": "weights of the feature network",
    "resize": "resizer",
    "quantization": "quantization",
    "drawn": "kind of samples",
    "precision": "precision of the system's networks",
    **protocol(),
}
"""What two records must share to be ranked, and how each is called; of single measures their files say it."""
LEVEL = 0.01
"""The chance that a comparison calls anything better where all differences are chance, over all its rows and pairs of runs together."""

TEMPLATE = Path(__file__).parent / "pages" / "comparison.html.j2"


@dataclass
class Row:
    """Values of one measure under one protocol.

    Args:
        measure: Its name.
        records: By run.
        best: Runs that are best, or not told from the best; empty where nothing is ranked. A single one is better than every other.
        tie: Whether they are told apart by nothing but chance.
        reason: Why it does not compare with other rows of this measure; empty where there is no other.
        note: What else is to be known of the ranking.
    """

    measure: str
    records: dict[str, dict[str, Any]]
    best: list[str] = field(default_factory=list)
    tie: bool = False
    reason: str = ""
    note: str = ""

    @property
    def pairs(self) -> int:
        """How many differences are judged in it."""
        return math.comb(len(self.records), 2) if self.best else 0


def compare(
    *sources: Source, split: Split | None = None, out: str | Path | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Lay the measures and sample pictures of runs side by side, and write them as one static page.

    Args:
        sources: Runs, their paths, exports, or samples (folders, array files) that have been evaluated; two or more.
        split: Only what was measured on this part of the data: train, test or all.
        out: Folder of the page; compare, compare-2 ... in the working folder when not given.
        overwrite: Write into that folder if it is there.

    Returns:
        runs: names; rows: measure, values by run (value, se, n), best, tie, reason, note; warnings: sentences; page.

    Raises:
        UserError: Fewer than two sources, one that is neither a run nor evaluated samples, or none that has been evaluated.
    """
    if len(sources) < 2:
        raise UserError("compare takes two or more runs: genzoo compare runs/a runs/b")
    folders = _folders(sources)
    kept = {
        name: [r for r in _metrics(path) if split is None or r.get("split") == split] for name, path in folders.items()
    }
    measures = list(dict.fromkeys(r["measure"] for records in kept.values() for r in records))
    by_measure = {m: {n: [r for r in rs if r["measure"] == m] for n, rs in kept.items()} for m in measures}
    pairs = sum(row.pairs for m, records in by_measure.items() for row in rank(m, records))
    table = [row for m, records in by_measure.items() for row in rank(m, records, pairs=pairs)]
    warnings = [
        f"{name} has no measures{f' on split={split}' if split else ' yet'}: genzoo evaluate {folders[name]}{f' split={split}' if split else ''}"
        for name, records in kept.items()
        if not records
    ]
    if not table:
        raise UserError("compare: there is nothing to compare; " + "; ".join(warnings))
    reasons = {
        row.reason: list(dict.fromkeys(r.measure for r in table if r.reason == row.reason))
        for row in table
        if row.reason
    }
    warnings += [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    folder = free(Path(out or "compare").expanduser(), overwrite=overwrite)
    written = _write(folder, folders, table, warnings)
    return {
        "runs": list(folders),
        "rows": [
            {
                "measure": row.measure,
                "values": {n: {k: r.get(k) for k in ("value", "se", "unit", "n")} for n, r in row.records.items()},
                "best": row.best, "tie": row.tie, "reason": row.reason, "note": row.note,
            }
            for row in table
        ],
        "warnings": warnings,
        "page": str(written),
    }  # fmt: skip


def rank(measure: str, records: Mapping[str, Sequence[dict[str, Any]]], *, pairs: int | None = None) -> list[Row]:
    """Group the records of one measure by protocol, and mark the best of each group of two or more.

    A run is worse than the best where chance explains their difference with a probability of less than `LEVEL` / `pairs` (Bonferroni).

    Args:
        measure: Its name.
        records: By run; a run may hold the measure on several data.
        pairs: Differences that are judged at the same time; those of a row when not given.

    Returns:
        One row for each protocol.
    """
    groups: list[tuple[dict[str, Any], dict[str, dict[str, Any]]]] = []
    for run, found in records.items():
        for record in found:
            shared = {k: _plain(record.get(k)) for k in PROTOCOL}
            home = next((g for p, g in groups if p == shared and run not in g), None)
            if home is None:
                groups.append((shared, {run: record}))
            else:
                home[run] = record
    reason = _difference([p for p, _ in groups]) if len(groups) > 1 else ""
    return [_ranked(measure, group, reason, pairs) for _, group in groups]


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value


def _difference(protocols: Sequence[Mapping[str, Any]]) -> str:
    """Say what keeps groups of records apart: the first two things that differ."""
    told: list[str] = []
    for key, name in PROTOCOL.items():
        values = list(dict.fromkeys(p[key] for p in protocols))
        if len(values) > 1 and not (key == "n" and {p["n_fake"] for p in protocols} != {None} and told):
            told.append(f"different {name} ({' / '.join(_short(v, key) for v in values[:4])})")
    return "not comparable: " + ", ".join(told[:3])


def _short(value: Any, key: str) -> str:
    if value is None:
        return "full" if key == "precision" else "not said"
    if key in ("data_digest", "digest"):
        return f"{str(value)[:8]}…"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ranked(measure: str, group: dict[str, dict[str, Any]], reason: str, pairs: int | None) -> Row:
    row = Row(measure, group, reason=reason)
    directions = {r.get("better") for r in group.values()}
    values = {name: r["value"] for name, r in group.items() if r.get("value") is not None}
    if len(values) < 2:
        return row
    if directions - {"lower", "higher"} or len(directions) != 1:
        row.note = "not ranked: neither end is best"
        return row
    sign = 1 if directions == {"lower"} else -1
    spans = {name: span(group[name]) for name in values}
    if any(s is None for s in spans.values()):
        row.note = "not ranked: without a standard error differences may be chance"
        return row
    first = min(values, key=lambda name: sign * values[name])
    row.best = [first]
    reach = NormalDist().inv_cdf(1 - LEVEL / (2 * (pairs or math.comb(len(values), 2)))) / NORMAL_95
    row.best += [name for name in values if name != first and not _differ(group[first], group[name], reach)]
    row.tie = len(row.best) > 1
    return row


def _differ(a: Mapping[str, Any], b: Mapping[str, Any], reach: float) -> bool:
    """Tell whether two values differ by more than chance: the sides of their intervals that face each other, as errors of a difference.

    Args:
        a: A record with an interval or an error.
        b: Another.
        reach: How many times its half of an interval of 95 per cent counts.
    """
    (below, low), (above, high) = sorted(((r["value"], span(r)) for r in (a, b)), key=lambda pair: pair[0])
    assert low is not None
    assert high is not None
    return bool(above - below > reach * math.hypot(low[1] - below, above - high[0]))  # Zou and Donner 2008


# ---- where things are ----------------------------------------------------------------------------------------------------------------


def _folders(sources: Sequence[Source]) -> dict[str, Path]:
    """Find the folder of every source, under a name that no other has."""
    found: dict[str, Path] = {}
    for source in sources:
        path = place_of(source) if not hasattr(source, "hparams") else None
        if path is None:
            raise UserError("compare reads what is kept of runs; a system in memory keeps nothing")
        if is_given(path):
            place = evaluation_of(path)
            if not (place / "metrics.json").exists():
                raise UserError(f"'{path}' has not been evaluated: genzoo evaluate {path} data=...")
        elif (path / "metrics.json").exists():
            place = path
        else:
            place = run_path(source) or path
        # best/ and model/ of a run go by the run's name as well.
        plain_name = f"{path.parent.name}/{path.name}" if path.name in ("best", "model") else path.name
        name, k = plain_name, 2
        while name in found:
            name, k = f"{path.parent.name}/{plain_name}" if k == 2 else f"{plain_name} ({k})", k + 1
        found[name] = place
    return found


def _metrics(folder: Path) -> list[dict[str, Any]]:
    # Records of the first version had their measure in the key alone: "NLL on mnist test".
    return [
        {"measure": key.split(" on ")[0], **record} for key, record in read_records(folder / "metrics.json").items()
    ]


# ---- the page ------------------------------------------------------------------------------------------------------------------------


def _write(folder: Path, folders: Mapping[str, Path], table: Sequence[Row], warnings: Sequence[str]) -> Path:
    """Write the page, with a copy of one picture of every run that has any."""
    pictures = {}
    for i, (name, path) in enumerate(folders.items()):
        picture = _picture(path)
        pictures[name] = f"{i:02d}.png" if picture else ""
        if picture:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, folder / pictures[name])
    return write_page(
        folder / "index.html", TEMPLATE, title="Comparison of " + ", ".join(folders), warnings=warnings, table=table,
        pictures=pictures, level=f"{LEVEL:.0%}",
    )  # fmt: skip


def _picture(folder: Path) -> Path | None:
    drawn = folder / "outputs" / "evaluate.png"
    if drawn.exists():
        return drawn
    return max((folder / "samples").glob("step_*.png"), default=None)
