"""What every picture of a set is brought to, and how planes of values get there; the reason why a file is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from genzoo.data.decode import ranges
from genzoo.data.decode.shrink import shrunk, worth

Shape = tuple[int, int, int]
"""Height, width, channels (alpha not counted)."""


class Rejected(Exception):
    """A file is left out; the message is the reason for the report."""


@dataclass(frozen=True)
class ImageFormat:
    """What every image of a set is brought to.

    Args:
        height: Rows.
        width: Columns.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        resize: cover, fit or stretch.
        kind: colours; or numbers, which are never mixed: labels are kept as they are, instances are renumbered from 0.
        bits: 16 for uint16 of gray or RGB images.
        window: Gray values of the file that become black and white; the whole range of its type without it.
        ends: By what pixels are stored as (see `genzoo.data.decode.ranges`), which values are black and white, where a set has others
            than its type.
    """

    height: int
    width: int
    channels: int
    resize: str = "cover"
    kind: Literal["colours", "labels", "instances"] = "colours"
    bits: int = 8
    window: tuple[float, float] | None = None
    ends: tuple[tuple[str, ranges.Ends], ...] = ()

    def of(self, kind: str) -> ranges.Ends | None:
        """Return black and white of pixels that are stored as `kind`; None where nobody said."""
        return self.window or dict(self.ends).get(kind) or ranges.WHOLE.get(kind)


class Header(NamedTuple):
    """What the beginning of an image file says.

    Args:
        shape: Height, width (upright) and channels, 1 or 3: alpha is not counted.
        kind: What its pixels are stored as, see `genzoo.data.decode.ranges`.
        pages: Pages or frames; the first is what is decoded.
        deep: There are more than 8 bits in a channel.
    """

    shape: tuple[int, int, int]
    kind: str
    pages: int = 1
    deep: bool = False


def shares_to_form(values: np.ndarray, alpha: np.ndarray | None, form: ImageFormat, half: str = "") -> np.ndarray:
    """Bring colours from 0 (black) to 1 (white) to uint8 or uint16 [C, H, W].

    Args:
        values: float32 [H, W, C], C of the form.
        alpha: Transparency uint8 [H, W], composited on white; None where there is none.
        form: What they are brought to.
        half: See `pixels`.
    """
    if alpha is not None:
        share = alpha[..., None].astype(np.float32) / 255
        values = values * share + 1 - share
    if half:
        width = values.shape[1]
        if width % 2:
            raise Rejected(f"{width}x{values.shape[0]}: two pictures side by side have an even width")
        values = values[:, : width // 2] if half == "left" else values[:, width // 2 :]
    return integers(np.stack([plane(np.ascontiguousarray(v), form) for v in values.transpose(2, 0, 1)]), form)


def plane(values: np.ndarray, form: ImageFormat) -> np.ndarray:
    """Resize a plane float32 [H, W] to what a form asks for, in its way of resizing."""
    box = _box(values.shape[1], values.shape[0], form)
    target = (form.width, form.height)
    if form.resize != "fit" and worth(box, target):
        return shrunk(values, box, target)
    return np.asarray(resized(Image.fromarray(values), form))


def integers(values: np.ndarray, form: ImageFormat) -> np.ndarray:
    """Bring values in [0, 1] to uint8 or uint16."""
    top, dtype = (255, np.uint8) if form.bits == 8 else (65535, np.uint16)
    rounded: np.ndarray = np.rint(values.astype(np.float64).clip(0, 1) * top).astype(dtype)
    return rounded


def finite(values: np.ndarray, holes: list[int] | None) -> np.ndarray:
    """Fill the values that are not finite, and append their number to `holes`.

    Raises:
        Rejected: More than a tenth is no finite number.
    """
    whole, count = ranges.filled(values)
    if count > ranges.MOST_HOLES * values.size:
        raise Rejected(
            f"{count:,} of {values.size:,} pixels are no finite numbers (no data); cut them off, or leave the file out"
        )
    if count and holes is not None:
        holes.append(count)
    return whole


def resized(
    image: Image.Image, form: ImageFormat, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Resize an image to what a form asks for, in its way of resizing."""
    w, h = image.size
    target = (form.width, form.height)
    if (w, h) == target:
        return image
    if form.resize != "fit":
        return image.resize(target, resample, box=_box(w, h, form))
    scale = min(form.width / w, form.height / h)
    inner = (max(1, round(w * scale)), max(1, round(h * scale)))
    bands = len(image.getbands())
    clear: float | tuple[int, ...] = (
        (255,) * (bands - 1) + (0,) if bands in (2, 4) else 255 if bands == 1 else (255,) * bands
    )
    if image.mode in ("I", "F"):
        clear = 0 if image.mode == "I" else 1.0  # numbers from 0; windowed values up to 1
    canvas = Image.new(image.mode, target, clear)
    small = image.resize(inner, resample)
    canvas.paste(small, ((form.width - inner[0]) // 2, (form.height - inner[1]) // 2))
    return canvas


def _box(width: int, height: int, form: ImageFormat) -> tuple[float, float, float, float]:
    """Return the edges of the part of an image that is kept: all of it, or with `cover` the largest of the form's shape in the middle."""
    if form.resize != "cover":
        return 0.0, 0.0, float(width), float(height)
    scale = max(form.width / width, form.height / height)
    w, h = min(form.width / scale, width), min(form.height / scale, height)
    return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2
