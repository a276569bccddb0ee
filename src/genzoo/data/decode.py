"""One careful image decoder: what a file holds, and its pixels as uint8 [C, H, W] in a wanted form.

The table of treatments stands in the package docstring.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from genzoo.data.deep import as_channels, is_deep, is_gray_with_alpha, sixteen_bits, upright

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


class Refused(Exception):
    """A file is left out; the message is the reason for the report."""


@dataclass(frozen=True)
class Form:
    """What every image of a set is brought to.

    Args:
        height: Rows.
        width: Columns.
        channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        resize: cover, fit or stretch.
        kind: colours; or numbers, which are never mixed: labels are kept as they are, instances are renumbered from 0.
        bits: 16 for uint16 of gray or RGB images.
        window: Gray values of the file that become black and white; the whole range of its type without it.
    """

    height: int
    width: int
    channels: int
    resize: str = "cover"
    kind: Literal["colours", "labels", "instances"] = "colours"
    bits: int = 8
    window: tuple[float, float] | None = None


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that are read: pictures only, none whose decoder runs another program (EPS)."""
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silence the decoder's warnings (damaged EXIF, odd palettes) around a pool of decoding threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def probe(file: BinaryIO) -> tuple[int, int, int]:
    """Height, width (after EXIF rotation) and channels (1 or 3, alpha not counted) from the header.

    Raises:
        Refused: This is no usable image.
    """
    return look(file)[0]


def look(file: BinaryIO) -> tuple[tuple[int, int, int], bool]:
    """What `probe` says, and whether there are more than 8 bits in a channel.

    Raises:
        Refused: This is no usable image.
    """
    with _reasons(file), Image.open(file, formats=formats()) as image:
        width, height = _checked_size(image)
        if _orientation(image) >= 5:
            width, height = height, width
        gray = _is_gray(image) or is_gray_with_alpha(image)
        return (height, width, 1 if gray else 3), is_deep(image)


def pixels(file: BinaryIO, form: Form, half: str = "") -> np.ndarray:
    """Decode the first frame to uint8 (or uint16) [C, H, W].

    Args:
        file: The image.
        form: What it is brought to.
        half: left or right: of two pictures side by side, this one.

    Raises:
        Refused: This is no usable image.
    """
    with _reasons(file), Image.open(file, formats=formats()) as image:
        width, height = _checked_size(image)
        if form.kind == "colours" and (form.bits == 16 or form.window is not None):
            deep = sixteen_bits(image, file)
            if deep is not None or form.channels == 3:
                return _deep_form(image, deep, form, half)
        if image.format == "JPEG" and form.window is None:
            # The decoder drops whole octaves for free; twice the wanted size is kept for the resampling filter.
            scale = 2 * max(form.height, form.width) / min(width, height)
            image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
        image.load()
        return to_form(_half(image, half) if half else image, form)


def apart(
    file: BinaryIO, channels: int, *, deep: bool = False, numbers: bool = False
) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """Decode the first frame at its own size, colours and transparency apart.

    Args:
        file: The image.
        channels: 1 gray, 3 RGB; with 2 (gray) and 4 (RGB) transparency stays among the channels.
        deep: Keep 16 bits in a channel where the file has them and `channels` is 1 or 3.
        numbers: Keep 32-bit integers and floats as they are, where `channels` is 1.

    Returns:
        uint8 [H, W, C], or uint16 where the file has 16 bits and they are kept, or int32 or float32; transparency uint8 [H, W] or None;
        the colour profile or None.

    Raises:
        Refused: This is no usable image.
    """
    with _reasons(file), Image.open(file, formats=formats()) as image:
        _checked_size(image)
        found = sixteen_bits(image, file) if deep and channels in (1, 3) else None
        image.load()
        profile, turn = image.info.get("icc_profile"), _orientation(image)
        if found is not None:
            return *as_channels(upright(found, turn), channels), profile
        image = image.transpose(_TURN[turn]) if turn in _TURN else image
        if numbers and channels == 1 and (image.mode == "F" or (image.mode == "I" and image.format != "PNG")):
            return np.asarray(image)[..., None].copy(), None, profile
        if deep and channels in (1, 3) and (image.mode == "I" or image.mode.startswith("I;16")):
            return *as_channels(_sixteen_bits(image).astype(np.uint16)[..., None], channels), profile
        plain, alpha = _eight_bits(image), None
        if channels in (1, 3) and plain.mode in ("LA", "RGBA"):
            alpha = np.asarray(plain.getchannel("A")).copy()
            plain = plain.convert("L" if plain.mode == "LA" else "RGB")
        array = np.asarray(_channels(plain, channels))
        return (array[..., None] if array.ndim == 2 else array).copy(), alpha, profile


