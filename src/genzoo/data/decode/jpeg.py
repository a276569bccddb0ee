"""The short way to a plain JPEG: its header without the decoder's reader, which builds all that decoding needs, and its pixels with no more asked.

Whatever is not plain, or damaged, is left to the careful way (`genzoo.data.decode.images`), which gives plain ones the same pixels.
"""

from __future__ import annotations

import functools
import math
from typing import BinaryIO

import numpy as np
from PIL import Image

from genzoo.data.decode import ranges
from genzoo.data.decode.forms import Header, ImageFormat, resized

HEAD = 2048
"""Bytes that are looked at: what is not told in them is left to the decoder."""
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
_START, _SCAN, _TABLES, _JFIF = 0xD8, 0xDA, 0xDB, 0xE0
_FRAMES = (0xC0, 0xC2)
"""Baseline and progressive."""
_PASSED = (0xC4, 0xDD, 0xFE)
"""Huffman tables, intervals of restarts, comments."""
_TURNED = frozenset({"exif", "xmp"})
"""Where a JPEG may say that it is to be turned."""
_MODES = {1: "L", 3: "RGB"}


def plain(file: BinaryIO, most: int) -> Header | None:
    """Read the header of a JPEG that has nothing but a picture of 8 bits, gray or in colours: no EXIF, no profile, no second picture.

    What is unusual or damaged is none of these: the decoder is asked then, and has the words for it.

    Args:
        file: The image; left at another place.
        most: Pixels above which it is none of these.
    """
    file.seek(0)
    data = file.read(HEAD)
    if data[:2] != bytes([0xFF, _START]):
        return None
    # Files of one program and size begin with the same bytes, down to where the scan does.
    scan = data.find(b"\xff\xda\x00", 0, -3)
    found = (_told(data[: scan + 2 + data[scan + 3]]) if scan > 0 else None) or _told(data)
    return found if found and found.shape[0] * found.shape[1] <= most else None


@functools.lru_cache(maxsize=64)
def _told(data: bytes) -> Header | None:
    """Read the header that some bytes begin with; None where it is not plain, or goes on behind them."""
    at, shape = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2 + (data[at + 2] << 8 | data[at + 3])
        if end > len(data) or end < at + 4:
            return None
        if marker == _SCAN:
            return Header(shape, "uint8") if shape else None
        if marker == _JFIF:
            if data[at + 4 : at + 9] != b"JFIF\0" or end - at < 16:
                return None
        elif marker == _TABLES:
            if (end - at - 4) % 65 or any(data[i] >> 4 for i in range(at + 4, end, 65)):
                return None
        elif marker in _FRAMES:
            height, width, planes = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8], data[at + 9]
            usual = data[at + 4] == 8 and planes in (1, 3) and end == at + 10 + 3 * planes
            if shape or not usual or not height * width:
                return None
            shape = (height, width, planes)
        elif marker not in _PASSED:
            return None
        at = end
    return None


def pixels(file: BinaryIO, form: ImageFormat, most: int) -> np.ndarray | None:
    """Decode a JPEG that has nothing but a picture of 8 bits, gray or in colours, to uint8 [C, H, W]; None of any other file.

    Args:
        file: The image; left at another place.
        form: What it is brought to.
        most: Pixels above which it is none of these.
    """
    mode = _MODES.get(form.channels)
    if mode is None or form.kind != "colours" or form.bits != 8 or form.window or form.of("uint8") != ranges.BITS_8:
        return None
    file.seek(0)
    if file.read(3) != b"\xff\xd8\xff":
        return None
    try:
        image: Image.Image = Image.open(file, formats=("JPEG",))
        usual = image.format == "JPEG" and image.mode in ("L", "RGB") and _TURNED.isdisjoint(image.info)
        if not usual or not 0 < image.width * image.height <= most:
            return None
        drafted(image, form)
        image.load()
    except Exception:  # the careful way finds it again, and has words for it
        return None
    array = np.asarray(resized(image if image.mode == mode else image.convert(mode), form))
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def drafted(image: Image.Image, form: ImageFormat) -> None:
    """Have the decoder of a JPEG drop whole octaves, which is free; twice the wanted size is kept for the resampling filter."""
    width, height = image.size
    scale = 2 * max(form.height, form.width) / min(width, height)
    image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
