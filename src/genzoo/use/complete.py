"""Fill in what is missing of an image or of a sound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.use.sample import Seed
from genzoo.use.source import CHUNK, Source, generator_for, open_system, options, require


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
    require(system, "completes", verb="complete")
    given = options(system, "complete", own, verb="complete")
    size = images.shape[2:]
    if known.shape[-len(size) :] != size:
        raise UserError(f"the mask is {_size(known)} and the image {_size(images)}; they have to be of one size")
    known = known.bool().expand(len(images), 1, *size)
    if known.all():
        raise UserError("complete: the mask keeps every pixel; nothing is left to draw")
    generator, device = generator_for(system, seed), system.device
    parts = []
    for part, keep in zip(images.split(CHUNK), known.split(CHUNK), strict=True):
        drawn = system.complete(part.to(device), keep.to(device), generator=generator, **given)  # type: ignore[operator]
        # The promise of the capability, kept to the last bit: what was known comes from the input itself.
        parts.append(torch.where(keep, part, drawn.float().cpu()))
    return torch.cat(parts)


def box_mask(box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """The mask [H, W] that is False inside the box (x, y, width, height) and True elsewhere.

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


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}" if x.ndim != 3 else f"{x.shape[-1]} long"
