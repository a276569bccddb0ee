"""The measurements that were taken of a run while it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genzoo.text.documents import is_number

History = list[dict[str, Any]]
"""One entry for each measurement: step, and values: name -> {value, se, better, floor}. No times: it is compared bit for bit."""


def history_of(kept: Any) -> History:
    """Check the history that a checkpoint holds.

    Raises:
        ValueError: It is none.
    """
    for entry in kept:
        good = isinstance(entry["step"], int) and isinstance(entry["values"], dict)
        for value in entry["values"].values() if good else ():
            numbers = [value["value"], value["se"]]
            good &= isinstance(value["better"], str) and all(v is None or is_number(v) for v in numbers)
        if not good:
            raise ValueError("no measurement")
    return list(kept)


@dataclass(frozen=True)
class Best:
    """Names the best measurement of a run so far.

    Args:
        step: When.
        measure: By what.
        value: Its value.
        se: Its standard error, where there is one.
    """

    step: int
    measure: str
    value: float
    se: float | None


def best_of(history: History) -> Best | None:
    """Find the earliest of the best values of the first measure that has a better end."""
    lead = next((k for h in history for k, v in h["values"].items() if v["better"]), None)
    points = [(h["step"], h["values"][lead]) for h in history if lead in h["values"]] if lead else []
    points = [(s, v) for s, v in points if v["value"] is not None]
    if not points or lead is None:
        return None
    sign = 1 if points[0][1]["better"] == "lower" else -1
    step, v = min(points, key=lambda p: (sign * p[1]["value"], p[0]))
    return Best(step, lead, v["value"], v["se"])
