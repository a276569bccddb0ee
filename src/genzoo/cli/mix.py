"""Mix the styles of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.table import Command
from genzoo.core.capabilities import Mixes
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.use.common.outputs import free, target
from genzoo.use.common.source import open_system, require

COMMAND = Command(
    "images with some layers' styles of one and the others of another: a table of rows and columns",
    "RUN [rows=0-2 columns=3-6 layers=0-3 truncation=0.7 out=mixed.png]",
    place=42,
    needs=("mixes",),
    own="sample_prior",
    waits=True,
)


def mix(
    run: str,
    rows: str = "0-2",
    columns: str = "",
    layers: str = "",
    cols: str = "",
    styles: str = "",
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Mix the styles of images: those of some layers from the image at the left, the others from the image at the top.

    Args:
        run: A run or an exported folder of a system with a style for each layer.
        rows: Images at the left, which give styles: seeds such as 0,4-6, or a file of latents from 'genzoo project' (mine.npz).
        columns: Images at the top, which take them; 3-6 when not given.
        layers: Layers whose styles come from the left, counted from 0, coarse to fine, such as 0-3,6; the first half when not given.
        cols: The same as columns.
        styles: The same as layers.
        out: File: .png, .jpg or .webp for the table, .npy for its values; with a / at its end a folder with grid.png and each picture alone
            (seed0000-seed0003.png: row and column); RUN/outputs/mix.png when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own prior, such as truncation or label.
    """
    if (columns and cols) or (layers and styles):
        raise UserError("mix: cols= is another word for columns=, and styles= for layers=; give one of the two")
    system = open_system(run)
    require(system, Mixes, verb="mix")
    kind, folder = kinds.of(system), out.endswith(("/", os.sep)) or (bool(out) and Path(out).is_dir())
    path = Path() if folder else target(run, out, "mix.png", suffixes=PICTURES, overwrite=overwrite)
    found = genzoo.mix(system, rows, columns or cols or "3-6", layers or styles or None, **(own or {}))
    if folder:
        place = Path(out) if overwrite else free(out)
        path = place / "grid.png"
        left, top = found.names
        singles = [*zip(left, found.rows, strict=True), *zip(top, found.columns, strict=True)]
        singles += [(f"{a}-{b}", found.images[i, j]) for i, a in enumerate(left) for j, b in enumerate(top)]
        for name, one in singles:
            kind.write_one(place / f"{name}{kind.single}", one, system.hparams)
    kind.write(path, found.table, system.hparams, columns=len(found.columns) + 1)
    wrote(path.parent if folder else path, asked=out)
    print(f"  {found.caption}")
