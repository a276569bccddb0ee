"""Which rows of the results an expert accepts, by a rule: the figure beats every simple baseline by more than its error, and the picture shows it.

The figure is read from the record. What a person saw is kept in `seen.toml`, with the date of the record that was looked at: a proof that has
been run again has to be looked at again.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

SEEN = Path(__file__).with_name("seen.toml")
RULE = (
    "its figure is better than that of every simple baseline (a Gaussian, a mixture, the mean image, the input unchanged, chance, a codec) by more "
    "than two of its standard errors, and somebody who opened its pictures found that they show what the system is for"
)


def seen(path: Path = SEEN) -> dict[str, dict[str, Any]]:
    """Read what was seen of each proof: date (of its record), measure, against (the simple baselines beside it), shows, why."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def accepted(record: dict[str, Any], look: dict[str, Any] | None) -> tuple[str, str]:
    """Judge one record.

    Args:
        record: Of a proof.
        look: Its entry in `seen.toml`; None without one.

    Returns:
        yes, no or not judged; and why, in a few words.

    Raises:
        KeyError: The record has no such measure or baseline: the entry is out of date.
    """
    if look is None:
        return "not judged", "nobody has judged it by this rule"
    if look["date"].isoformat() != record["date"]:
        return "not judged", f"it has been run again since it was looked at ({look['date']})"
    measures = {m["name"]: m for m in record["measures"]}
    m = measures[look["measure"]]
    sign = 1 if m["better"] == "lower" else -1
    rivals = {name: m["baseline"][name] for name in look["against"]}
    if lost := [k for k, v in rivals.items() if sign * (m["value"] - v) + 2 * m.get("se", 0.0) >= 0]:
        return "no", f"{m['name']} is not better than that of {' and '.join(lost)}"
    if not look["shows"]:
        return "no", look["why"]
    if "se" not in m:
        return "no", f"the error of {m['name']} was not kept; {look['why']}"
    return "yes", look["why"]
