"""Numbers as colors: dark to light in even steps, so that they read without colors as well."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

COLOURS = ((0, 0, 4), (51, 10, 95), (120, 28, 109), (187, 55, 84), (237, 105, 37), (252, 180, 24), (252, 255, 164))
"""From nothing to the most."""


def heat(found: Tensor, most: float | None = None) -> Tensor:
    """Draw numbers [N, H, W] from 0 on in colors, [N, 3, H, W] in [-1, 1]: dark where there are none, light at `most`.

    Args:
        found: Bits of each pixel, say.
        most: What the lightest color stands for; the largest of `found` when not given.
    """
    top = float(found.max()) if most is None else most
    at = (found.nan_to_num(0.0) / max(top, 1e-9)).clamp(0, 1) * (len(COLOURS) - 1)
    low = at.floor().clamp(max=len(COLOURS) - 2).long()
    table = torch.tensor(COLOURS, dtype=torch.float32)
    mixed = torch.lerp(table[low], table[low + 1], (at - low)[..., None])
    return mixed.movedim(-1, 1) / 127.5 - 1


def density_picture(log_density: Tensor) -> np.ndarray:
    """Draw log-densities [H, W] as a map of densities, uint8 [H, W, 3]: the lightest color is the largest."""
    values = (log_density - log_density[torch.isfinite(log_density)].max()).exp()
    colors = heat(values[None], 1.0)[0]
    return ((colors + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
