"""Image files in and out for the commands that change them: translate, upscale, colorize, complete.

What becomes of what an image file holds beside its colours:

| in the file | in the result |
|---|---|
| EXIF orientation | applied: the result is upright |
| transparency | kept, brought to the result's size; the colours below it are changed like all others |
| 16 bits in a channel | 16 bits: gray or RGB, as the system gives it; its transparency has 8 bits, and is written with 16 |
| 32-bit integers (CT numbers), floats | the same, as TIFF, from a system that was trained with `gray_window=`; else as 16 bits or refused |
| colour profile | not applied, but written into a result that has as many colours as the file |
| EXIF and other data | not kept: they are of the photograph, not of what a model made of it |
| pages, frames | the first, and it is said |
| arrays (.npy) of one image | read by the rules of `genzoo.data`, written as PNG |
| anything, where .jpg or .webp is asked for | 8 bits; WebP keeps transparency, JPEG has none: what has no room in it is refused |
| pixels of 0 and 1 only | a mask: 1 is white, and it is said |

An image is decoded whole, and its result is held whole until it is written; what goes through networks in tiles needs no more than that.
Pictures of up to `MEGAPIXELS` are read where the memory has room for both, which is looked at before a pixel is decoded.
"""

from __future__ import annotations

import glob
import io
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from genzoo.core.errors import DiskFull, UserError, nearest
from genzoo.core.files import write_atomic
from genzoo.data.decode import images as decode
from genzoo.data.decode import stills
from genzoo.data.decode.forms import Header, ImageFormat, Rejected
from genzoo.data.drawing import FILMS
from genzoo.data.drawing.clips import PER_SECOND
from genzoo.data.drawing.files import save_film
from genzoo.data.drawing.images import encoded
from genzoo.data.formats import unusable
from genzoo.data.progress import bar
from genzoo.saved.devices import free_memory
from genzoo.use.common import films
from genzoo.use.common.images import image_files
from genzoo.use.common.outputs import free

MEGAPIXELS = 1000.0
"""Largest image that is read where nothing is set; data to train on have a limit of their own, `decode.MAX_PIXELS`."""


@dataclass(frozen=True)
class Photo:
    """An image as commands change it.

    Args:
        pixels: uint8 or uint16 [H, W, C], C 1 (gray) or 3; 4 where a system works on transparency itself; int32 or float32 with C 1.
        alpha: Transparency, uint8 [H, W]; None where there is none.
        profile: ICC colour profile; None where there is none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None


def read_photo(
    path: str | os.PathLike[str],
    channels: int,
    *,
    deep: bool = True,
    numbers: bool = False,
    values: bool = False,
    megapixels: float = MEGAPIXELS,
    scale: int = 1,
) -> Photo:
    """Read an image at its own size, upright.

    Args:
        path: The file.
        channels: 1 gray, 3 RGB; transparency is set aside. 2 and 4 keep it among the pixels.
        deep: Keep 16 bits in a channel.
        numbers: It is a map of classes: gray values or places in the palette, and no colours.
        values: Keep 32-bit integers and floats as they are, where `channels` is 1.
        megapixels: Largest image that is read.
        scale: How many times larger its result will be, for the room that both need.

    Raises:
        UserError: There is no such file, it is no image, it is too large, or there is no room for it; the message says why.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    most, holes, notes = round(megapixels * 1e6), list[int](), list[str]()
    try:
        with open(path, "rb") as file, decode.quiet_decoding():
            header = stills.look(file, path.name, most=most)
            _room(path, header, channels, scale)
            height, width = header.shape[:2]
            if header.pages > 1:
                _say(path, f"holds {header.pages} pages or frames; the first is used")
            file.seek(0)
            if numbers or stills.is_array(file):
                kind: Literal["labels", "colours"] = "labels" if numbers else "colours"
                ends, notes = ((), []) if numbers else stills.alone(file, header, most=most)
                form = ImageFormat(height, width, 1 if numbers else channels, kind=kind, ends=ends)
                found = stills.pixels(file, form, "", holes, most=most)
                photo = Photo(np.ascontiguousarray(found.transpose(1, 2, 0)))
            else:
                photo = Photo(*decode.apart(file, channels, deep=deep, numbers=values, most=most, holes=holes))
                if not values and channels in (1, 3) and photo.pixels.max() == 1:
                    notes.append("pixels are 0 and 1 only and taken as a mask, 1 as white")
                    photo = replace(photo, pixels=photo.pixels * np.iinfo(photo.pixels.dtype).max)
    except Rejected as reason:
        more = "; megapixels= reads larger ones" if "megapixels" in str(reason) else ""
        raise UserError(unusable(str(path), f"{reason}{more}")) from None
    if holes:
        notes.append(
            f"{sum(holes):,} pixels are no finite numbers (no data): they have the value of the nearest pixels that are"
        )
    for note in notes:
        _say(path, note)
    return photo


