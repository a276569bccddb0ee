"""Bicubic resampling with antialiasing, exactly stated: the one way in which low-resolution images are made.

Along each side, with s = old / new and f = max(s, 1), the value at place i of the result is Σ_j w_ij x_j / Σ_j w_ij with
w_ij = k((j + ½ − (i + ½) s) / f) over the pixels j of the image, and k the cubic convolution kernel with a = −½ (Keys 1981):

    k(t) = (a + 2)|t|³ − (a + 3)|t|² + 1   for |t| < 1,     a(|t|³ − 5|t|² + 8|t| − 4)   for 1 ≤ |t| < 2,     0 else

This is what Pillow's BICUBIC computes on floating-point images. Enlarging (f = 1) is plain bicubic interpolation.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

A = -0.5


def bicubic(x: Tensor, height: int, width: int) -> Tensor:
    """Resize images [..., H, W] to [..., height, width], float32; values may leave their range by a few per cent at edges."""
    rows, columns = _weights(x.shape[-2], height).to(x.device), _weights(x.shape[-1], width).to(x.device)
    with torch.autocast(x.device.type, enabled=False):  # low precision would be seen as noise of several grey levels
        return rows @ x.float() @ columns.T


def grey_levels(x: Tensor) -> Tensor:
    """Round images in [-1, 1] to the 256 values that an 8-bit file holds; values outside are clamped."""
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


@functools.lru_cache(maxsize=64)
def _weights(old: int, new: int) -> Tensor:
    """Return the matrix [new, old] of one side."""
    scale = old / new
    stretch = max(scale, 1.0)
    place = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * scale
    t = ((torch.arange(old, dtype=torch.float64) + 0.5 - place) / stretch).abs()
    near = (A + 2) * t**3 - (A + 3) * t**2 + 1
    far = A * (t**3 - 5 * t**2 + 8 * t - 4)
    w = torch.where(t < 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
    return (w / w.sum(1, keepdim=True)).float()