def to_form(image: Image.Image, form: Form) -> np.ndarray:
    """Bring a decoded image to uint8 (or uint16) [C, H, W]."""
    turn = _TURN.get(_orientation(image))
    image = image.transpose(turn) if turn is not None else image
    if form.kind != "colours":
        return _numbers(image, form)
    if form.window is not None or form.bits == 16:
        return _windowed(image, form)
    image = _resize(_channels(_eight_bits(image), form.channels), form)
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _deep_form(image: Image.Image, deep: np.ndarray | None, form: Form, half: str) -> np.ndarray:
    """Bring pixels of 16 bits, or of fewer, which are spread over them, to uint16 (or uint8) [1 or 3, H, W]; alpha is composited on white."""
    image.load()
    turn = _orientation(image)
    if deep is None and (image.mode == "I" or image.mode.startswith("I;16")):
        deep = _sixteen_bits(image).astype(np.uint16)[..., None]
    if deep is None:
        array = np.asarray(_channels(_eight_bits(image), form.channels)).astype(np.uint16) * 257
        deep = array[..., None] if array.ndim == 2 else array
    colours, alpha = as_channels(upright(deep, turn), form.channels)
    low, high = form.window or (0.0, 65535.0)
    values = ((colours.astype(np.float32) - low) / (high - low)).clip(0, 1).astype(np.float32)
    if alpha is not None:
        share = alpha[..., None].astype(np.float32) / 255
        values = values * share + 1 - share
    if half:
        width = values.shape[1]
        if width % 2:
            raise Refused(f"{width}x{values.shape[0]}: two pictures side by side have an even width")
        values = values[:, : width // 2] if half == "left" else values[:, width // 2 :]
    bands = [np.asarray(_resize(Image.fromarray(np.ascontiguousarray(v)), form)) for v in values.transpose(2, 0, 1)]
    return _integers(np.stack(bands), form)


def _integers(values: np.ndarray, form: Form) -> np.ndarray:
    """Values in [0, 1] as uint8 or uint16."""
    top, dtype = (255, np.uint8) if form.bits == 8 else (65535, np.uint16)
    return np.rint(values.astype(np.float64).clip(0, 1) * top).astype(dtype)


def array_to_form(array: np.ndarray, form: Form) -> np.ndarray:
    """Bring uint8 [C, H, W] to another form."""
    if array.shape == (form.channels, form.height, form.width):
        return array
    plain = array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    return to_form(Image.fromarray(plain), form)


def _half(image: Image.Image, half: str) -> Image.Image:
    """One of two pictures that stand side by side."""
    turn = _TURN.get(_orientation(image))
    image = image.transpose(turn) if turn is not None else image
    width, height = image.size
    if width % 2:
        raise Refused(f"{width}x{height}: two pictures side by side have an even width")
    cut = image.crop((0, 0, width // 2, height) if half == "left" else (width // 2, 0, width, height))
    cut.info = {}  # the crop is upright already
    return cut


def _numbers(image: Image.Image, form: Form) -> np.ndarray:
    """Numbers of classes or instances, uint8 [1, H, W]: palette indices, gray values, or one number for each colour."""
    if image.mode in ("P", "L", "1", "I") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int32)
    elif form.kind == "instances" and image.mode in ("RGB", "RGBA"):
        r, g, b = (np.asarray(image.getchannel(c)).astype(np.int32) for c in "RGB")
        values = r << 16 | g << 8 | b
    else:
        raise Refused(f"a map of labels has one channel of numbers; this image is {image.mode}")
    values = np.asarray(_resize(Image.fromarray(values), form, Image.Resampling.NEAREST))
    if form.kind == "instances":
        values = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    if values.min() < 0 or values.max() > 255:
        what = "instances" if form.kind == "instances" else "a class above 255"
        raise Refused(f"more than 256 {what}" if form.kind == "instances" else what)
    return values.astype(np.uint8)[None]


def _windowed(image: Image.Image, form: Form) -> np.ndarray:
    """Gray values between the ends of the window as uint8 or uint16 [1, H, W]."""
    if image.mode == "F" and form.window is None:
        raise Refused("32-bit float pixels have no stated range; give gray_window=")
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        values, whole = np.asarray(image).astype(np.float32), (0.0, 65535.0)
    else:
        values, whole = np.asarray(_channels(_eight_bits(image), 1)).astype(np.float32), (0.0, 255.0)
    low, high = form.window or whole
    scaled = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return _integers(np.asarray(_resize(Image.fromarray(scaled), form)), form)[None]


@contextmanager
def _reasons(file: BinaryIO) -> Iterator[None]:
    """Turn whatever a decoder throws at a hostile file into one reason."""
    try:
        yield
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(_what_is_it(file)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(f"more than {MAX_PIXELS // 1_000_000} megapixels") from None
    except MemoryError:
        raise Refused("does not fit into memory") from None
    except Exception as error:  # decoders throw SyntaxError, struct.error, IndexError, zlib.error ...
        text = str(error).split("\n", 1)[0][:120]
        reason = "truncated" if "truncated" in text.lower() else f"damaged: {text or type(error).__name__}"
        raise Refused(reason) from None


def _what_is_it(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(512)
    if not head:
        return "empty file"
    if all(b >= 32 or b in (9, 10, 12, 13) for b in head) and _is_text(head):
        return "text, not an image"
    return "not an image of a known format"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character cut at the end of the excerpt
    return True


def _checked_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Refused(f"{width}x{height}: more than {MAX_PIXELS / 1e6:g} megapixels")
    if width < 1 or height < 1:
        raise Refused("no pixels")
    return width, height


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the EXIF block is damaged."""
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """To one of L, LA, RGB, RGBA; transparency of any kind becomes an alpha channel."""
    mode = image.mode
    if mode == "F":
        raise Refused("32-bit float pixels have no stated range; give gray_window=, or save with 8 or 16 bits")
    if mode == "I" or mode.startswith("I;16"):
        return Image.fromarray(((_sixteen_bits(image) + 128) // 257).astype(np.uint8))
    if mode in ("LA", "RGBA"):
        return image
    see_through = image.has_transparency_data
    if mode in ("1", "L"):
        return image.convert("LA" if see_through else "L")
    return image.convert("RGBA" if see_through else "RGB")


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    """The pixels of an image of 16 bits per gray pixel, int64 [H, W] in 0..65535."""
    deep = np.asarray(image).astype(np.int64)
    if deep.min() < 0 or deep.max() > 65535:
        raise Refused("32-bit integer pixels outside 0..65535; save with 8 or 16 bits")
    return deep


def _channels(image: Image.Image, channels: int) -> Image.Image:
    if channels in (1, 3) and image.mode in ("LA", "RGBA"):
        white = Image.new(image.mode, image.size, (255,) * len(image.getbands()))
        image = Image.alpha_composite(white, image)
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels])


def _resize(image: Image.Image, form: Form, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    w, h = image.size
    target = (form.width, form.height)
    if (w, h) == target:
        return image
    box = (0.0, 0.0, float(w), float(h))
    if form.resize == "cover":
        scale = max(form.width / w, form.height / h)
        bw, bh = min(form.width / scale, w), min(form.height / scale, h)
        box = ((w - bw) / 2, (h - bh) / 2, (w + bw) / 2, (h + bh) / 2)
    if form.resize != "fit":
        return image.resize(target, resample, box=box)
    scale = min(form.width / w, form.height / h)
    inner = (max(1, round(w * scale)), max(1, round(h * scale)))
    bands = len(image.getbands())
    clear = (255,) * (bands - 1) + (0,) if bands in (2, 4) else 255 if bands == 1 else (255,) * bands
    if image.mode in ("I", "F"):
        clear = 0 if image.mode == "I" else 1.0  # numbers from 0; windowed values up to 1
    canvas = Image.new(image.mode, target, clear)
    small = image.resize(inner, resample)
    canvas.paste(small, ((form.width - inner[0]) // 2, (form.height - inner[1]) // 2))
    return canvas