def _say(path: Path, note: str) -> None:
    print(f"'{path}': {note}", file=sys.stderr)


def _room(path: Path, header: Header, channels: int, scale: int) -> None:
    """Refuse an image for which, and for its result, memory has no room: the decoder's copy, ours, the result, and the writer's copy."""
    height, width, _ = header.shape
    size = 2 if header.deep else 1
    library = 4 if channels > 1 else 1  # bytes that Pillow keeps for a pixel of 8 bits
    reading, writing = library + 2 * channels, channels + scale**2 * (3 + 4)  # a result may have colours
    need = height * width * size * max(reading, writing)
    free = free_memory()
    if need > MANY and free is not None and need > free:
        raise UserError(
            f"'{path}' is {width}x{height}: it and its result need about {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
            "cut it into parts first"
        )


MANY = 2**29
"""Bytes below which nobody looks whether there is room."""


SMALLER = (".jpg", ".jpeg", ".webp")
"""Endings of results in fewer bytes, which hold less."""


def save_photo(path: str | os.PathLike[str], photo: Photo) -> Path:
    """Write a PNG with 8 or 16 bits, a TIFF with 32, or with such an ending a JPEG or WebP, whole or not at all.

    Transparency is brought to the size of the pixels.

    Raises:
        UserError: It has more bits, or transparency, than a file of this ending has room for.
    """
    path, pixels = Path(path), photo.pixels
    height, width, channels = pixels.shape
    smaller = path.suffix.lower() in SMALLER
    if smaller and pixels.dtype != np.uint8:
        bits, fit = 8 * pixels.dtype.itemsize, suffix_of(photo)
        raise UserError(
            f"{path} cannot be written: the result has {bits} bits in a channel, and such a file 8; give {fit}, or a folder"
        )
    if suffix_of(photo) == ".tif":
        buffer = io.BytesIO()
        Image.fromarray(pixels[..., 0]).save(buffer, "TIFF", compression="tiff_adobe_deflate")
        return write_atomic(path, buffer.getvalue())
    alpha = Image.fromarray(photo.alpha) if photo.alpha is not None and channels in (1, 3) else None
    if alpha is not None and alpha.size != (width, height):
        alpha = alpha.resize((width, height), Image.Resampling.BICUBIC)
    if pixels.dtype == np.uint16 and (channels > 1 or alpha is not None):
        if alpha is not None:
            pixels = np.concatenate([pixels, np.asarray(alpha, np.uint16)[..., None] * np.uint16(257)], 2)
        return write_atomic(path, _png_of_16_bits(pixels, photo.profile))
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    if alpha is not None:
        image.putalpha(alpha)
    more = {"icc_profile": photo.profile} if photo.profile else {}
    if smaller:
        return write_atomic(path, encoded(image, path, **more))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **more)
    return write_atomic(path, buffer.getvalue())


def suffix_of(photo: Photo) -> str:
    """Return the ending of the file that can hold all that a photo has: .png, or .tif for what PNG has no room for."""
    return ".tif" if photo.pixels.dtype in (np.int32, np.float32) else ".png"


_BAND = 256
"""Rows that are packed together."""


