"""Write images into one file whose size is the bits of a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

import genzoo
from genzoo.cli.table import Command
from genzoo.core.capabilities import Compresses
from genzoo.core.errors import UserError
from genzoo.use.common.images import first_batch, image_files, open_for
from genzoo.use.common.outputs import folder_for, free
from genzoo.use.common.source import open_system, require
from genzoo.use.compress import exact_images

COMMAND = Command(
    "images into one file as small as the model's likelihood says",
    "RUN [IMAGE_OR_FOLDER ...] [out=FILE]",
    place=49,
    exact=True,
    needs=("compresses",),
    waits=True,
    many="images",
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def compress(
    run: str,
    images: tuple[str, ...] = (),
    data: str = "",
    n: Annotated[int, Field(ge=1, le=1_000_000)] = 100,
    names: bool = False,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Write images into one file whose size is the model's bits; decompress gives them back bit for bit.

    Args:
        run: A run or an exported folder.
        images: Images, or folders of images, of the size that the model takes.
        data: In place of images, a name, a folder or an archive as for train; the test part of the run's own data when neither is given.
        n: How many of the data.
        names: Keep the names of the files, at about ten bytes each.
        out: The file; RUN/outputs/images.gzoo when not given.
        overwrite: Replace the file if it is there.
    """
    if images and data:
        raise UserError("compress: give images or data=, not both")
    system = open_system(run)
    require(system, Compresses, verb="compress")
    path = Path(out).expanduser() if out else folder_for(run) / "images.gzoo"
    if path.is_dir():
        path = path / "images.gzoo"
    kept: tuple[str, ...] = ()
    if images:
        found = [(file, name) for start in images for file, name in image_files(start)]
        files = [pair for pair in found if pair[0].suffix.lower() in SUFFIXES or len(images) == len(found)]
        if not files:
            raise UserError(f"'{images[0]}' holds no images")
        pixels = exact_images([file for file, _ in files], system)
        kept = tuple(name.as_posix() for _, name in files) if names else ()
    else:
        pixels = first_batch(system, open_for(system, data or None), n)["image"]
    done = genzoo.compress(system, pixels, free(path, overwrite=overwrite), names=kept)
    moved = f" ({out} was there already; overwrite=true replaces it)" if out and done.path != path else ""
    print(f"wrote {done.path}{moved}")
    said = "are zero for a level that is there, which took 24 bits"
    if math.isfinite(done.bits):
        said = f"say {math.ceil(done.bits / 8):,} bytes ({8 * done.size / max(done.bits, 1) - 1:+.2%})"
    what = "1 image" if done.count == 1 else f"{done.count} images"
    print(f"{what} in {done.size:,} bytes, {done.bits_per_dim:.4f} bits/dim; the model's probabilities {said}")
