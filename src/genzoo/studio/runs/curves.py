"""The numbers of a log as curves: few enough points to send and draw, and no spike lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.runs.history import History
from genzoo.text.documents import is_number

MOST = 600
"""Points of a curve."""
ASIDE = ("step", "seconds", "lr", "skipped", "measured_in")
"""Keys of a log line that are no curve of their own."""
Point = tuple[int, float]


def thinned(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """Keep at most `most` points of a curve: the least and the greatest of each equal part, so that a spike stays, and both ends.

    >>> thinned([(0, 1.0), (1, 9.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 0.0), (6, 1.0), (7, 1.0)], 4)
    [(0, 1.0), (1, 9.0), (5, 0.0), (7, 1.0)]
    """
    if len(points) <= most:
        return list(points)
    parts = max(1, (most - 2) // 2)
    inner = points[1:-1]
    kept = [points[0]]
    for i in range(parts):
        part = inner[len(inner) * i // parts : len(inner) * (i + 1) // parts]
        if part:
            kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return [*kept, points[-1]]


def curves(log: Sequence[Mapping[str, Any]], history: History) -> list[dict[str, Any]]:
    """Gather the curves of a log: those that a measurement has first, then losses, then other meters and the learning rate.

    Args:
        log: Lines of a run's log.
        history: Measurements taken while training: they say which way is better.

    Returns:
        name, kind (measure, loss, meter, rate), better, points (at most `MOST`), all (how many there were).
    """
    better = {k: v["better"] for h in history for k, v in h["values"].items()}
    found: dict[str, list[Point]] = {}
    for line in log:
        for key, value in line.items():
            if key not in ("step", "seconds", "measured_in") and is_number(value):
                found.setdefault(key, []).append((line["step"], float(value)))
    laid = [
        {
            "name": key,
            "kind": _kind(key, better),
            "better": better.get(key, ""),
            "points": thinned(points),
            "all": len(points),
        }
        for key, points in found.items()
    ]
    order = ("measure", "loss", "meter", "rate")
    return sorted(laid, key=lambda c: order.index(c["kind"]))


def _kind(key: str, better: Mapping[str, str]) -> str:
    if key in better:
        return "measure"
    if key in ASIDE:
        return "rate"
    return "loss" if "loss" in key else "meter"
