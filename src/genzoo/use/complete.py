"""Fill in what is missing of an image or of a sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.core.capabilities import Completes
from genzoo.core.errors import UserError
from genzoo.use.common.arrays import as_tensor
from genzoo.use.common.source import CHUNK, Source, generators_for, open_system, options, require
from genzoo.use.common.tiles import HALF
from genzoo.use.common.tiles import pixels as as_pixels
from genzoo.use.sample import Seed
from genzoo.use.translate import in_window


@torch.no_grad()
def complete(source: Source, images: Tensor, known: Tensor, /, seed: Seed = 0, **own: Any) -> Tensor:
    """Return `images` with the unknown pixels drawn anew and the known ones unchanged, [N, C, H, W] in [-1, 1].

    Args:
        source: A run, its path, or a system.
        images: What to complete, [N, C, H, W] in [-1, 1], or sounds [N, 1, T].
        known: True where a pixel is kept: [H, W], [1, 1, H, W] or [N, 1, H, W]; of sounds [T], [1, 1, T] or [N, 1, T].
        seed: Which completion.
        own: Options of the system's own `complete`.

    Raises:
        UserError: The system does not complete, or the mask keeps every pixel or has another size.
    """
    system = open_system(source)
    completer = require(system, Completes, verb="complete")
    given = options(system, "complete", own, verb="complete")
    images, known = as_tensor(images, "complete"), torch.as_tensor(known)
    size = images.shape[2:]
    if known.shape[-len(size) :] != size:
        raise UserError(f"the mask is {_size(known)} and the image {_size(images)}; they have to be of one size")
    known = known.bool().expand(len(images), 1, *size)
    if known.all():
        raise UserError("complete: the mask keeps every pixel; nothing is left to draw")
    device, done = system.device, 0
    parts = []
    for part, keep in zip(images.split(CHUNK), known.split(CHUNK), strict=True):
        generator = generators_for(system, seed, len(part), first=done)
        drawn = completer.complete(part.to(device), keep.to(device), generator=generator, **given)
        done += len(part)
        # The promise of the capability, kept to the last bit: what was known comes from the input itself.
        parts.append(torch.where(keep, part, drawn.float().cpu()))
    return torch.cat(parts)


@torch.no_grad()
def complete_pixels(
    source: Source,
    image: np.ndarray,
    known: Tensor,
    /,
    seed: Seed = 0,
    window: tuple[float, float] | None = None,
    **own: Any,
) -> np.ndarray:
    """Return a photograph with its hole filled in at its own size, by a system that works at another.

    A window of the image around the hole, twice as wide as it where there is room, is brought to the system's size and completed;
    what was drawn is brought back and put into the hole. Every other pixel is what it was.

    Args:
        source: A run, its path, or a system.
        image: uint8 or uint16 [H, W, C]; int32 and float32 too, with a window.
        known: True where a pixel is kept, [H, W].
        seed: Which completion.
        window: Gray values that are black and white to the system; the whole range without it.
        own: Options of the system's own `complete`.

    Raises:
        UserError: The mask has another size, keeps every pixel or leaves nothing, or the system does not complete.
    """
    if known.shape != image.shape[:2]:
        raise UserError(
            f"the mask is {_size(known)} and the image {image.shape[1]}x{image.shape[0]}; they have to be of one size"
        )
    system = open_system(source)
    require(system, Completes, verb="complete")
    rows, columns = surroundings(~known, tuple(system.hparams["shape"][1:]))
    part = image[rows, columns].astype(np.float32)
    if window is None:
        scaled = part / np.float32(HALF[image.dtype]) - 1
    else:
        scaled = ((part - window[0]) / (window[1] - window[0])).clip(0, 1) * 2 - 1
    x = torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]
    missing = (~known[rows, columns]).float()[None, None]
    size = tuple(system.hparams["shape"][1:])
    small = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(-1, 1)
    hole = (
        F.interpolate(missing, size, mode="bilinear", antialias=True) > 1e-3
    )  # a pixel that is missing in part is missing
    filled = F.interpolate(
        complete(system, small, ~hole, seed=seed, **own), x.shape[2:], mode="bicubic", antialias=True
    )
    drawn = filled[0].permute(1, 2, 0).numpy().clip(-1, 1)
    drawn = (
        as_pixels(drawn, image.dtype) if window is None else in_window(lambda _: drawn, window)(image[rows, columns])
    )
    result = image.copy()
    result[rows, columns] = np.where(known[rows, columns, None].numpy(), image[rows, columns], drawn)
    return result


def surroundings(hole: Tensor, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of an image [H, W] around what is True in it, twice its sides, in the proportions of `shape` (h, w).

    Where the image has no room for that, as much as there is: proportions then are what they are.

    Raises:
        UserError: Nothing is True.
    """
    if not hole.any():
        raise UserError("complete: the mask keeps every pixel; nothing is left to draw")
    spans = [torch.nonzero(hole.any(1 - axis)).flatten() for axis in (0, 1)]
    first, last = [int(s[0]) for s in spans], [int(s[-1]) + 1 for s in spans]
    unit = max(2 * (b - a) / n for a, b, n in zip(first, last, shape, strict=True))
    found = []
    for a, b, n, whole in zip(first, last, shape, hole.shape, strict=True):
        length = min(whole, max(round(unit * n), n))  # never smaller than the system's own size
        start = min(max((a + b - length) // 2, 0), whole - length)
        found.append(slice(start, start + length))
    return found[0], found[1]


def box_mask(box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """Make the mask [H, W] that is False inside the box (x, y, width, height) and True elsewhere.

    Args:
        box: Left, top, width, height in pixels.
        size: (H, W) of the image.

    Raises:
        UserError: The box is empty or leaves the image.
    """
    x, y, w, h = box
    if w < 1 or h < 1 or x < 0 or y < 0 or x + w > size[1] or y + h > size[0]:
        raise UserError(
            f"box={x},{y},{w},{h} does not lie inside the image, {size[1]} wide and {size[0]} high; give x,y,width,height"
        )
    known = torch.ones(size, dtype=torch.bool)
    known[y : y + h, x : x + w] = False
    return known


def answers(filled: Tensor) -> Tensor:
    """Keep one of the completions [N, ...] of one image where all are equal: of a system that leaves nothing to chance."""
    return filled[:1] if torch.equal(filled, filled[:1].expand_as(filled)) else filled


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}" if x.ndim != 3 else f"{x.shape[-1]} long"
