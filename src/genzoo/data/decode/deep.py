"""Sixteen bits in image files: colours of which Pillow's decoder keeps eight bits are decoded twice, once for either byte."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

_OTHER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""Pillow reads the high byte of 16-bit colours in each of these orders; told the other order it reads the low one."""


STORED = "how genzoo found its pixels stored"
"""What `remember` keeps in the `info` of an image."""
_BITS, _PHOTOMETRIC = 258, 262
"""Tags of a TIFF."""


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image that is open, but not loaded yet, has more than 8 bits in a channel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or any(";16" in raw for raw in _raw_modes(image))


def is_gray_with_alpha(image: Image.Image) -> bool:
    """Tell whether an image is 16-bit gray with transparency, which Pillow opens as if it had colours."""
    return _raw_modes(image) == {"LA;16B"}


def remember(image: Image.Image) -> None:
    """Keep with an image how its file stores pixels: Pillow forgets that where an image is turned or cut."""
    image.info[STORED] = _facts(image)


def kind_of(image: Image.Image) -> str:
    """Name the type of number that an image's pixels are stored as (see `genzoo.data.decode.ranges`); reals are floats of a file."""
    return (image.info.get(STORED) or _facts(image))[0]


def top(image: Image.Image) -> int:
    """Return the whitest value of gray pixels with more than 8 bits: 65535, or 4095 where a TIFF has 12 bits."""
    return (image.info.get(STORED) or _facts(image))[1]


def stored(image: Image.Image) -> np.ndarray:
    """Return the gray values of an image with more than 8 bits as the file has them: uint16, int32 or float32 [H, W].

    A TIFF whose least value is white is turned round, as Pillow does with 8 bits.
    """
    _, most, light_is_low = image.info.get(STORED) or _facts(image)
    values = np.array(image)
    if image.mode == "I" and kind_of(image) == "uint16":
        values = values.clip(0, 65535).astype(np.uint16)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)
        values = np.uint16(most) - values if light_is_low else values
    return values


def _facts(image: Image.Image) -> tuple[str, int, bool]:
    """Return what pixels are stored as, the whitest of 16 bits, and whether the least value is white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, 16)
    bits = bits[0] if isinstance(bits, tuple) else bits
    plain = {"1": "bool", "F": "reals"}.get(image.mode) or ("uint16" if is_deep(image) else "uint8")
    kind = "whole" if image.mode == "I" and image.format == "TIFF" else plain
    return kind, 4095 if bits == 12 else 65535, tags.get(_PHOTOMETRIC) == 0


def sixteen_bits(image: Image.Image, file: BinaryIO) -> np.ndarray | None:
    """Read all 16 bits of colours, or of gray with alpha: uint16 [H, W, C], C 2, 3 or 4, as stored (EXIF orientation not applied).

    None where the image has 8 bits, is gray without alpha (which Pillow reads whole), or is stored in another way: channels apart from
    each other, one colour that stands for transparency.

    Args:
        image: The image, not loaded yet.
        file: Where it was opened from.
    """
    raws = _raw_modes(image)
    if len(raws) != 1 or "transparency" in image.info:
        return None
    raw = raws.pop()
    if raw == "LA;16B":  # four bytes for a pixel, which is what RGBA reads
        four = _read(file, image, "RGBA").astype(np.uint16)
        joined: np.ndarray = four[..., 0::2] << 8 | four[..., 1::2]
        return joined
    kind, _, order = raw.partition(";")
    if kind not in ("RGB", "RGBA") or order not in _OTHER:
        return None
    high = _read(file, image, raw).astype(np.uint16)
    both: np.ndarray = high << 8 | _read(file, image, f"{kind};{_OTHER[order]}")
    return both


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of pixels [H, W, C]."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return pixels[
        :: -1 if orientation in (3, 4, 7, 8) else 1,
        :: -1 if orientation in (2, 3, 6, 7) else 1,
    ]


def as_channels(pixels: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Split pixels with 1 to 4 channels into colours uint16 [H, W, 1 or 3] and transparency uint8 [H, W].

    Args:
        pixels: uint16 [H, W, C].
        channels: 1 or 3: gray is repeated, colours become ITU-R 601 luma.
    """
    alpha = ((pixels[..., -1].astype(np.uint32) + 128) // 257).astype(np.uint8) if pixels.shape[2] in (2, 4) else None
    colours = pixels[..., : 1 if pixels.shape[2] < 3 else 3]
    if channels == 1 and colours.shape[2] == 3:
        colours = np.rint(colours @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint16)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], channels))), alpha


def _raw_modes(image: Image.Image) -> set[str]:
    return {_raw(tile[3]) for tile in getattr(image, "tile", ())}


def _raw(arguments: Any) -> str:
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _read(file: BinaryIO, like: Image.Image, raw: str) -> np.ndarray:
    """Decode a file as if its pixels were stored in the raw mode `raw`."""
    file.seek(0)
    with Image.open(file, formats=(like.format or "",)) as image:
        image.tile = [
            tile._replace(args=(raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw) for tile in image.tile
        ]
        image.load()
        return np.asarray(image)
