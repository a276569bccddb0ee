"""How images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def channels_last(x: Tensor) -> Tensor:
    """Return the same images [B, C, H, W] with the channels of a pixel side by side, as the trainer's nets have their weights.

    Images of one channel lie so whatever their strides say, and are only told so: convolutions go by the strides, and would give maps of
    many channels in the slower layout.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def layout(x: Tensor) -> torch.memory_format:
    """Return the order in which images [B, C, H, W] lie."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve [B, I, H, W] with filters of one pixel, [O, I, 1, 1]: [B, O, H, W].

    Of channels-last maps it is the product of all pixels and the filters, with no copy; on a CPU, with one thread and fewer than 16 examples,
    PyTorch's convolution copies them into the other order and back.
    """
    plain = (
        x.device.type != "cpu"
        or not x.is_contiguous(memory_format=torch.channels_last)
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )
    if plain:
        return F.conv2d(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """`nn.Conv2d` with filters of one pixel, computed by `pointwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, I, H, W] to [B, O, H, W]."""
        return pointwise(x, self.weight, self.bias)
