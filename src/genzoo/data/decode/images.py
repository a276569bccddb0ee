"""One careful image decoder: what a file holds, and its pixels as uint8 [C, H, W] in a wanted form.

The table of treatments stands in the package docstring.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from genzoo.data import formats as naming
from genzoo.data.decode import jpeg, ranges
from genzoo.data.decode.deep import (
    STORED,
    as_channels,
    is_deep,
    is_gray_with_alpha,
    kind_of,
    remember,
    sixteen_bits,
    stored,
    top,
    upright,
)
from genzoo.data.decode.forms import Header, ImageFormat, Rejected, finite, integers, resized, shares_to_form
from genzoo.data.decode.reasons import in_words

MAX_PIXELS = 64_000_000
"""Larger images are refused before a pixel is decoded."""

_FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GRAY = ("1", "L", "LA", "La", "I", "F")
_ORIENTATION = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


@functools.cache
def formats() -> tuple[str, ...]:
    """Name the formats that are read: pictures only, none whose decoder runs another program (EPS)."""
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silence the decoder's warnings (damaged EXIF, odd palettes) around a pool of decoding threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def probe(file: BinaryIO, name: str = "") -> tuple[int, int, int]:
    """Read height, width (after EXIF rotation) and channels (1 or 3, alpha not counted) from the header.

    Raises:
        Rejected: This is no usable image.
    """
    return look(file, name).shape


def look(file: BinaryIO, name: str = "", *, most: int | None = None) -> Header:
    """Read an image's header: its size and how its pixels are stored.

    Args:
        file: The image.
        name: Its name, for files whose ending says what they are.
        most: Pixels above which it is refused; `MAX_PIXELS` where not given.

    Raises:
        Rejected: This is no usable image.
    """
    if name.lower().endswith(jpeg.ENDINGS) and (usual := jpeg.plain(file, most or MAX_PIXELS)):
        return usual
    with _opened(file, name, most) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        gray, deep = _is_gray(image) or is_gray_with_alpha(image), is_deep(image)
        return Header((height, width, 1 if gray else 3), kind_of(image), _pages(image), deep)  # counting pages moves on


def pixels(
    file: BinaryIO, form: ImageFormat, half: str = "", holes: list[int] | None = None, *, most: int | None = None
) -> np.ndarray:
    """Decode the first frame to uint8 (or uint16) [C, H, W].

    Args:
        file: The image.
        form: What it is brought to.
        half: left or right: of two pictures side by side, this one.
        holes: Gets the number of pixels that are no finite number and were filled.
        most: Pixels above which it is refused; `MAX_PIXELS` where not given.

    Raises:
        Rejected: This is no usable image.
    """
    if not half and most is None and (usual := jpeg.pixels(file, form, MAX_PIXELS)) is not None:
        return usual
    with _opened(file, most=most) as image:
        masks = kind_of(image) == "uint16" and form.of("uint16") != ranges.BITS_16
        if form.kind == "colours" and (form.bits == 16 or masks or form.window is not None):
            deep = sixteen_bits(image, file)
            if deep is not None or form.channels == 3:
                return _deep_form(image, deep, form, half)
        if image.format == "JPEG" and form.window is None:
            jpeg.drafted(image, form)
        image.load()
        return to_form(_half(image, half) if half else image, form, holes)


def extent(file: BinaryIO, half: str = "", *, most: int | None = None) -> ranges.Ends | None:
    """Return the least and the largest value of the colours of the first frame, as they are stored; None where none is finite.

    Raises:
        Rejected: This is no usable image.
    """
    with _opened(file, most=most) as image:
        deep = sixteen_bits(image, file)
        if deep is not None and not half:
            return ranges.extent(deep[..., : 1 if deep.shape[2] < 3 else 3])
        image.load()
        image = _half(image, half) if half else image
        if image.mode == "1":
            return ranges.WHOLE["bool"]
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            values = stored(image)
            scale = ranges.BITS_16[1] / top(image) if kind_of(image) == "uint16" else 1
            found = ranges.extent(values)
            return found and (found[0] * scale, found[1] * scale)
        plain = _eight_bits(image)
        bands = [plain.getchannel(b).getextrema() for b in plain.getbands() if b != "A"]
        return float(min(b[0] for b in bands)), float(max(b[1] for b in bands))  # type: ignore[arg-type]


def apart(
    file: BinaryIO,
    channels: int,
    *,
    deep: bool = False,
    numbers: bool = False,
    most: int | None = None,
    holes: list[int] | None = None,
) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """Decode the first frame at its own size, colours and transparency apart.

    Args:
        file: The image.
        channels: 1 gray, 3 RGB; with 2 (gray) and 4 (RGB) transparency stays among the channels.
        deep: Keep 16 bits in a channel where the file has them and `channels` is 1 or 3.
        numbers: Keep 32-bit integers and floats as they are, where `channels` is 1; 16-bit gray values too.
        most: Pixels above which it is refused; `MAX_PIXELS` where not given.
        holes: Gets the number of pixels that are no finite number and were filled.

    Returns:
        uint8 [H, W, C], or uint16 where the file has 16 bits and they are kept, or int32 or float32; transparency uint8 [H, W] or None;
        the colour profile or None.

    Raises:
        Rejected: This is no usable image.
    """
    with _opened(file, most=most) as image:
        found = sixteen_bits(image, file) if deep and channels in (1, 3) else None
        image.load()
        profile, turn = image.info.get("icc_profile"), _orientation(image)
        if found is not None:
            return *as_channels(upright(found, turn), channels), profile
        image = image.transpose(_TURN[turn]) if turn in _TURN else image
        if numbers and channels == 1 and (image.mode in ("I", "F") or image.mode.startswith("I;16")):
            return finite(stored(image), holes)[..., None], None, profile
        if deep and channels in (1, 3) and (image.mode == "I" or image.mode.startswith("I;16")):
            return *as_channels(_sixteen_bits(image)[..., None], channels), profile
        plain, alpha = _eight_bits(image), None
        if channels in (1, 3) and plain.mode in ("LA", "RGBA"):
            alpha = np.asarray(plain.getchannel("A")).copy()
            plain = plain.convert("L" if plain.mode == "LA" else "RGB")
        array = np.asarray(_channels(plain, channels))
        return (array[..., None] if array.ndim == 2 else array).copy(), alpha, profile


def to_form(image: Image.Image, form: ImageFormat, holes: list[int] | None = None) -> np.ndarray:
    """Bring a decoded image to uint8 (or uint16) [C, H, W]; `holes` gets the number of pixels that were filled."""
    turn = _TURN.get(_orientation(image))
    image = image.transpose(turn) if turn is not None else image
    if form.kind != "colours":
        return _numbers(image, form)
    if form.window is not None or form.bits == 16:
        return _windowed(image, form, holes)
    image = resized(_channels(_eight_bits(image, form), form.channels), form)
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _deep_form(image: Image.Image, deep: np.ndarray | None, form: ImageFormat, half: str) -> np.ndarray:
    """Bring pixels of 16 bits, or of fewer, which are spread over them, to uint16 (or uint8) [1 or 3, H, W]; alpha is composited on white."""
    image.load()
    turn, ends = _orientation(image), form.of("uint16")
    if deep is None and (image.mode == "I" or image.mode.startswith("I;16")):
        deep = _sixteen_bits(image)[..., None]
    if deep is None:
        array = np.asarray(_channels(_eight_bits(image, form), form.channels)).astype(np.uint16) * 257
        deep, ends = array[..., None] if array.ndim == 2 else array, form.window
    colours, alpha = as_channels(upright(deep, turn), form.channels)
    return shares_to_form(ranges.shares(colours, ends or ranges.BITS_16), alpha, form, half)


def array_to_form(array: np.ndarray, form: ImageFormat, holes: list[int] | None = None) -> np.ndarray:
    """Bring an image [C, H, W] of any type of numbers to a form.

    Raises:
        Rejected: Its black and white are not known, or it has too many pixels that are no number.
    """
    kind = ranges.kind_of(array.dtype)
    if form.kind != "colours":
        if kind == "float":
            raise Rejected("numbers of classes or instances are whole numbers; these are floats")
        plain = array if kind == "uint8" else array.astype(np.int32)
        return to_form(
            Image.fromarray(plain[0] if len(plain) == 1 else np.ascontiguousarray(plain.transpose(1, 2, 0))), form
        )
    array, ends = finite(array, holes), form.of(kind)
    if ends is None or (kind == "whole" and not form.window and (array.min() < 0 or array.max() > ranges.BITS_16[1])):
        raise Rejected(ranges.unstated(array, kind))
    if form.bits == 16 or form.window is not None:
        values = ranges.shares(array, ends).transpose(1, 2, 0)
        alpha = np.rint(values[..., -1] * 255).astype(np.uint8) if values.shape[2] in (2, 4) else None
        colours = values[..., : 1 if values.shape[2] < 3 else 3]
        if form.channels == 1 and colours.shape[2] == 3:
            colours = (colours @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        return shares_to_form(np.broadcast_to(colours, (*colours.shape[:2], form.channels)), alpha, form)
    array = ranges.levels(array, ends)
    if array.shape == (form.channels, form.height, form.width):
        return array
    return to_form(
        Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))), form
    )


def _half(image: Image.Image, half: str) -> Image.Image:
    """Cut out one of two pictures that stand side by side."""
    turn = _TURN.get(_orientation(image))
    image = image.transpose(turn) if turn is not None else image
    width, height = image.size
    if width % 2:
        raise Rejected(f"{width}x{height}: two pictures side by side have an even width")
    cut = image.crop((0, 0, width // 2, height) if half == "left" else (width // 2, 0, width, height))
    cut.info = {k: v for k, v in cut.info.items() if k == STORED}  # the crop is upright already
    return cut


def _numbers(image: Image.Image, form: ImageFormat) -> np.ndarray:
    """Read numbers of classes or instances, uint8 [1, H, W]: palette indices, gray values, or one number for each colour."""
    if image.mode in ("P", "L", "1", "I") or image.mode.startswith("I;16"):
        values: np.ndarray = np.asarray(image).astype(np.int32)
    elif form.kind == "instances" and image.mode in ("RGB", "RGBA"):
        r, g, b = (np.asarray(image.getchannel(c)).astype(np.int32) for c in "RGB")
        values = r << 16 | g << 8 | b
    else:
        raise Rejected(
            f"a map of labels has one channel of numbers; this image is {image.mode}: leave label_maps= out to learn from its colours, or write one "
            "gray number for each class"
        )
    values = np.asarray(resized(Image.fromarray(values), form, Image.Resampling.NEAREST))
    if form.kind == "instances":
        values = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    if values.min() < 0 or values.max() > 255:
        what = "instances" if form.kind == "instances" else "a class above 255"
        raise Rejected(f"more than 256 {what}" if form.kind == "instances" else what)
    return values.astype(np.uint8)[None]


def _windowed(image: Image.Image, form: ImageFormat, holes: list[int] | None) -> np.ndarray:
    """Bring the gray values between the ends of the window to uint8 or uint16 [1, H, W]."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        # A file's own values are what a window counts; without one, its types are brought to 16 bits first.
        if image.mode == "F" and not form.window:
            raise Rejected(ranges.unstated(np.asarray(image), "reals"))
        values = finite(stored(image), holes) if form.window else _sixteen_bits(image)
        ends = form.of(kind_of(image)) or ranges.BITS_16
    else:
        values = np.asarray(_channels(_eight_bits(image, form), 1))
        ends = form.window or ranges.BITS_8
    return integers(np.asarray(resized(Image.fromarray(ranges.shares(values, ends)), form)), form)[None]


