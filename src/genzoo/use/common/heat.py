"""What a model says of places, pixels or points, as colored pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genzoo.data.drawing import colors


def heat(found: Tensor, most: float | None = None) -> Tensor:
    """Draw numbers [N, H, W] from 0 on in colors, [N, 3, H, W] in [-1, 1]: dark where there are none, light at `most`.

    Args:
        found: Bits of each pixel, say.
        most: What the lightest color stands for; the largest of `found` when not given.
    """
    top = float(found.max()) if most is None else most
    levels = (found.nan_to_num(0.0) / max(top, 1e-9)).clamp(0, 1)
    return torch.from_numpy(colors.heat(levels.numpy())).movedim(-1, 1).float() / 127.5 - 1


def density_picture(log_density: Tensor) -> np.ndarray:
    """Draw log-densities [H, W] as a map of densities, uint8 [H, W, 3]: the lightest color is the largest."""
    values = (log_density - log_density[torch.isfinite(log_density)].max()).exp()
    return colors.heat(values.nan_to_num(0.0).clamp(0, 1).numpy())
