"""Go on from still images."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.capabilities import Animates
from genzoo.core.errors import UserError
from genzoo.use.common.arrays import as_tensor
from genzoo.use.common.source import Source, open_system, require


@torch.no_grad()
def animate(source: Source, first: Tensor) -> Tensor:
    """Return the clips [N, C, T, H, W] in [-1, 1] that begin with about the images `first`.

    Args:
        source: A run, its path, or a system.
        first: Images [N, C, H, W] in [-1, 1], of the size of the system's clips.

    Raises:
        UserError: The system does not animate, or the images have another shape.
    """
    system = open_system(source)
    animator = require(system, Animates, verb="animate")
    first = as_tensor(first, "animate")
    c, _, h, w = system.hparams["shape"]
    if tuple(first.shape[1:]) != (c, h, w):
        raise UserError(
            f"animate: images are {'x'.join(map(str, first.shape[1:]))}; this system's frames are {c}x{h}x{w}"
        )
    return animator.animate(first.to(system.device)).float().cpu()
