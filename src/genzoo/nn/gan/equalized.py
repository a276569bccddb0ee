"""Blocks of progressively grown GANs (arXiv:1710.10196): equalized learning rate, pixel norm, standard deviation over a batch."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn.gan.upfirdn import conv_down, conv_up
from genzoo.ranks.sums import everybody, own, ranks


class EqualConv2d(nn.Module):
    """Convolution whose weights are N(0, 1) and scaled at use by gain / √fan-in, so that Adam moves all layers alike (section 4.1).

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the filters.
        padding: Border of zeros.
        gain: √2 before a rectifier, 1 at an output.
        resample: Double or halve height and width with the filter [1, 3, 3, 1] (arXiv:1812.04948); padding is not read then.
        bias: Add a bias.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, padding: int = 0, gain: float = math.sqrt(2), *,
        resample: Literal["none", "up", "down"] = "none", bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.padding, self.resample = gain / math.sqrt(inputs * kernel * kernel), padding, resample

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H', W']."""
        # The factor goes to whichever is smaller, maps or weights; in a graph, whose batch is free, to the weights.
        small = not torch.compiler.is_exporting() and x.numel() < self.weight.numel()
        x, weight = (x * self.scale, self.weight) if small else (x, self.weight * self.scale)
        if self.resample == "none":
            return F.conv2d(x, weight, self.bias, padding=self.padding)
        x = (conv_up if self.resample == "up" else conv_down)(x, weight)
        return x if self.bias is None else x.add_(self.bias.to(x.dtype).view(1, -1, 1, 1))


class EqualLinear(nn.Module):
    """Dense layer with equalized learning rate.

    Args:
        inputs: Input size.
        outputs: Output size.
        gain: √2 before a rectifier, 1 at an output.
        rate: Factor on the layer's learning rate: weights start at N(0, 1/rate²) and are scaled by `rate` at use.
        bias: What the bias starts from.
    """

    def __init__(
        self, inputs: int, outputs: int, gain: float = math.sqrt(2), *, rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = gain / math.sqrt(inputs) * rate, rate

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs] to [B, outputs]."""
        return F.linear(x * self.scale, self.weight, self.bias * self.rate if self.rate != 1 else self.bias)


def pixel_norm(x: Tensor) -> Tensor:
    """Scale every pixel's features (dimension 1) to mean square 1 (section 4.2)."""
    return x * (x.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def minibatch_std(x: Tensor, group: int = 4, batches: int = 1) -> Tensor:
    """Append to [B, C, H, W] one map: the standard deviation over a group of examples, averaged over features and places (section 3).

    Groups are as large as divide the batch, at most `group`; an example shares its group with those B / group places away. Of several
    `batches` of equal size, one behind the other in x, each is grouped by itself. Of several ranks the batch is that of all.
    """
    b, _, h, w = x.shape
    every = x.float().unflatten(0, (batches, -1))
    if ranks() > 1:
        every = everybody(every.transpose(0, 1).contiguous()).transpose(0, 1)
    n = every.shape[1]
    size = next(g for g in range(min(group, n), 0, -1) if n % g == 0)
    y = every.unflatten(1, (size, -1))
    spread = ((y - y.mean(1, keepdim=True)).square().mean(1) + 1e-8).sqrt().mean((2, 3, 4)).repeat(1, size)
    mine = own(spread.T).T if ranks() > 1 else spread
    return torch.cat([x, mine.reshape(b, 1, 1, 1).expand(b, 1, h, w).to(x.dtype)], 1)
