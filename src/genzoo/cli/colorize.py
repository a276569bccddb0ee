"""Colour photographs."""

from __future__ import annotations

from typing import Any

from genzoo.cli.common import wrote_images
from genzoo.cli.table import Command
from genzoo.data.drawing.clips import Fps
from genzoo.use.common.scale import Size
from genzoo.use.common.tiles import Megapixels
from genzoo.use.restore import restore_files

COMMAND = Command(
    "colour gray photographs",
    "RUN IMAGE_OR_FOLDER ... [temperature=0.4 -o out.png]",
    place=46,
    direction="colorize",
    own="translate",
    many="images",
)


def colorize(
    run: str,
    images: tuple[str, ...],
    out: str = "",
    overwrite: bool = False,
    size: Size | None = None,
    megapixels: Megapixels | None = None,
    fps: Fps | None = None,
    own: dict[str, Any] | None = None,
) -> None:
    """Colour photographs at their own size: their lightness stays, colours they have are not looked at.

    Args:
        run: A run or an exported folder of a system that colours, such as colorizer.
        images: Images, gray or not, videos, folders that are searched recursively, or patterns such as 'photos/*.jpg'.
        out: For one image a name that ends in .png, .jpg or .webp, else a folder, or FOLDER/*.jpg for that ending; of several frames,
            or of a video, a film, .mp4 or .gif; RUN/outputs/colorize when not given.
        overwrite: Replace results of an earlier call; an original is not replaced even then.
        size: Size that pictures are brought to first: the shorter side in pixels (64), or height and width (48,64); results have it. Their own
            when not given; where that is far from the scale of what the run was trained on, it is said.
        megapixels: Largest image that is read; 64 when not given, because a colour depends on the whole of it and it goes through the
            networks in one piece.
        fps: Frames of a film in a second; 8 of pictures, and of a video its own, when not given.
        own: Options of the system's own colouring, such as colorizer's temperature=0.4.
    """
    written = restore_files(
        run, images, "colorize", out=out or None, overwrite=overwrite, size=size, quiet=False, megapixels=megapixels, per_second=fps, **(own or {})
    )  # fmt: skip
    wrote_images(written, asked=out)
