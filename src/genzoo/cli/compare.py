"""Lay runs side by side."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Any, Literal

import genzoo
from genzoo.cli.table import Command
from genzoo.cli.text import columns, number

COMMAND = Command(
    "runs side by side: what compares is ranked, what does not says why",
    "RUN RUN ... [out=FOLDER]",
    place=51,
    many="runs",
)


def compare(
    runs: tuple[str, ...],
    split: Literal["", "train", "test", "all"] = "",
    out: str = "",
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Lay measures and pictures of runs side by side, and rank what can be ranked.

    Args:
        runs: Runs, exported folders, or samples that have been evaluated; two or more.
        split: Only what was measured on this part of the data: train, test or all.
        out: Folder of the page; compare, compare-2 ... when not given.
        overwrite: Write into that folder if it is there.
        json: Print JSON.
    """
    found = genzoo.compare(*runs, split=split or None, out=out or None, overwrite=overwrite)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return
    names = found["runs"]
    rows = [("measure", *names, "")]
    for row in found["rows"]:
        cells = [_cell(row["values"].get(name), name in row["best"], row["tie"]) for name in names]
        apart = "not comparable with the other rows of this measure" if row["reason"] else ""
        rows.append((row["measure"], *cells, "; ".join(filter(None, [apart, row["note"]]))))
    print(columns(rows))
    print("* best of its row" + (", (tie) not told from it" if any(r["tie"] for r in found["rows"]) else ""))
    for warning in found["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"wrote {found['page']}")


def _cell(value: dict[str, Any] | None, best: bool, tie: bool) -> str:
    if value is None:
        return "-"
    spread = f" ± {value['se']:.2g}" if value.get("se") is not None else ""
    return f"{number(value['value'])}{spread}" + ("* (tie)" if best and tie else "*" if best else "")
