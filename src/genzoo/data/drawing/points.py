"""Pictures of points: a scatter in the plane, or the histogram of one column."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BAR, _HEAD = 8, 24
"""Pixels: the width of a histogram's bar, the room above the highest."""


def scatter(
    points: Tensor, *, size: int = 384, extent: float = 4.0, colour: tuple[int, int, int] = (30, 90, 200)
) -> np.ndarray:
    """Draw points [N, D] by their first two columns on a white square, uint8 [size, size, 3]; one column is drawn as a histogram.

    The square shows [-extent, extent]². Where most points lie outside or all lie in a sixteenth of its side, which points in other units do, it
    shows the range of each column instead, but for the outermost hundredth, and the ranges are written on it.
    """
    values = points.detach().cpu().double()[:, :2].numpy()
    values = values[np.isfinite(values).all(1)]
    low, high = np.full(values.shape[1], -extent), np.full(values.shape[1], extent)
    least, most = np.quantile(values, (0.005, 0.995), axis=0) if len(values) else (low, high)
    far = len(values) > 0 and (np.abs(values) < extent).all(1).mean() < 0.5
    own = far or (len(values) > 1 and 0 < (most - least).max() < extent / 8)
    if own:
        low, high = least, most
        room = np.where(high > low, (high - low) / 8, np.maximum(np.abs(high) / 8, np.finfo(np.float64).tiny))
        low, high = low - room, high + room
    at = ((values - low) / (high - low) * (size - 1)).round()
    at = at[((at >= 1) & (at < size - 1)).all(1)].astype(int)
    canvas = np.full((size, size, 3), 255, np.uint8)
    if at.shape[1] == 1:
        counts = np.bincount(at[:, 0] // _BAR, minlength=-(-size // _BAR))
        heights = (counts / max(counts.max(), 1) * (size - 2 * _HEAD)).round().astype(int).repeat(_BAR)[:size]
        canvas[np.arange(size)[::-1, None] < heights] = colour
    else:
        for dy in (0, 1):
            for dx in (0, 1):
                canvas[size - 1 - at[:, 1] - dy, at[:, 0] + dx] = colour
    if not own:
        return canvas
    page = Image.fromarray(canvas)
    told = "  ".join(f"{axis} {a:.4g} to {b:.4g}" for axis, a, b in zip("xy", low, high, strict=False))
    ImageDraw.Draw(page).text((4, 2), told, fill=(40, 40, 40), font=ImageFont.load_default())
    return np.array(page)