@contextmanager
def _opened(file: BinaryIO, name: str = "", most: int | None = None) -> Iterator[Image.Image]:
    """Open an image of no more than `most` pixels without decoding it; whatever goes wrong with it is raised as Rejected."""
    limit = Image.MAX_IMAGE_PIXELS
    if most:
        Image.MAX_IMAGE_PIXELS = None  # ours holds
    try:
        with _reasons(file, name):
            if name and naming.is_raw(file, name):
                raise Rejected(naming.refused(file, name))
            file.seek(0)
            with Image.open(file, formats=formats()) as image:
                _checked_size(image, most)
                remember(image)
                yield image
    finally:
        if most:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _reasons(file: BinaryIO, name: str = "") -> Iterator[None]:
    """Turn whatever a decoder throws at a hostile file into one reason."""
    try:
        yield
    except Rejected:
        raise
    except UnidentifiedImageError:
        raise Rejected(naming.refused(file, name)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Rejected(f"more than {MAX_PIXELS // 1_000_000} megapixels") from None
    except Exception as error:  # decoders throw SyntaxError, struct.error, IndexError, zlib.error ...
        raise Rejected(in_words(error)) from None


def _checked_size(image: Image.Image, most: int | None = None) -> tuple[int, int]:
    width, height = image.size
    most = most or MAX_PIXELS
    if width * height > most:
        raise Rejected(f"{width}x{height}: more than {most / 1e6:g} megapixels")
    if width < 1 or height < 1:
        raise Rejected("no pixels")
    return width, height


def _pages(image: Image.Image) -> int:
    """Count the pages or frames of a file, 1 where counting them fails: what is damaged behind the first is not looked at."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 1


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 where there is none or the EXIF block is damaged."""
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, and gives the size that they have then
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # asking further would decode the whole file
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged block costs the rotation, not the picture
        return 1
    return value if value in _TURN else 1


def _is_gray(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GRAY or image.mode.startswith("I;16")


def _eight_bits(image: Image.Image, form: ImageFormat | None = None) -> Image.Image:
    """Convert an image to one of L, LA, RGB, RGBA; transparency of any kind becomes an alpha channel, and of masks 1 becomes white."""
    mode = image.mode
    if mode == "F":
        raise Rejected(ranges.unstated(np.asarray(image), "reals"))
    if mode == "I" or mode.startswith("I;16"):
        ends = (form and form.of(kind_of(image))) or ranges.BITS_16
        # What has 12 bits is spread over 16 first; integers of other types count as they are.
        return Image.fromarray(ranges.levels(_sixteen_bits(image), ends))
    plain = image
    see_through = image.has_transparency_data
    if mode == "1" or (mode == "L" and see_through):
        plain = image.convert("LA" if see_through else "L")
    elif (see_through and mode not in ("LA", "RGBA")) or mode not in ("L", "RGB", "LA", "RGBA"):
        plain = image.convert("RGBA" if see_through else "RGB")
    if form is None or mode == "1" or form.window or form.of("uint8") == ranges.BITS_8:
        return plain
    bands = [
        b if name == "A" else b.point([0] + [255] * 255)
        for name, b in zip(plain.getbands(), plain.split(), strict=True)
    ]
    return Image.merge(plain.mode, bands)


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    """Return the pixels of an image of up to 16 bits per gray pixel, uint16 [H, W]: fewer bits are spread over the range."""
    values = stored(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise Rejected(ranges.unstated(values, "whole"))
    if top(image) < 65535:
        return np.rint(values.astype(np.float64) * (65535 / top(image))).astype(np.uint16)
    return values.astype(np.uint16)


def _channels(image: Image.Image, channels: int) -> Image.Image:
    if channels in (1, 3) and image.mode in ("LA", "RGBA"):
        white = Image.new(image.mode, image.size, (255,) * len(image.getbands()))
        image = Image.alpha_composite(white, image)
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels])
