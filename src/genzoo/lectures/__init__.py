"""The theory of the lectures, checked numerically and drawn: what `genzoo theory` does.

Each part computes the same quantity twice, once from the formula and once by the optimization or the losses that training uses, and
says how far apart the two are. A part returns checks and draws one picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from genzoo.lectures import discriminator, fits, gradients, oscillation
from genzoo.lectures.check import Check
from genzoo.use.pages.figures import save_figure

__all__ = ["PARTS", "Check", "Part", "theory"]

Part = Literal["discriminator", "fits", "gradients", "oscillation"]

PARTS: dict[Part, Callable[[int], tuple[list[Check], Any]]] = {
    "discriminator": discriminator.study,
    "fits": fits.study,
    "gradients": gradients.study,
    "oscillation": oscillation.study,
}
assert tuple(PARTS) == get_args(Part)


def theory(out: str | Path = "theory", parts: tuple[Part, ...] = get_args(Part), seed: int = 0) -> dict[str, Any]:
    """Check the theory numerically and draw it.

    Args:
        out: Folder of the pictures, one PNG for each part.
        parts: discriminator (the best D and the value that it reaches), fits (what KL, reverse KL and JSD make of two modes),
            gradients (what the two generator losses send back when D wins), oscillation (why the players circle, and what stops them).
        seed: Seed of all that is drawn at random.

    Returns:
        checks: part -> list of `Check`; pictures: part -> file.
    """
    checks: dict[str, list[Check]] = {}
    pictures: dict[str, str] = {}
    for part in dict.fromkeys(parts):
        checks[part], figure = PARTS[part](seed)
        pictures[part] = str(save_figure(figure, Path(out).expanduser() / f"{part}.png"))
    return {"checks": checks, "pictures": pictures}
