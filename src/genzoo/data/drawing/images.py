"""Pictures of images: the one place where values in [-1, 1] become grey levels, and where levels become files."""

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

from genzoo.core.errors import UserError
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


def save_picture(path: str | os.PathLike[str], pixels: np.ndarray | Tensor) -> Path:
    """Save a picture (uint8 [H, W, C], or images [N, C, H, W] in [-1, 1] for `grid`) as its ending says.

    PNG and WebP give back the very pixels; JPEG is written at quality 95 with all of its colours, and has no transparency.

    Raises:
        UserError: The picture has transparency, and a JPEG is asked for.
    """
    path = Path(path)
    if path.suffix.lower() in (".png", ""):
        return save_png(path, pixels)
    image = Image.fromarray(grid(pixels) if isinstance(pixels, Tensor) else pixels)
    return write_atomic(path, encoded(image, path))


def encoded(image: Image.Image, path: Path, **more: Any) -> bytes:
    """Return the bytes of a JPEG or a WebP, as the ending of a path says; `more` as Pillow's `save` takes it.

    Raises:
        UserError: The picture has transparency, and a JPEG is asked for.
    """
    buffer = io.BytesIO()
    if path.suffix.lower() == ".webp":
        image.save(buffer, "WEBP", lossless=True, exact=True, **more)
        return buffer.getvalue()
    if image.mode in ("RGBA", "LA"):
        raise UserError(
            f"{path} cannot be written: the picture has transparency, and JPEG has none; give .png or .webp"
        )
    image.save(buffer, "JPEG", quality=95, subsampling=0, **more)
    return buffer.getvalue()


def save_png(path: str | os.PathLike[str], pixels: np.ndarray | Tensor) -> Path:
    """Save a picture (uint8 [H, W, C], or images [N, C, H, W] in [-1, 1] for `grid`) as PNG."""
    array = grid(pixels) if isinstance(pixels, Tensor) else pixels
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
