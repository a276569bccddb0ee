"""Draw the figures of a system's paper."""

from __future__ import annotations

from typing import Any

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.table import Command
from genzoo.data.drawing.images import grid, save_png
from genzoo.use.common.outputs import folder_for, target
from genzoo.use.common.source import open_system
from genzoo.use.sample import Seed

COMMAND = Command(
    "the figures that a system's paper shows of it: mixed styles, traversals of codes, manifolds, levels",
    "RUN [seed=0 out=FOLDER]",
    place=43,
    needs=("figures",),
    own="figures",
    waits=True,
)


def figures(
    run: str, seed: Seed = 0, out: str = "", overwrite: bool = False, own: dict[str, Any] | None = None
) -> None:
    """Draw the figures of a system's paper, each as NAME.png.

    Args:
        run: A run or an exported folder.
        seed: Which draws they are of.
        out: Folder of the pictures; RUN/outputs when not given.
        overwrite: Replace pictures that are there.
        own: Options of the system's own figures.
    """
    system = open_system(run)
    for name, figure in genzoo.figures(system, seed=seed, **(own or {})).items():
        asked = f"{out or folder_for(run)}/{name}.png"
        path = target(run, asked, f"{name}.png", suffixes=(".png",), overwrite=overwrite)
        wrote(save_png(path, grid(figure.images, columns=figure.columns, gap=figure.gap)), asked=asked)
        print(f"  {figure.caption}")
