"""Convolutions that a style governs: instance norm with a style's scale and shift, and modulated weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.gan.upfirdn import conv_up

Noise = Callable[[Tensor, int], Tensor]
"""(a layer's fixed noise [1, 1, H, W], examples) to the noise that it adds, [examples or 1, 1, H, W]."""


class ModulatedConv2d(nn.Module):
    """Convolution whose weights a style scales per input channel, w' = s·w, and that divides each output channel by ‖w'‖₂.

    The weights differ from example to example (arXiv:1912.04958, equations 1 to 3). Convolving s·x with the shared weights and dividing the
    outcome by ‖w'‖ is the same function, and a plain convolution.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the filters, odd.
        latent: Dimensions of the style.
        up: Double height and width.
        demodulate: Divide by ‖w'‖.
        around: What the scales start around.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, latent: int, *, up: bool = False, demodulate: bool = True,
        around: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.style = EqualLinear(latent, inputs, gain=1.0, bias=around)
        self.scale, self.up, self.demodulate = 1 / math.sqrt(inputs * kernel * kernel), up, demodulate

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0, added: Tensor | None = None) -> Tensor:
        """[B, inputs, H, W] under styles w [B, latent] to `gain` times [B, outputs, H', W'], and `added` [B or 1, 1, H', W'] to that."""
        s = self.style(w).float() * self.scale  # the weights' factor, where it costs least
        weight = self.weight
        x = x * (s if self.demodulate else s * gain).to(x.dtype)[:, :, None, None]
        x = conv_up(x, weight) if self.up else F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return x if added is None else x + added.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # sums of squares need more than eight bits
            d = gain * (s.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        d = d.to(x.dtype)[:, :, None, None]
        return x * d if added is None else torch.addcmul(added.to(x.dtype), x, d)


class StyledLayer(nn.Module):
    """One layer of a style-based generator: convolution, noise, bias, leaky rectifier, and the style's say in it.

    `adain` (arXiv:1812.04948, figure 1): after the rectifier every channel of every example is brought to mean 0 and deviation 1, then scaled
    and shifted by the style; noise has a learnt strength for each channel. `modulated` (arXiv:1912.04958, figure 2c): the style acts on the
    convolution's weights; noise has one strength.

    Args:
        inputs: Input channels; 0 for a layer without a convolution (only with adain).
        outputs: Output channels.
        latent: Dimensions of the style.
        size: Height and width of what comes out.
        style: How the style enters.
        up: Double height and width.
        noise: Add noise.
        around: What the scales that styles give start around.
    """

    fixed: Tensor

    def __init__(
        self, inputs: int, outputs: int, latent: int, size: tuple[int, int], *,
        style: Literal["adain", "modulated"], up: bool = False, noise: bool = True, around: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.adain, self.around = style == "adain", around
        if self.adain:
            resample: Literal["none", "up"] = "up" if up else "none"
            self.conv = EqualConv2d(inputs, outputs, 3, 1, bias=False, resample=resample) if inputs else None
            self.style = EqualLinear(latent, 2 * outputs, gain=1.0)
        else:
            self.conv = ModulatedConv2d(inputs, outputs, 3, latent, up=up, around=around)
        self.strength = nn.Parameter(torch.zeros(outputs if self.adain else 1)) if noise else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noise:
            self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """[B, inputs, H, W] under styles w [B, latent] to [B, outputs, H', W']."""
        added = None if self.strength is None else noise(self.fixed, len(x)) * self.strength.view(1, -1, 1, 1)
        bias = self.bias.view(1, -1, 1, 1)
        if not self.adain:
            # The rectifier's gain of √2 stands before noise and bias, where demodulation gives it for nothing.
            x = self.conv(x, w, math.sqrt(2), added)
            return leaky_relu(x + bias.to(x.dtype))
        x = x if self.conv is None else self.conv(x)
        x = leaky_relu(x + (bias if added is None else bias + added).to(x.dtype))
        scale, shift = self.style(w).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(x, eps=1e-8) * (self.around + scale) + shift
