"""Commands that make photographs better: enlarge them, colour them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genzoo.use.common.tiles import OVERLAP, TILE, Megapixels, Overlap, Tile
from genzoo.use.restore import restore_files


def upscale(
    run: str,
    images: str,
    out: str = "",
    overwrite: bool = False,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    megapixels: Megapixels | None = None,
) -> None:
    """Enlarge photographs, at any size, by as much as the run was trained for. Originals are never touched.

    Args:
        run: A run or an exported folder of a system for super-resolution, such as srgan.
        images: An image, or a folder of images, searched recursively.
        out: For one image a name that ends in .png, else a folder; RUN/outputs/upscale when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        tile: Side in pixels of the largest piece that is enlarged at once; larger images go tile by tile.
        overlap: Pixels that neighbouring tiles share, over which one fades into the next.
        megapixels: Largest image that is read, where memory has room for it and its result; 1000 when not given.
    """
    _restored(run, images, "upscale", out, overwrite, tile=tile, overlap=overlap, megapixels=megapixels)


def colorize(
    run: str, images: str, out: str = "", overwrite: bool = False, megapixels: Megapixels | None = None
) -> None:
    """Colour photographs at their own size: their lightness stays, colours they have are not looked at.

    Args:
        run: A run or an exported folder of a system that colours, such as colorizer.
        images: An image, gray or not, or a folder of images, searched recursively.
        out: For one image a name that ends in .png, else a folder; RUN/outputs/colorize when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        megapixels: Largest image that is read; 64 when not given, because a colour depends on the whole of it and it goes through the
            networks in one piece.
    """
    _restored(run, images, "colorize", out, overwrite, megapixels=megapixels)


def _restored(run: str, images: str, direction: str, out: str, overwrite: bool, **tiles: Any) -> None:
    written = restore_files(run, images, direction, out=out or None, overwrite=overwrite, quiet=False, **tiles)
    if Path(images).expanduser().is_file():
        taken = out.endswith(".png") and written[0].name != Path(out).name
        print(f"wrote {written[0]}" + (f" ({out} was there already; overwrite=true replaces it)" if taken else ""))
    else:
        print(f"wrote {len(written)} images to {os.path.commonpath([p.parent for p in written])}")
