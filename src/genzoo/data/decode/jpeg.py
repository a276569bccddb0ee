"""The header of a plain JPEG, read in a tenth of the time that the decoder's reader takes, which builds all that decoding needs."""

from __future__ import annotations

from typing import BinaryIO

from genzoo.data.decode.forms import Header

HEAD = 2048
"""Bytes that are looked at: what is not told in them is left to the decoder."""
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
_START, _SCAN, _TABLES, _JFIF = 0xD8, 0xDA, 0xDB, 0xE0
_FRAMES = (0xC0, 0xC2)
"""Baseline and progressive."""
_PASSED = (0xC4, 0xDD, 0xFE)
"""Huffman tables, intervals of restarts, comments."""


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
            if shape or not usual or not 0 < height * width <= most:
                return None
            shape = (height, width, planes)
        elif marker not in _PASSED:
            return None
        at = end
    return None
