"""From clips in [-1, 1] to files and pictures: strips of frames, GIF, MP4."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.drawing.images import grid

PER_SECOND = 8
"""Frames shown in a second."""
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
    try:
        import av
    except (ImportError, OSError):
        raise UserError(
            "MP4 needs the extra: pip install 'genzoo[video]'; a name that ends in .gif needs nothing"
        ) from None
    height, width = pictures[0].shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as film:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = film.add_stream(codec, rate=Fraction(per_second).limit_denominator(1000))
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = max(500_000, round(math.prod(pictures[0].shape) * per_second * 2))
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.pad(picture[..., :3], pad, "edge"), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return write_atomic(path, buffer.getvalue())
