"""Convolutions of maps with few pixels, where nearly all the work is reading the weights: products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn import upsampling

SHARE = 8
"""A product of matrices is taken where pixels, in all examples together, are this many times fewer than the deeper side's channels."""


def _few(x: Tensor, pixels: int, channels: int) -> bool:
    return x.device.type == "cpu" and SHARE * pixels <= channels


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a single kernel size, stride and padding; on a CPU, for few pixels, the product of patches and weights.

    The library behind PyTorch's convolutions brings all weights into another order, each way. At the bottom of a U-Net that takes two
    to five times as long as the product, which reads the weights as channels-last has them. The product is float32 also under autocast:
    rounding the weights would cost more than it saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, I, H, W] to [B, O, H', W']."""
        (k, _), (s, _), p = self.kernel_size, self.stride, int(self.padding[0])
        b, c, h, w = x.shape
        rows, columns = (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
        if not _few(x, b * rows * columns, self.out_channels):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            patches = F.pad(x.float(), (p, p, p, p)).unfold(2, k, s).unfold(3, k, s)  # [B, I, H', W', k, k]
            flat = patches.permute(0, 2, 3, 4, 5, 1).reshape(b * rows * columns, k * k * c)
            y = F.linear(flat, self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1), self.bias)
        return y.to(x.dtype).view(b, rows, columns, -1).permute(0, 3, 1, 2)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with a single kernel size, stride and padding and no output padding; see `Conv2d`."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [B, I, H, W] to [B, O, H', W']."""
        (k, _), (s, _), p = self.kernel_size, self.stride, int(self.padding[0])
        b, _, h, w = x.shape
        if output_size is not None or not _few(x, b * h * w, self.in_channels):
            return super().forward(x, output_size)
        with torch.autocast(x.device.type, enabled=False):
            y = _folded(_spread(x, self.weight), (b, h, w), k, s, p, self.bias)
        return y.to(x.dtype, memory_format=torch.channels_last)


class ResizedConv2d(upsampling.ResizedConv2d):
    """`nn.upsampling.ResizedConv2d`; see `Conv2d`. For few pixels the box is laid over what they give, not over the many filters."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [B, I, H, W] to [B, O, 2 H, 2 W]."""
        b, _, h, w = x.shape
        if not _few(x, b * h * w, self.in_channels):
            return super().forward(x, output_size)
        with torch.autocast(x.device.type, enabled=False):
            given = upsampling.over_a_box(_spread(x, self.weight).unflatten(1, (3, 3))).flatten(1, 2)
            y = _folded(given, (b, h, w), 4, 2, 1, self.bias)
        return y.to(x.dtype, memory_format=torch.channels_last)


def _spread(x: Tensor, weight: Tensor) -> Tensor:
    """Return what each pixel of [B, I, H, W] gives to its surroundings by filters [I, O, k, k]: [B · H · W, k · k, O], float32."""
    inputs, outputs, k, _ = weight.shape
    given = x.float().permute(0, 2, 3, 1).reshape(-1, inputs) @ weight.permute(0, 2, 3, 1).reshape(inputs, -1)
    return given.view(-1, k * k, outputs)


def _folded(spread: Tensor, size: tuple[int, int, int], k: int, s: int, p: int, bias: Tensor | None) -> Tensor:
    """Return the map [B, O, H', W'] that adds up what all pixels of (B, H, W) give, with a bias."""
    b, h, w = size
    columns = spread.view(b, h * w, k * k, -1).permute(0, 3, 2, 1).reshape(b, -1, h * w)
    y = F.fold(columns, (s * (h - 1) + k - 2 * p, s * (w - 1) + k - 2 * p), k, padding=p, stride=s)
    return y if bias is None else y + bias.view(1, -1, 1, 1)
