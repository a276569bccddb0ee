"""The ways in which published measures bring images to a network's size, each by its name; they are never mixed in one number.

The same images through two resizers are several points of FID apart, so the resizer belongs to the extractor and to every record.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Resizer = Callable[[Tensor, int], Tensor]
"""uint8 or float [N, C, H, W] on 0..255 and a side, to float32 [N, C, side, side] on 0..255, never rounded."""


def tf1_bilinear(images: Tensor, side: int) -> Tensor:
    """Resize [N, C, H, W] as TensorFlow 1's `resize_bilinear` did: source = target · (in / out), no half-pixel centres.

    Every published FID since 2017 went through it; the half-pixel shift against other resizers is worth several points of FID.
    """
    rows = _tf1_weights(images.shape[-2], side).to(images.device)
    columns = _tf1_weights(images.shape[-1], side).to(images.device)
    return rows @ images.float() @ columns.T


@functools.cache
def _tf1_weights(old: int, new: int) -> Tensor:
    position = torch.arange(new) * (old / new)
    low = position.floor().long().clamp(max=old - 1)
    share = (position - low).float()
    weights = torch.zeros(new, old)
    row = torch.arange(new)
    weights.index_put_((row, low), 1 - share, accumulate=True)
    weights.index_put_((row, (low + 1).clamp(max=old - 1)), share, accumulate=True)
    return weights


def bilinear(images: Tensor, side: int) -> Tensor:
    """Resize by antialiased bilinear interpolation with half-pixel centres; images of the right size are left as they are."""
    return _interpolated(images, side, "bilinear")


def torch_bilinear(images: Tensor, side: int) -> Tensor:
    """Resize as PyTorch's `interpolate` does where nobody asks for more: bilinear, half-pixel centres, no antialias; pytorch-fid's way."""
    return F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False)


def bicubic(images: Tensor, side: int) -> Tensor:
    """Resize by antialiased bicubic interpolation with half-pixel centres; images of the right size are left as they are."""
    return _interpolated(images, side, "bicubic")


def _interpolated(images: Tensor, side: int, mode: str) -> Tensor:
    x = images.float()
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode=mode, align_corners=False, antialias=True)


def pillow_bicubic(images: Tensor, side: int) -> Tensor:
    """Resize every channel as floats by Pillow's bicubic filter, as clean-fid does (arXiv:2104.11222); not rounded to grey levels."""
    x = images.detach().cpu().float().numpy()
    out = np.empty((*x.shape[:2], side, side), np.float32)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            plane = Image.fromarray(x[n, c])
            out[n, c] = np.asarray(plane.resize((side, side), Image.Resampling.BICUBIC))
    return torch.from_numpy(out).clamp_(0, 255)


RESIZERS: dict[str, tuple[Resizer, str]] = {
    "tf1-bilinear": (tf1_bilinear, "TF1 bilinear (no half-pixel centres, no antialias)"),
    "torch-bilinear": (torch_bilinear, "PyTorch bilinear (half-pixel centres, no antialias)"),
    "bilinear": (bilinear, "antialiased bilinear"),
    "bicubic": (bicubic, "antialiased bicubic"),
    "pillow-bicubic": (pillow_bicubic, "Pillow bicubic on floats (clean-fid)"),
}
"""By name: the function, and what a record says of it."""
