"""A still picture in a file, whatever it is in: an image format, or an array (.npy) of one image.

| array | read as |
|---|---|
| [H, W] | gray |
| [H, W, C], C 1 to 4 | gray, gray and alpha, RGB, RGB and alpha |
| [C, H, W], C 1 to 4 | the same; where both could be meant, the last side is the channels if it is 1, 3 or 4 |
| [1, ...] of these | the one in it |

Which value is black and which is white is read off all arrays together, see `genzoo.data.decode.ranges`.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode import images as decode
from genzoo.data.decode import npy, ranges
from genzoo.data.decode.forms import Header, ImageFormat, Rejected
from genzoo.data.decode.reasons import in_words


def look(file: BinaryIO, name: str = "", *, most: int | None = None) -> Header:
    """Read the header of a picture or of an array file; see `images.look`.

    Raises:
        Rejected: This is no usable image.
    """
    if not is_array(file):
        return decode.look(file, name, most=most)
    shape, dtype = _head(file)
    channels, height, width = _planes(shape)[1]
    if height * width > (most or decode.MAX_PIXELS):
        raise Rejected(f"{width}x{height}: more than {(most or decode.MAX_PIXELS) / 1e6:g} megapixels")
    return Header((height, width, 1 if channels < 3 else 3), ranges.kind_of(dtype), deep=dtype.itemsize > 1)


def extent(file: BinaryIO, half: str = "", *, most: int | None = None) -> ranges.Ends | None:
    """Return the least and the largest value of a picture or of an array file; see `images.extent`."""
    return ranges.extent(_half(array(file), half)) if is_array(file) else decode.extent(file, half, most=most)


def alone(
    file: BinaryIO, header: Header, *, most: int | None = None
) -> tuple[tuple[tuple[str, ranges.Ends], ...], list[str]]:
    """Choose black and white of one picture, where no set says them, and say what has to be said of that: see `ranges.decide`."""
    found = extent(file, most=most)
    ends, notes = ranges.ends_of(header.kind, *found) if found and header.kind != "reals" else (None, "")
    return ((header.kind, ends),) if ends else (), [notes] if notes else []


def pixels(
    file: BinaryIO, form: ImageFormat, half: str = "", holes: list[int] | None = None, *, most: int | None = None
) -> np.ndarray:
    """Bring the picture to a form, uint8 or uint16 [C, H, W]; see `decode.pixels`."""
    if not is_array(file):
        return decode.pixels(file, form, half, holes, most=most) if most else decode.pixels(file, form, half, holes)
    return decode.array_to_form(_half(array(file), half), form, holes)


def array(file: BinaryIO) -> np.ndarray:
    """Read the picture of an array file, [C, H, W] as it is stored.

    Raises:
        Rejected: It is damaged, or no picture.
    """
    _planes(_head(file)[0])
    file.seek(0)
    try:
        values = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # a reader of arrays throws what a decoder does
        raise Rejected(in_words(error)) from None
    order, shape = _planes(values.shape)
    return np.ascontiguousarray(values.reshape(values.shape[-len(order) :]).transpose(order)).reshape(shape)


def is_array(file: BinaryIO) -> bool:
    """Tell whether a file is an array file."""
    file.seek(0)
    found = file.read(6) == b"\x93NUMPY"
    file.seek(0)
    return found


def _head(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    start = file.seek(0)
    size = file.seek(0, 2)
    file.seek(start)
    try:
        shape, dtype = npy.check_header(file, size, "the array")
    except UserError as error:
        raise Rejected(str(error)) from None
    except Exception as error:
        raise Rejected(in_words(error)) from None
    if dtype.kind not in "uifb":
        raise Rejected(f"an array of {dtype}; pixels are numbers")
    return shape, dtype


def _planes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """Return the order that an array's sides are brought to, and its channels, height and width.

    Raises:
        Rejected: No picture has this shape.
    """
    sides = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
    if len(sides) in (2, 3) and 0 not in sides:
        if len(sides) == 2:
            return (0, 1), (1, *sides)
        order = (2, 0, 1) if npy.channels_last(sides) else (0, 1, 2)
        planes = (sides[order[0]], sides[order[1]], sides[order[2]])
        if 1 <= planes[0] <= 4:
            return order, planes
    said = "x".join(map(str, shape)) or "()"
    raise Rejected(f"an array of {said} is no picture; one file holds [H,W], [H,W,C] or [C,H,W] with 1 to 4 channels")


def _half(values: np.ndarray, half: str) -> np.ndarray:
    width = values.shape[2]
    if half and width % 2:
        raise Rejected(f"{width}x{values.shape[1]}: two pictures side by side have an even width")
    return values if not half else values[..., : width // 2] if half == "left" else values[..., width // 2 :]
