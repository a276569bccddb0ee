"""Check what the lectures claim, and draw it."""

from __future__ import annotations

import json as jsonlib

import genzoo
from genzoo import lectures
from genzoo.cli.table import Command
from genzoo.cli.text import columns
from genzoo.core.errors import UserError
from genzoo.use.sample import Seed

COMMAND = Command(
    "what the lectures claim, checked numerically and drawn",
    "[parts=discriminator,fits,gradients out=theory]",
    place=61,
)


def theory(
    parts: tuple[lectures.Part, ...] = tuple(lectures.PARTS), out: str = "theory", seed: Seed = 0, json: bool = False
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
