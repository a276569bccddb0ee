"""Convolutions whose weights a style modulates (arXiv:1912.04958)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn.gan.equalized import EqualLinear
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.gan.styles import Noise
from genzoo.nn.gan.upfirdn import conv_up


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
        """Map [B, inputs, H, W] under styles w [B, latent] to `gain` times [B, outputs, H', W'], and `added` [B or 1, 1, H', W'] to that."""
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


class ModulatedLayer(nn.Module):
    """One layer of StyleGAN2's generator (figure 2c): a modulated convolution, noise of a learnt strength, bias, leaky rectifier.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        latent: Dimensions of the style.
        size: Height and width of what comes out.
        up: Double height and width.
        noise: Add noise.
        around: What the scales that styles give start around.
    """

    fixed: Tensor

    def __init__(
        self, inputs: int, outputs: int, latent: int, size: tuple[int, int], *,
        up: bool = False, noise: bool = True, around: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, latent, up=up, around=around)
        self.strength = nn.Parameter(torch.zeros(1)) if noise else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noise:
            self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """Map [B, inputs, H, W] under styles w [B, latent] to [B, outputs, H', W']."""
        added = None if self.strength is None else noise(self.fixed, x.shape[0]) * self.strength.view(1, -1, 1, 1)
        # The rectifier's gain of √2 stands before noise and bias, where demodulation gives it for nothing.
        x = self.conv(x, w, math.sqrt(2), added)
        return leaky_relu(x.add_(self.bias.view(1, -1, 1, 1).to(x.dtype)), inplace=True)
