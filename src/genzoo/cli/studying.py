"""The commands study and theory."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

from pydantic import Field

import genzoo
from genzoo import lectures as theories
from genzoo.cli.text import columns, number
from genzoo.core.errors import UserError
from genzoo.use.sample import Seed


def study(
    file: str,
    out: str = "",
    limit: Annotated[int, Field(ge=1)] | None = None,
    retry: bool = False,
    quiet: bool = False,
) -> None:
    """Work on a study until nothing is left to do, and write its page.

    Args:
        file: The study's TOML file, or the folder of a study that was begun.
        out: Folder of the study; studies/NAME when not given.
        limit: Trials that this worker finishes at most.
        retry: Begin those anew that failed before.
        quiet: Show no progress.
    """
    found = genzoo.study(file, out=out or None, limit=limit, retry=retry, quiet=quiet)
    states = [row["state"] for row in found.rows]
    open_ = len(states) - states.count("complete") - states.count("failed")
    held = f", {open_} open (other workers have them, or a later start)" if open_ else ""
    print(f"{states.count('complete')} of {len(states)} trials finished, {states.count('failed')} failed{held}\n")
    plan = found.plan
    for data in plan.data:
        print(f"{data}: {plan.measure}, {plan.direction} is better")
        told = [("", "mean of best draw", "sd over its seeds", "best", "median", "worst", "steps", "finished")]
        for r in (r for r in found.table if r["data"] == data):
            words = [r[key] for key in told[0][1:-1]]
            told.append((r["system"], *map(number, words), f"{r['trials']} of {r['draws'] * r['seeds']}"))
        print(columns(told) + "\n")
    print(f"page: {found.path / 'index.html'}, table: {found.path / 'table.csv'}")


def theory(
    parts: tuple[theories.Part, ...] = tuple(theories.PARTS), out: str = "theory", seed: Seed = 0, json: bool = False
) -> None:
    """Check what the lectures claim, numerically, and draw it.

    Args:
        parts: discriminator, fits, gradients, oscillation, or several with commas.
        out: Folder of the pictures; those of an earlier call are replaced.
        seed: Seed of what is drawn at random.
        json: Print JSON.
    """
    found = genzoo.theory(out, parts=parts, seed=seed)
    if json:
        told = {part: [{**vars(c), "holds": c.holds} for c in checks] for part, checks in found["checks"].items()}
        print(jsonlib.dumps({"checks": told, "pictures": found["pictures"]}, indent=2))
    for part, checks in () if json else found["checks"].items():
        print(f"{part}: {found['pictures'][part]}")
        print(
            columns(
                ("holds" if c.holds else "FAILS", c.claim, f"{c.formula:.6g}", f"{c.found:.6g}", c.how) for c in checks
            )
        )
    failed = [c.claim for checks in found["checks"].values() for c in checks if not c.holds]
    if failed:
        raise UserError(f"{len(failed)} of the checks failed: {'; '.join(failed)}")
