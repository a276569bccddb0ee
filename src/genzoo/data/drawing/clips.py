"""From clips in [-1, 1] to files and pictures: strips of frames, GIF, MP4."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.core.files import replacing
from genzoo.data.drawing.images import grid

PER_SECOND = 8
"""Frames shown in a second."""
Fps = Annotated[float, Field(gt=0, le=120)]
"""Frames in a second that a person may ask for."""
ACROSS = 8
"""Frames of a clip in a picture, at most."""


def strips(clips: Tensor, *, columns: int | None = None) -> np.ndarray:
    """Draw clips [N, C, T, H, W] as a still picture, uint8 [H, W, 3 or 4]: a row of frames each, evenly spaced, the first and last among them.

    With `columns` the middle frame of each clip in a grid of that many columns.
    """
    t = clips.shape[2]
    if columns is not None:
        return grid(clips[:, :, t // 2], columns=columns)
    at = torch.linspace(0, t - 1, min(t, ACROSS)).round().long()
    frames = clips[:, :, at].transpose(1, 2)
    return grid(frames.flatten(0, 1), columns=len(at))


def frames(clips: Tensor, *, columns: int | None = None) -> list[np.ndarray]:
    """Return the frames of an animation of clips [N, C, T, H, W], side by side: a uint8 picture for each time."""
    return [grid(clips[:, :, t], columns=columns) for t in range(clips.shape[2])]


def save_mp4(path: str | os.PathLike[str], pictures: Sequence[np.ndarray], *, per_second: float = PER_SECOND) -> Path:
    """Save pictures of one size, uint8 [H, W, 3], as an MP4 film; odd sides are repeated to even ones.

    Raises:
        UserError: The extra is not installed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        disk_full_is_said(path, 0),
        replacing(path) as part,
        mp4(part, Fraction(per_second).limit_denominator(1000)) as add,
    ):
        for picture in pictures:
            add(picture)
    return path


@contextmanager
def mp4(path: Path, per_second: Fraction) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an MP4 film picture by picture: lends what adds one, uint8 [H, W, 3], all of one size; odd sides are repeated to even ones.

    Args:
        path: The file.
        per_second: Pictures in a second.

    Raises:
        UserError: The extra is not installed.
    """
    try:
        import av
    except (ImportError, OSError):
        raise UserError(
            "MP4 needs the extra: pip install 'genzoo[video]'; a name that ends in .gif needs nothing"
        ) from None
    with av.open(str(path), "w", format="mp4") as film:
        # x264's macroblock tree weighs blocks by memory beyond the picture's edge, so that equal pictures make unequal files
        codec, options = ("libx264", {"x264-params": "mbtree=0"}) if "libx264" in av.codecs_available else ("mpeg4", {})
        stream: Any = film.add_stream(codec, rate=per_second, options=options)
        begun = False

        def add(picture: np.ndarray) -> None:
            nonlocal begun
            height, width = picture.shape[:2]
            if not begun:
                begun = True
                stream.width, stream.height = width + width % 2, height + height % 2
                stream.pix_fmt = "yuv420p"
                stream.bit_rate = max(500_000, round(math.prod(picture.shape) * float(per_second) * 2))
            pad = ((0, height % 2), (0, width % 2), (0, 0))
            frame = av.VideoFrame.from_ndarray(np.pad(picture[..., :3], pad, "edge"), format="rgb24")
            film.mux(stream.encode(frame))

        yield add
        if begun:
            film.mux(stream.encode())