def _png_of_16_bits(pixels: np.ndarray, profile: bytes | None) -> bytes:
    """Write a PNG of uint16 [H, W, C], C 1 to 4, which Pillow writes for gray alone."""
    height, width, channels = pixels.shape
    packer, packed = zlib.compressobj(), []
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, _BAND):
        rows = np.ascontiguousarray(pixels[start : start + _BAND], ">u2").view(np.uint8).reshape(-1, above.shape[1])
        changes = np.diff(rows, axis=0, prepend=above)  # filter 2: up
        packed.append(packer.compress(np.concatenate([np.full((len(rows), 1), 2, np.uint8), changes], 1).tobytes()))
        above = rows[-1:]
    packed.append(packer.flush())
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    parts += [(b"iCCP", b"profile\0\0" + zlib.compress(profile))] if profile else []
    parts += [(b"IDAT", b"".join(packed)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def change_photo(photo: Photo, change: Callable[[np.ndarray], np.ndarray]) -> Photo:
    """Change the pixels and keep what can be kept of the rest."""
    pixels = change(photo.pixels)
    profile = photo.profile if pixels.shape[2] == photo.pixels.shape[2] else None
    return replace(photo, pixels=pixels, profile=profile)


def gathered(images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """List files, each with its path below where it was looked for; those of one folder in the order that the numbers in their names count.

    Args:
        images: A file, a folder that is searched recursively, a pattern ("photos/*.jpg", "**/*.png"), or several of them.

    Raises:
        UserError: There is no such file or folder, or nothing fits a pattern.
    """
    found: list[tuple[Path, Path]] = []
    for each in [images] if isinstance(images, (str, os.PathLike)) else images:
        place = Path(each).expanduser()
        if place.exists() or not glob.has_magic(str(place)):
            found += sorted(image_files(place), key=lambda pair: counting(pair[1]))
            continue
        fitting = sorted(map(Path, glob.glob(str(place), recursive=True)), key=counting)
        files = [(file, Path(file.name)) for file in fitting if file.is_file()]
        if not files:
            raise UserError(f"no file fits '{each}'")
        found += files
    return list(dict.fromkeys(found))


def counting(path: Path) -> list[tuple[bool, int | str]]:
    """Return a key by which frame-2 stands before frame-10.

    >>> sorted([Path("f10.png"), Path("f2.png"), Path("a/f3.png")], key=counting)[-1].name
    'f10.png'
    """
    return [
        (not part.isdigit(), int(part) if part.isdigit() else part)
        for part in re.split(r"(\d+)", path.as_posix())
        if part
    ]


def change_files(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: Path,
    change: Callable[[Path], Photo],
    *,
    frame: Callable[[Photo, Path], Photo] | None = None,
    channels: int = 3,
    overwrite: bool = False,
    word: str = "images",
    quiet: bool = False,
    per_second: float | None = None,
) -> list[Path]:
    """Write what `change` makes of every image file below `out`, under its name with .png (or .tif); say what was left out on stderr.

    An original is never replaced, whatever is asked: its result is then NAME-2.png.

    Args:
        images: As in `gathered`.
        out: Folder where results go, in the same subfolders; `FOLDER/*.jpg` (or .webp) for results of this ending; of a single image a name that
            ends in .png, .tif, .jpg or .webp; of several of one size, frames, or of a single video the name of a film: .mp4 or .gif.
        change: From a file to the picture; raises a UserError for a file that it cannot use.
        frame: From a frame of a video, and the video, to the picture; a video becomes NAME.mp4, or with `FOLDER/*.png` a folder NAME of
            frames. Videos are no images when not given.
        channels: Channels of the frames of videos.
        overwrite: Replace results of an earlier call.
        word: What the progress bar says is being done.
        quiet: Show no progress.
        per_second: Frames of a film in a second; of a video its own when not given.

    Raises:
        UserError: There is no file, none of them can be used, or `out` cannot be written. Of a single file, why it cannot be used.
    """
    ending, files = out.suffix.lower(), gathered(images)
    known = (".png", ".tif", *SMALLER)
    many = out.stem == "*" and ending in (*known, ".mp4")
    film = ending in FILMS and out.stem != "*" and not out.is_dir()
    videos = {file for file, _ in files if frame is not None and films.is_film(file)}
    if ending in (".tiff", ".bmp") and not out.is_dir():
        raise UserError(f"out={out} cannot be written; give a name that ends in .png, .jpg or .webp, or a folder")
    named = ending in known and not many and not out.is_dir()
    if not (many or film or out.is_dir()) and (len(files) > 1 or not named) and (out.is_file() or named):
        raise UserError(
            f"out={out} {'is a file' if out.is_file() else 'names one file'}; give a folder for the results of several"
        )
    if videos and film and len(files) > 1:
        raise UserError(f"out={out} names one film, and there are {len(files)} files, videos among them; give a folder")
    if videos and named:
        raise UserError(
            f"out={out} is a picture, and {next(iter(videos))} a video; give .mp4, a folder, or FOLDER/*{ending} for its frames"
        )
    folder, asked = (out.parent, ending) if many else (out, "")
    originals = {file.resolve() for file, _ in files}
    done, pictures = list[Path](), list[np.ndarray]()

    def place(path: Path) -> Path:
        return free(path, overwrite=overwrite and path.resolve() not in originals)

    total = sum(films.length(file) if file in videos else 1 for file, _ in files)
    with bar(total, word, quiet, "frames" if videos else "images") as advance:
        for file, name in files:
            try:
                if file in videos:
                    assert frame is not None
                    path = place(out if film else folder / name.with_suffix("" if asked in known else ".mp4"))
                    if not film and asked in known:
                        done += _frames_of(file, path, asked, channels, frame, advance)
                    else:
                        done.append(_film_of(file, path, channels, frame, per_second, advance))
                    continue
                photo = change(file)
                advance(1)
                if film:
                    pictures.append(_frame(file, photo, pictures[0].shape if pictures else None))
                    continue
                path = out if named else folder / name.with_suffix(asked if asked in known else suffix_of(photo))
                if path.suffix.lower() not in (suffix_of(photo), *SMALLER):
                    raise UserError(
                        f"the result of {file} is {suffix_of(photo)}, not {path.suffix}; give out= such a name, or a folder"
                    )
                done.append(save_photo(place(path), photo))
            except UserError as reason:
                if len(files) == 1 or isinstance(reason, DiskFull):
                    raise
                print(f"left out: {reason}", file=sys.stderr)
    if pictures:
        path = place(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        return [save_film(path, pictures, per_second=per_second or PER_SECOND)]
    if not done:
        first = images if isinstance(images, (str, os.PathLike)) else images[0]
        raise UserError(f"'{first}' holds no image that can be read")
    return done


def _film_of(
    file: Path,
    path: Path,
    channels: int,
    change: Callable[[Photo, Path], Photo],
    per_second: float | None,
    advance: Callable[[int], None],
) -> Path:
    """Write the film of what becomes of a video's frames."""
    even = films.even_rate(file)
    rate = Fraction(per_second).limit_denominator(1000) if per_second else even or films.rate_of(file)
    first: tuple[int, ...] | None = None
    before: np.ndarray | None = None
    picture = np.empty(0)
    with films.written(path, rate) as add:
        for pixels in films.frames(file, channels, even):
            if pixels is not before:  # one that is seen longer is changed once
                before, picture = pixels, _frame(file, change(Photo(pixels), file), first)
                advance(1)
            first = first or picture.shape
            add(picture)
    return path


def _frames_of(
    file: Path,
    folder: Path,
    ending: str,
    channels: int,
    change: Callable[[Photo, Path], Photo],
    advance: Callable[[int], None],
) -> list[Path]:
    """Write what becomes of a video's frames as numbered pictures of a folder."""
    found = []
    for i, pixels in enumerate(films.frames(file, channels), 1):
        found.append(save_photo(folder / f"{i:06d}{ending}", change(Photo(pixels), file)))
        advance(1)
    return found


def _frame(file: Path, photo: Photo, first: tuple[int, ...] | None) -> np.ndarray:
    """Return the picture of a film that a photo is, uint8 [H, W, 3].

    Raises:
        UserError: It has another size than the frames before it, or is no picture.
    """
    pixels = photo.pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        raise UserError(
            f"'{file}': the result is no gray or coloured picture of 8 or 16 bits, and so no frame of a film"
        )
    if first and first[:2] != pixels.shape[:2]:
        (h, w), (tall, wide) = first[:2], pixels.shape[:2]
        raise UserError(
            f"'{file}': the result is {wide}x{tall}, and the film's first frame {w}x{h}; frames have one size"
        )
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
