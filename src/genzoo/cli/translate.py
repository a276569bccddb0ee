"""Map images of one domain to another."""

from __future__ import annotations

from typing import Any

from genzoo.cli.common import wrote_images
from genzoo.cli.table import Command
from genzoo.data.drawing.clips import Fps
from genzoo.use.common.scale import Size
from genzoo.use.common.tiles import OVERLAP, TILE, Megapixels, Overlap, Tile
from genzoo.use.translate import translate_files

COMMAND = Command(
    "map images of one domain to another",
    "RUN IMAGE_OR_FOLDER ... [direction=a2b size=256 -o out.png]",
    place=44,
    needs=("translates",),
    own="translate",
    many="images",
)


def translate(
    run: str,
    images: tuple[str, ...],
    direction: str = "",
    out: str = "",
    overwrite: bool = False,
    size: Size | None = None,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    megapixels: Megapixels | None = None,
    fps: Fps | None = None,
    anonymize: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Map images of one domain to another, each at its own size. Originals are never touched.

    Args:
        run: A run or an exported folder.
        images: Images, videos, folders that are searched recursively, patterns such as 'photos/*.jpg'; of frames by their numbers.
        direction: One of the system's directions, such as a2b; its first when not given.
        out: For one image a name that ends in .png, .jpg or .webp, else a folder, or FOLDER/*.jpg for that ending; of several frames,
            or of a video, a film, .mp4 or .gif; RUN/outputs/translate-DIRECTION when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        size: Size that pictures are brought to first: the shorter side in pixels (64), or height and width (48,64); results have it. Their own
            when not given; where that is far from the scale of what the run was trained on, it is said.
        tile: Side in pixels of the largest piece that is translated at once; larger images go tile by tile.
        overlap: Pixels that neighbouring tiles share, over which one fades into the next.
        megapixels: Largest image that is read, where memory has room for it and its result; 1000 when not given.
        fps: Frames of a film in a second; 8 of pictures, and of a video its own, when not given.
        anonymize: Of scans (DICOM, NIfTI, NRRD, which come back as such, with their geometry and units) keep nothing that is of the patient.
        own: Options of the system's own translation.
    """
    written = translate_files(
        run, images, direction or None, out=out or None, overwrite=overwrite, size=size, tile=tile, overlap=overlap,
        megapixels=megapixels, per_second=fps, anonymize=anonymize, quiet=False, **(own or {}),
    )  # fmt: skip
    wrote_images(written, asked=out)
