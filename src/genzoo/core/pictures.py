"""From tensors in [-1, 1] to picture files: the one place where values become grey levels."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genzoo.core.files import write_atomic


def to_uint8(x: Tensor) -> Tensor:
    """Clamp and round [-1, 1] to grey levels 0..255: `round((x + 1) · 127.5)`, never truncated, never wrapped."""
    return x.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def grid(images: Tensor, *, columns: int | None = None, gap: int = 2, scale: int | None = None) -> np.ndarray:
    """Lay out [N, C, H, W] in [-1, 1] as one picture, uint8 [H, W, 3 or 4].

    Args:
        images: One, three or four channels (two and five or more: the first is shown).
        columns: Images in a row; the square root of N by default.
        gap: White pixels between images.
        scale: Whole-number enlargement; chosen so that an image is at least 48 px high by default.
    """
    if images.ndim != 4:
        raise ValueError(f"grid takes [N, C, H, W], not {tuple(images.shape)}")
    n, c, h, w = images.shape
    pixels = to_uint8(images)
    if c not in (1, 3, 4):
        pixels, c = pixels[:, :1], 1
    if c == 1:
        pixels = pixels.expand(n, 3, h, w)
    columns = columns or max(1, math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    scale = scale or max(1, 48 // h)
    canvas = np.full(
        (rows * (h * scale + gap) - gap, columns * (w * scale + gap) - gap, pixels.shape[1]), 255, np.uint8
    )
    for i, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        y, x = i // columns * (h * scale + gap), i % columns * (w * scale + gap)
        canvas[y : y + h * scale, x : x + w * scale] = image.repeat(scale, 0).repeat(scale, 1)
    return canvas


def titled(images: Tensor, titles: Sequence[str], *, columns: int | None = None) -> np.ndarray:
    """Lay out images [N, C, H, W] in as many equal parts as there are titles, each part under its title; uint8 [H', W', 3 or 4].

    Args:
        images: See `grid`.
        titles: One line for each part; one that is too long for the picture is cut.
        columns: Images in a row; a part in one row by default.
    """
    parts = [grid(part, columns=columns or len(part)) for part in images.chunk(len(titles))]
    font, height = ImageFont.load_default(), 16
    bands: list[np.ndarray] = []
    for title, part in zip(titles, parts, strict=True):
        strip = Image.new("RGB", (part.shape[1], height), "white")
        ImageDraw.Draw(strip).text((2, 2), _cut(title, font, strip.width - 4), fill=(40, 40, 40), font=font)
        line = np.asarray(strip)
        opaque = np.full((*line.shape[:2], part.shape[2] - 3), 255, np.uint8)
        bands += [np.concatenate([line, opaque], 2), part]
    return np.concatenate(bands)


def beside(pictures: Mapping[str, np.ndarray], *, columns: int | None = None, gap: int = 8) -> np.ndarray:
    """Lay out finished pictures, each under its name, on white; uint8 [H', W', 3].

    Args:
        pictures: Name -> uint8 [H, W, 3].
        columns: Pictures in a row; all by default.
        gap: White pixels between them.
    """
    font, head, columns = ImageFont.load_default(), 16, columns or len(pictures)
    height, width = (max(p.shape[axis] for p in pictures.values()) for axis in (0, 1))
    rows = math.ceil(len(pictures) / columns)
    canvas = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + head + gap) - gap), "white")
    pen = ImageDraw.Draw(canvas)
    for i, (name, picture_) in enumerate(pictures.items()):
        x, y = i % columns * (width + gap), i // columns * (height + head + gap)
        pen.text((x + 2, y + 2), _cut(name, font, width - 4), fill=(40, 40, 40), font=font)
        canvas.paste(Image.fromarray(picture_), (x, y + head))
    return np.asarray(canvas)


def _cut(text: str, font: Any, width: int) -> str:
    text = text.encode("latin-1", "replace").decode("latin-1")  # what the built-in font has
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


_BAR, _HEAD = 8, 24
"""Pixels: the width of a histogram's bar, the room above the highest."""


def scatter(
    points: Tensor, *, size: int = 384, extent: float = 4.0, colour: tuple[int, int, int] = (30, 90, 200)
) -> np.ndarray:
    """Draw points [N, D] by their first two columns on a white square, uint8 [size, size, 3]; one column is drawn as a histogram.

    The square shows [-extent, extent]². Where most points lie outside, which points in other units do, it shows the range of each
    column instead, but for the outermost hundredth, and the ranges are written on it.
    """
    values = points.detach().cpu().double()[:, :2].numpy()
    values = values[np.isfinite(values).all(1)]
    low, high = np.full(values.shape[1], -extent), np.full(values.shape[1], extent)
    own = len(values) > 0 and (np.abs(values) < extent).all(1).mean() < 0.5
    if own:
        low, high = np.quantile(values, (0.005, 0.995), axis=0)
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


def picture(samples: Tensor, *, columns: int | None = None, kind: str = "image") -> np.ndarray:
    """The picture of any kind of sample: images, spectrograms of sounds, a scatter of points, frames of clips, views of voxels.

    Args:
        samples: Examples in [-1, 1], [N, ...].
        columns: Examples in a row.
        kind: The kind of data that a system declares; gray clips and voxels look alike without it.
    """
    if samples.ndim == 5:
        from genzoo.core import motion, turntable

        return (turntable.views if kind == "voxels" else motion.strips)(samples, columns=columns)
    if samples.ndim == 3:
        from genzoo.core.sound import panels

        return panels(samples, columns=columns)
    return grid(samples, columns=columns) if samples.ndim == 4 else scatter(samples)


def save_png(path: str | os.PathLike[str], pixels: np.ndarray | Tensor) -> Path:
    """Save a picture (uint8 [H, W, C], or a tensor for `picture`) as PNG."""
    array = picture(pixels) if isinstance(pixels, Tensor) else pixels
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    return write_atomic(path, buffer.getvalue())


def save_gif(
    path: str | os.PathLike[str], frames: Sequence[np.ndarray | Path], *, milliseconds: int = 150, rest: int = 8
) -> Path:
    """Save pictures (arrays or PNG paths) of one size as an endless GIF; the last frame stays `rest` times as long."""
    images = [
        Image.open(f).convert("RGB") if isinstance(f, Path) else Image.fromarray(f).convert("RGB") for f in frames
    ]
    if not images:
        raise ValueError("a GIF needs at least one frame")
    durations = [milliseconds] * (len(images) - 1) + [milliseconds * rest]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)
    return write_atomic(path, buffer.getvalue())
