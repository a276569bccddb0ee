"""Image files in and out for the commands that change them: translate, upscale, colorize, complete.

What becomes of what an image file holds beside its colours:

| in the file | in the result |
|---|---|
| EXIF orientation | applied: the result is upright |
| transparency | kept, brought to the result's size; the colours below it are changed like all others |
| 16-bit gray | 16-bit gray where the system takes gray and `levels` of it are fine; else 8 bits |
| colour profile | not applied, but written into a result that has as many colours as the file |
| EXIF and other data | not kept: they are of the photograph, not of what a model made of it |
| animation | the first frame |
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError, nearest
from genzoo.core.pictures import write_atomic
from genzoo.data import decode
from genzoo.data.build import bar
from genzoo.data.decode import Refused
from genzoo.use.images import image_files
from genzoo.use.outputs import free


@dataclass(frozen=True)
class Photo:
    """An image as commands change it.

    Args:
        pixels: uint8 or uint16 [H, W, C], C 1 (gray) or 3; 4 where a system works on transparency itself.
        alpha: Transparency, uint8 [H, W]; None where there is none.
        profile: ICC colour profile; None where there is none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None


def read_photo(path: str | os.PathLike[str], channels: int, *, deep: bool = True, numbers: bool = False) -> Photo:
    """Read an image at its own size, upright.

    Args:
        path: The file.
        channels: 1 gray, 3 RGB; transparency is set aside. 2 and 4 keep it among the pixels.
        deep: Keep the 16 bits of a gray file where `channels` is 1.
        numbers: It is a map of classes: gray values or places in the palette, and no colours.

    Raises:
        UserError: There is no such file, or it is no image; the message says why.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    try:
        with open(path, "rb") as file, decode.quiet_decoding():
            if numbers:
                height, width, _ = decode.probe(file)
                file.seek(0)
                return Photo(decode.pixels(file, decode.Form(height, width, 1, kind="labels"))[0][..., None].copy())
            pixels, alpha, profile = decode.apart(file, channels, deep=deep)
    except Refused as reason:
        raise UserError(f"'{path}' is no usable image: {reason}") from None
    return Photo(pixels, alpha, profile)


def save_photo(path: str | os.PathLike[str], photo: Photo) -> Path:
    """Write a PNG, whole or not at all: 8 bits, or gray with 16; transparency is brought to the size of the pixels."""
    pixels = photo.pixels
    height, width, channels = pixels.shape
    if pixels.dtype == np.uint16 and (channels > 1 or photo.alpha is not None):
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(
            np.uint8
        )  # PNG as Pillow writes it: 16 bits for gray alone
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    if photo.alpha is not None and channels in (1, 3):
        alpha = Image.fromarray(photo.alpha)
        image.putalpha(
            alpha if alpha.size == (width, height) else alpha.resize((width, height), Image.Resampling.BICUBIC)
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({"icc_profile": photo.profile} if photo.profile else {}))
    return write_atomic(path, buffer.getvalue())


def change_photo(photo: Photo, change: Callable[[np.ndarray], np.ndarray]) -> Photo:
    """Change the pixels and keep what can be kept of the rest."""
    pixels = change(photo.pixels)
    profile = photo.profile if pixels.shape[2] == photo.pixels.shape[2] else None
    return replace(photo, pixels=pixels, profile=profile)


def change_files(
    images: str | os.PathLike[str] | Sequence[str],
    folder: Path,
    change: Callable[[Path], Photo],
    *,
    overwrite: bool = False,
    word: str = "images",
    quiet: bool = False,
) -> list[Path]:
    """Write what `change` makes of every image file into `folder`, under its name with .png; say what was left out on stderr.

    An original is never replaced, whatever is asked: its result is then NAME-2.png.

    Args:
        images: A file, a folder that is searched recursively, or several of them.
        folder: Where results go, in the same subfolders.
        change: From a file to the picture; raises a UserError for a file that it cannot use.
        overwrite: Replace results of an earlier call.
        word: What the progress bar says is being done.
        quiet: Show no progress.

    Raises:
        UserError: There is no file, none of them can be used, or `folder` is a file. Of a single file, why it cannot be used.
    """
    if folder.is_file():
        raise UserError(f"out={folder} is a file; give a folder")
    given = [images] if isinstance(images, (str, os.PathLike)) else images
    files = [found for each in given for found in image_files(each)]
    originals = {file.resolve() for file, _ in files}
    written = []
    with bar(len(files), word, quiet) as advance:
        for file, name in files:
            try:
                photo = change(file)
            except UserError as reason:
                if len(files) == 1:
                    raise
                print(f"left out: {reason}", file=sys.stderr)
                continue
            finally:
                advance(1)
            path = folder / name.with_suffix(".png")
            written.append(save_photo(free(path, overwrite=overwrite and path.resolve() not in originals), photo))
    if not written:
        raise UserError(f"'{given[0]}' holds no image that can be read")
    return written
