"""Filtered resampling of images: insert zeros, pad, convolve with a filter, keep every so-manieth value; plain PyTorch.

Everything is made of convolutions, so that gradients of gradients (R1, path length) come from autograd itself.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

BINOMIAL = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8: nearest-neighbour doubling followed by the [1, 2, 1] / 4 of arXiv:1812.04948 is doubling with this filter."""

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""The low-pass filter of the symlet wavelet with six vanishing moments; orthonormal to itself moved by any even number of places."""


@functools.lru_cache(maxsize=64)
def _kernel(taps: tuple[float, ...], across: bool, c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return [c, 1, K, K] for short filters, [c, 1, K, 1] or [c, 1, 1, K] for long ones, which are applied side by side."""
    with torch.inference_mode(False):
        row = torch.tensor(taps, dtype=torch.float64)
        k = torch.outer(row, row) if len(taps) <= 4 else row[None, :] if across else row[:, None]
        return k.to(device, dtype).expand(c, 1, *k.shape).contiguous()


def _pass(x: Tensor, k: Tensor, axes: tuple[bool, bool], up: int, down: int, padding: tuple[int, int]) -> Tensor:
    """Apply one filter along the axes (height, width) that are True, a true convolution: the kernel is turned round."""
    c, (a, b) = x.shape[1], padding
    strides = [(up if axis else 1, down if axis else 1) for axis in axes]
    ups, downs = tuple(s[0] for s in strides), tuple(s[1] for s in strides)
    if up > 1:
        full = F.conv_transpose2d(x, k, stride=ups, groups=c)
        edges = []
        for axis in (1, 0):  # F.pad counts from the last dimension
            size = k.shape[2 + axis]
            edges += [a - size + 1, up + b - size] if axes[axis] else [0, 0]
        y = F.pad(full, edges)
        return y[:, :, :: downs[0], :: downs[1]] if down > 1 else y
    edges = [v for axis in (1, 0) for v in ((a, b) if axes[axis] else (0, 0))]
    if a == b >= 0:
        return F.conv2d(x, k.flip(2, 3), stride=downs, padding=(edges[2], edges[0]), groups=c)
    return F.conv2d(F.pad(x, edges), k.flip(2, 3), stride=downs, groups=c)


def upfirdn(
    x: Tensor, taps: tuple[float, ...], *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Return [B, C, H', W'] with H' = ⌊(H·up + a + b − K) / down⌋ + 1 for K taps f and padding (a, b), along both axes alike.

    With z the values with up − 1 zeros behind each one, padded by a zeros before and b behind (negative: cropped), along each axis
    y[i] = Σₖ f[k] · z[i·down + K − 1 − k].
    """
    dtype = x.dtype
    # oneDNN has no fast path for strided depthwise convolutions in bf16 on a CPU: 34 ms where float32 takes 2.
    exact = down > 1 and x.device.type == "cpu" and x.dtype == torch.bfloat16
    with torch.autocast(x.device.type, enabled=False):
        x = x.float() if exact else x
        passes = ((True, True),) if len(taps) <= 4 else ((True, False), (False, True))
        for axes in passes:
            x = _pass(x, _kernel(taps, axes[1], x.shape[1], x.dtype, x.device), axes, up, down, padding)
    return x.to(dtype)


def double(x: Tensor) -> Tensor:
    """Return [B, C, 2H, 2W], enlarged with the filter [1, 3, 3, 1]; brightness stays, except where zeros enter at the border."""
    return upfirdn(x, tuple(2 * t for t in BINOMIAL), up=2, padding=(2, 1))


def halve(x: Tensor) -> Tensor:
    """Return [B, C, H/2, W/2], reduced with the filter [1, 3, 3, 1]."""
    return upfirdn(x, BINOMIAL, down=2, padding=(1, 1))


def conv_up(x: Tensor, weight: Tensor) -> Tensor:
    """Double with the filter [1, 3, 3, 1] and convolve [B, I, H, W] with `weight` [O, I, 3, 3]: [B, O, 2H, 2W].

    Zeros are inserted, `weight` is applied and the result is filtered, in one transposed convolution and a filter: the two orders
    agree away from the border, and this one works on a quarter of the pixels.
    """
    y = F.conv_transpose2d(x, weight.flip(2, 3).transpose(0, 1), stride=2)  # [2H + 1, 2W + 1]
    return upfirdn(y, tuple(2 * t for t in BINOMIAL), padding=(1, 1))


def conv_down(x: Tensor, weight: Tensor) -> Tensor:
    """Filter [B, I, H, W] with [1, 3, 3, 1] and convolve with `weight` [O, I, k, k] at every second pixel: [B, O, H/2, W/2]."""
    extra = weight.shape[-1] - 1
    if not extra:
        return F.conv2d(halve(x), weight)
    y = upfirdn(x, BINOMIAL, padding=(1 + math.ceil(extra / 2), 1 + extra // 2))
    return F.conv2d(y, weight, stride=2)
