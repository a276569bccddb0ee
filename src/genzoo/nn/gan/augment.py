"""Differentiable augmentation (Zhao et al. arXiv:2006.10738): random changes that gradients pass through.

Applied to what the discriminator sees, real and fake alike, in both players' steps, so that the generator never
learns them. Images are [B, C, H, W] in [-1, 1]; every example draws its own change from torch's default RNG of the
device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Augmentation = Literal["color", "translation", "cutout"]


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) * (high - low) + low


def color(x: Tensor) -> Tensor:
    """Shift brightness by U(−½, ½), scale saturation by U(0, 2) and contrast by U(½, 3/2)."""
    x = x + _uniform(x, -0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * _uniform(x, 0.0, 2.0) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * _uniform(x, 0.5, 1.5) + mean


def _offsets(x: Tensor, low: int, high: int) -> Tensor:
    return torch.randint(low, high + 1, (len(x), 1), device=x.device)


def _share(side: int, ratio: float) -> int:
    """Return the pixels that a share of a side is, halves rounded up."""
    return int(side * ratio + 0.5)


def translation(x: Tensor, ratio: float = 0.125) -> Tensor:
    """Move each image by up to `ratio` of its sides; what comes in from outside is 0."""
    h, w = x.shape[2:]
    my, mx = _share(h, ratio), _share(w, ratio)
    rows = torch.arange(h, device=x.device) + my + _offsets(x, -my, my)
    columns = torch.arange(w, device=x.device) + mx + _offsets(x, -mx, mx)
    example = torch.arange(len(x), device=x.device)[:, None, None]
    padded = F.pad(x, (mx, mx, my, my)).permute(0, 2, 3, 1)
    return padded[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a rectangle with `ratio` of each side to 0; its centre is any pixel (odd sides) or border of one (even), so it may reach outside."""
    h, w = x.shape[2:]
    ch, cw = _share(h, ratio), _share(w, ratio)
    rows = torch.arange(h, device=x.device) - _offsets(x, 0, h - ch % 2) + ch // 2
    columns = torch.arange(w, device=x.device) - _offsets(x, 0, w - cw % 2) + cw // 2
    hole = ((rows >= 0) & (rows < ch))[:, None, :, None] & ((columns >= 0) & (columns < cw))[:, None, None, :]
    return x * ~hole


def affine(x: Tensor, strength: float) -> Tensor:
    """Turn, stretch, shear and move each image a little: a map A + t on coordinates in [-1, 1], bilinear, the border repeated.

    Args:
        x: Images [B, C, H, W].
        strength: Each entry of A is the identity's plus U(-strength, strength), and each of t is U(-strength, strength) / 2.
    """
    change = (torch.rand(len(x), 2, 3, device=x.device) * 2 - 1) * strength
    change[:, :, 2] /= 2
    theta = torch.eye(2, 3, device=x.device) + change
    places = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), places, padding_mode="border", align_corners=False).to(x.dtype)


_CHANGES = {"color": color, "translation": translation, "cutout": cutout}


def augment(x: Tensor, changes: Sequence[Augmentation]) -> Tensor:
    """Apply the named changes in the given order."""
    for change in changes:
        x = _CHANGES[change](x)
    return x
