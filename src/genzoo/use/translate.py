"""Map images of one domain to another, at any size."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Restores, Translates
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.data.decode import images as decode
from genzoo.metrics.drawing import TELL
from genzoo.saved.untrained import lost_directions
from genzoo.use.common.arrays import as_tensor
from genzoo.use.common.files import MEGAPIXELS, Photo, change_files, change_photo, gathered, read_photo
from genzoo.use.common.images import channels_in, window_of
from genzoo.use.common.outputs import folder_for
from genzoo.use.common.scale import Size, at_size, check_size, teller
from genzoo.use.common.source import Source, name_of, open_system, options, require
from genzoo.use.common.tiles import OVERLAP, TILE, into_window, out_of_window, tiled
from genzoo.use.common.tiles import pixels as as_pixels
from genzoo.use.scans.run import through
from genzoo.use.scans.study import brought_back, separated
from genzoo.use.scans.writing import Note

Images = TypeVar("Images", Tensor, list[Tensor])


@torch.no_grad()
def translate(
    source: Source,
    images: Images,
    direction: str | None = None,
    *,
    size: Size | None = None,
    tile: int = TILE,
    overlap: int = OVERLAP,
    **own: Any,
) -> Images:
    """Return the translations of images in [-1, 1], of any height and width, each in the size it came in (or `scale` times that).

    Args:
        source: A run, its path, or a system.
        images: What to translate: [N, C, H, W], or a list of [C, H, W] of different sizes.
        direction: One of the system's directions; its first when not given.
        size: Size that they are brought to first: the shorter side, or height and width; translations have it. Their own when not given.
        tile: Side of the largest piece that is translated at once; larger images go tile by tile (see `genzoo.use.common.tiles`).
        overlap: Pixels that neighbouring tiles share.
        own: Options of the system's own `translate`: variant ...

    Raises:
        UserError: The system does not translate, or not in this direction, or has no such option.
    """
    system = open_system(source)
    direction = _direction(system, direction)
    given, size = options(system, "translate", own, verb="translate"), check_size(size)
    if not len(images):
        return images
    if isinstance(images, (Tensor, np.ndarray)):
        images = as_tensor(images, "translate")
    else:
        images = [as_tensor(x, "translate") for x in images]
    fit = fitting_size(system, images[0].shape[0], direction)
    out = []
    for x in images:
        pixels = at_size(Photo(np.ascontiguousarray(x.float().cpu().permute(1, 2, 0).numpy())), size).pixels.clip(-1, 1)
        y = _translated(system, pixels, direction, fit, tile, overlap, given)
        out.append(torch.from_numpy(np.ascontiguousarray(y.transpose(2, 0, 1))))
    return torch.stack(out) if isinstance(images, Tensor) else out


def translate_files(
    source: Source,
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    direction: str | None = None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    size: Size | None = None,
    tile: int = TILE,
    overlap: int = OVERLAP,
    megapixels: float | None = None,
    per_second: float | None = None,
    anonymize: bool = False,
    quiet: bool = True,
    **own: Any,
) -> list[Path]:
    """Translate image files, videos and scans, each at its own size, with its transparency and depth (see `genzoo.use.common.files`); originals stay.

    Scans (DICOM, NIfTI, NRRD) come back in their own format, with their geometry and units: see `genzoo.use.scans`.

    Args:
        source: A run, its path, or a system.
        images: A file, a video, a folder, a pattern such as "photos/*.jpg", or several.
        direction: One of the system's directions; its first when not given.
        out: For a single file a name that ends in .png (or .tif, where results are), .jpg or .webp; else the folder of the results, or FOLDER/*.jpg
            for that ending; of several frames, or a video, a film, .mp4 or .gif. RUN/outputs/translate-DIRECTION when not given.
        overwrite: Replace results of an earlier call.
        size: Size that pictures are brought to first: the shorter side, or height and width. Their own when not given; where that is far from the
            scale of what the system was trained on, it is said.
        tile: Side of the largest piece that is translated at once.
        overlap: Pixels that neighbouring tiles share.
        megapixels: Largest image that is read; 1000, or 64 for systems that take an image in one piece, when not given.
        per_second: Frames of a film in a second; a video keeps its own rate when not given.
        anonymize: Of scans keep nothing that is of the patient.
        quiet: Show no progress.
        own: Options of the system's own `translate`.

    Returns:
        The files that were written.

    Raises:
        UserError: The system does not translate, no file can be used, or `out` has an ending that is not written.
    """
    system = open_system(source)
    direction = _direction(system, direction)
    given, size = options(system, "translate", own, verb="translate"), check_size(size)
    channels = channels_in(system, direction)
    fit = fitting_size(system, channels, direction)

    data = getattr(system, "trained", {}).get("data", {})
    # What goes through the networks in one piece needs room for their features, which is many times the image's.
    default = MEGAPIXELS if _in_tiles(system) else decode.MAX_PIXELS / 1e6
    window, numbers = window_of(system), bool(data.get("label_maps")) and channels == 1

    tell = teller(system)

    def changed(photo: Photo, path: Path) -> Photo:
        if size is None:
            tell(path, *photo.pixels.shape[:2])
        return change_photo(
            at_size(photo, size, numbers=numbers),
            lambda pixels: _translated(system, pixels, direction, fit, tile, overlap, given, window),
        )

    def change(file: Path) -> Photo:
        photo = read_photo(
            file,
            channels,
            numbers=numbers,
            values=window is not None,
            megapixels=megapixels or default,
            scale=scale_of(system),
        )
        return changed(photo, file)

    path = Path(out).expanduser() if out else folder_for(source) / f"translate-{direction}"
    scans, others = separated(gathered(images))
    if scans:
        if channels != 1 or window is None or scale_of(system) > 1:
            raise UserError(
                f"'{scans[0][0]}' is a scan, and {name_of(system)} was not trained on gray values of scans in one window at their own size: "
                "train on scans, or with channels=1 and gray_window="
            )
        for file, _ in others:
            print(f"left out: '{file}' is no scan; give pictures without scans", file=sys.stderr)

        def scanned(values: np.ndarray) -> np.ndarray:
            seen = at_size(Photo(values), size).pixels
            made = _translated(system, seen, direction, fit, tile, overlap, given, window)
            return brought_back(values[..., 0], seen[..., 0], made[..., 0])[..., None]

        note = Note(
            f"{name_of(system)} {direction}", version("genzoo"), str(getattr(system, "trained", {}).get("digest", ""))
        )
        plane = data.get("plane")
        return through(scans, path, scanned, window, plane, note, anonymize=anonymize, overwrite=overwrite, quiet=quiet)
    if anonymize:
        raise UserError(f"anonymize= is for scans (DICOM, NIfTI, NRRD), and '{others[0][0]}' is none")
    word = {"upscale": "enlarging", "colorize": "coloring"}.get(direction, "translating")
    return change_files(
        images, path, change, frame=None if numbers else changed, channels=channels,
        overwrite=overwrite, word=word, quiet=quiet, per_second=per_second,
    )  # fmt: skip


def in_window(
    change: Callable[[np.ndarray], np.ndarray], window: Sequence[float] | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Wrap a change of pixels for a system that was trained on a window of gray values: gray comes back in the values of the file.

    Args:
        change: From pixels [H, W, C] to pixels.
        window: Gray values that are black and white to the system; None for the whole range.
    """
    if window is None:
        return change
    low, high = window

    def changed(pixels: np.ndarray) -> np.ndarray:
        y = change(into_window(pixels, (low, high)))
        same = y.shape[2] == pixels.shape[2]
        return out_of_window(y, (low, high), pixels.dtype) if same else as_pixels(y, np.uint8)

    return changed


def _direction(system: System, direction: str | None) -> str:
    """Return the direction that is meant, checked.

    Raises:
        UserError: The system does not translate, or not in this direction.
    """
    known = tuple(require(system, Translates, verb="translate").directions)
    if not known:
        for why in lost_directions(system).values():
            raise UserError(why)
        raise UserError(f"{name_of(system)} was trained on gray images, and can colour none")
    direction = direction or known[0]
    if direction not in known:
        if reason := lost_directions(system).get(direction):
            raise UserError(f"direction={direction}: {reason}; direction={known[0]} is there")
        there = f"There are {' and '.join(known)}" if len(known) > 1 else f"There is {known[0]}"
        raise UserError(f"direction={direction} is not known{nearest(direction, known) or '.'} {there}")
    return direction


def _translated(
    system: System,
    pixels: np.ndarray,
    direction: str,
    fit: tuple[int, int],
    tile: int,
    overlap: int,
    own: dict[str, Any],
    window: tuple[float, float] | None = None,
) -> np.ndarray:
    """Translate one image [H, W, C], enlarged by its own border to a size that the networks give back, and cut to its size again."""
    assert isinstance(system, Translates)
    if not _in_tiles(system):
        tile = max(pixels.shape[:2])  # what is far away matters: the image is one piece
    return tiled(
        lambda x: system.translate(x, direction=direction, **own),
        pixels, scale=scale_of(system), least=fit[0], multiple=fit[1], tile=tile, overlap=overlap, net=system, device=system.device,
        window=window, advance=TELL.get(),
    )  # fmt: skip


def _in_tiles(system: System) -> bool:
    """Tell whether an image may go through the networks tile by tile: not where what is far away matters."""
    return not isinstance(system, Restores) or system.local


def scale_of(system: System) -> int:
    """Tell how many times larger translations are."""
    return system.scale if isinstance(system, Restores) else 1


def fitting_size(system: System, channels: int, direction: str) -> tuple[int, int]:
    """Find the least side, and the multiple of pixels, at which a system's networks give back images of the size that they should.

    Found by trying: nets that halve the image k times take multiples of 2^k, and no list of names has to say so.

    Raises:
        UserError: No size comes back as it was.
    """
    assert isinstance(system, Translates)
    for multiple in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        # An odd number of multiples, so that no larger power of two passes for this one.
        side = multiple * (-(-16 // multiple) | 1)
        try:
            black = torch.full(
                (1, channels, side, side), -1.0, device=system.device
            )  # class 0, where numbers are taken
            y = system.translate(black, direction=direction)
        except (RuntimeError, ValueError):
            continue
        if y.shape[-2:] == (side * scale_of(system), side * scale_of(system)):
            return side, multiple
    shape = system.hparams.get("shape")
    raise UserError(
        f"{name_of(system)} gives no image of {channels} channels back at its size; it was trained on shape {shape}"
    )
