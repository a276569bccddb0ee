"""Map images of one domain to another, at any size."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.use.source import Source, name_of, open_system, require

Images = TypeVar("Images", Tensor, list[Tensor])


@torch.no_grad()
def translate(source: Source, images: Images, direction: str | None = None) -> Images:
    """Return the translations of images in [-1, 1], of any height and width, each in the size it came in.

    Args:
        source: A run, its path, or a system.
        images: What to translate: [N, C, H, W], or a list of [C, H, W] of different sizes.
        direction: One of the system's directions; its first when not given.

    Raises:
        UserError: The system does not translate, or not in this direction.
    """
    system = open_system(source)
    require(system, "translates", verb="translate")
    known = tuple(system.directions)  # type: ignore[arg-type]
    direction = direction or known[0]
    if direction not in known:
        raise UserError(
            f"direction={direction} is not known{nearest(direction, known) or '.'} There are {' and '.join(known)}"
        )
    if not len(images):
        return images
    fit = fitting_size(system, images[0].shape[0], direction)
    out = [_padded(system, x[None].to(system.device), direction, *fit)[0].float().cpu() for x in images]
    return torch.stack(out) if isinstance(images, Tensor) else out


def _padded(system: System, x: Tensor, direction: str, least: int, multiple: int) -> Tensor:
    """Translate one image, enlarged by its own border to a size that the networks give back, and cut to its size again."""
    h, w = x.shape[-2:]
    height, width = (max(least, -(-side // multiple) * multiple) for side in (h, w))
    top, left = (height - h) // 2, (width - w) // 2
    # Reflection continues the texture, but reaches only as far as the image does.
    mode = "reflect" if height - h - top < h and width - w - left < w else "replicate"
    padded = F.pad(x, (left, width - w - left, top, height - h - top), mode=mode)
    y = system.translate(padded, direction=direction)  # type: ignore[operator]
    return y[..., top : top + h, left : left + w]


def fitting_size(system: System, channels: int, direction: str) -> tuple[int, int]:
    """The least side and the multiple of pixels that a system's networks give back at the same size.

    Found by trying: nets that halve the image k times take multiples of 2^k, and no list of names has to say so.

    Raises:
        UserError: No size comes back as it was.
    """
    for multiple in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        # An odd number of multiples, so that no larger power of two passes for this one.
        side = multiple * (-(-16 // multiple) | 1)
        try:
            y = system.translate(torch.zeros(1, channels, side, side, device=system.device), direction=direction)  # type: ignore[operator]
        except (RuntimeError, ValueError):
            continue
        if y.shape[-2:] == (side, side):
            return side, multiple
    shape = system.hparams.get("shape")
    raise UserError(
        f"{name_of(system)} gives no image of {channels} channels back at its size; it was trained on shape {shape}"
    )
