"""Which rows of the results an expert accepts, by a rule: the figure beats every simple baseline by more than its error, and the picture shows it.

The figure is read from the record. What a person saw is kept in `seen.toml`, with the date of the record that was looked at: a proof that has
been run again has to be looked at again. Each entry has

* date: of the record;
* measure: the figure that the proof stands or falls with;
* against: simple baselines beside it, or other measures of the record; may be empty for an exact figure with a goal;
* shows, why: what the pictures show, in a few words;
* share: the figure is a share of N independent examples, whose binomial error follows from it;
* exact: why the figure has no error of sampling (a count of the same files, an identity): it is compared as it is.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

SEEN = Path(__file__).with_name("seen.toml")
RULE = (
    "its figure is better than that of every simple baseline (a Gaussian, a mixture, the mean image, the input unchanged, chance, a codec) by more "
    "than two of its standard errors (what is counted or computed exactly has none), its goal is met by as much where it stands alone, and somebody "
    "who opened its pictures found that they show what the system is for"
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
        ValueError: It does not say which way its measure is better.
    """
    if look is None:
        return "not judged", "nobody has judged it by this rule"
    if look["date"].isoformat() != record["date"]:
        return "not judged", f"it has been run again since it was looked at ({look['date']})"
    measures = {m["name"]: m for m in record["measures"]}
    m = measures[look["measure"]]
    error = 0.0 if "exact" in look else binomial_error(m) if look.get("share") else m.get("se")
    simple = m.get("baseline")
    beside = simple if isinstance(simple, dict) else {}
    rivals = {name: beside[name] if name in beside else measures[name]["value"] for name in look["against"]}
    if rivals and "better" not in m:
        raise ValueError(f"{record['name']}: {m['name']} does not say which way is better")
    if not rivals and m.get("verdict") != "met":
        return (
            "no",
            f"the goal of {m['name']} is not met"
            if "goal" in m
            else f"nothing stands beside {m['name']}; {look['why']}",
        )
    sign = -1 if m.get("better") == "higher" else 1
    if not rivals and error and sign * (m["value"] - m["goal"]) + 2 * error >= 0:
        return "no", f"{m['name']} meets its goal by less than two of its errors; {look['why']}"
    if lost := [k for k, v in rivals.items() if sign * (m["value"] - v) + 2 * (error or 0.0) >= 0]:
        return "no", f"{m['name']} is not better than that of {' and '.join(lost)}"
    if not look["shows"]:
        return "no", look["why"]
    if error is None:
        return "no", f"the error of {m['name']} was not kept; {look['why']}"
    return "yes", look["why"]


def binomial_error(measure: dict[str, Any]) -> float:
    """The standard error of a share of n examples, in its own unit; a share of all or of none has that of one example more of the other kind."""
    n, scale = measure["n"], 100.0 if measure.get("unit") == "%" else 1.0
    p = (measure["value"] / scale * n + 1) / (n + 2)
    return scale * float((p * (1 - p) / n) ** 0.5)
