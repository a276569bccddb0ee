"""Enlarge photographs."""

from __future__ import annotations

from genzoo.cli.common import wrote_images
from genzoo.cli.table import Command
from genzoo.data.drawing.clips import Fps
from genzoo.use.common.scale import Size
from genzoo.use.common.tiles import OVERLAP, TILE, Megapixels, Overlap, Tile
from genzoo.use.restore import restore_files

COMMAND = Command(
    "enlarge photographs", "RUN IMAGE_OR_FOLDER ... [-o out.png]", place=45, direction="upscale", many="images"
)


def upscale(
    run: str,
    images: tuple[str, ...],
    out: str = "",
    overwrite: bool = False,
    size: Size | None = None,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    megapixels: Megapixels | None = None,
    fps: Fps | None = None,
) -> None:
    """Enlarge photographs, at any size, by as much as the run was trained for. Originals are never touched.

    Args:
        run: A run or an exported folder of a system for super-resolution, such as srgan.
        images: Images, videos, folders that are searched recursively, patterns such as 'photos/*.jpg'; of frames by their numbers.
        out: For one image a name that ends in .png, .jpg or .webp, else a folder, or FOLDER/*.jpg for that ending; of several frames,
            or of a video, a film, .mp4 or .gif; RUN/outputs/upscale when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        size: Size that pictures are brought to before they are enlarged: the shorter side in pixels (64), or height and width (48,64); their own
            when not given.
        tile: Side in pixels of the largest piece that is enlarged at once; larger images go tile by tile.
        overlap: Pixels that neighbouring tiles share, over which one fades into the next.
        megapixels: Largest image that is read, where memory has room for it and its result; 1000 when not given.
        fps: Frames of a film in a second; 8 of pictures, and of a video its own, when not given.
    """
    written = restore_files(
        run,
        images,
        "upscale",
        out=out or None,
        overwrite=overwrite,
        size=size,
        quiet=False,
        tile=tile,
        overlap=overlap,
        megapixels=megapixels,
        per_second=fps,
    )
    wrote_images(written, asked=out)
