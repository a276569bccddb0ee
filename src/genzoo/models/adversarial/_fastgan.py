"""The generator of FastGAN (arXiv:2101.04775): gated convolutions, and coarse maps that weigh the channels of fine ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from genzoo.nn import draws
from genzoo.nn.gan.dcgan import stages
from genzoo.nn.gan.equalized import pixel_norm

MULTIPLES = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)
"""Channels at 0, 1, 2 ... doublings of the smallest map, as multiples of the width."""
SKIPPED = 4
"""Doublings between a map and the one that weighs its channels."""
UNWEIGHED = 8
"""Doublings from which on none is weighed (1,024 pixels)."""


def _conv(inputs: int, outputs: int, kernel: int, padding: int = 0, *, bias: bool = False) -> nn.Module:
    return parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, kernel, 1, padding, bias=bias))


class ClassNorm(nn.Module):
    """Batch norm whose scale and shift come from the class through spectrally normalized dense layers.

    Args:
        channels: Channels of the map.
        given: Dimensions of the class's vector; 0 for plain batch norm.
    """

    def __init__(self, channels: int, given: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not given)
        if given:
            self.scale = parametrizations.spectral_norm(nn.Linear(given, channels))
            self.shift = parametrizations.spectral_norm(nn.Linear(given, channels))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Normalize [B, channels, H, W], with vectors of classes y [B, given]."""
        x = self.norm(x)
        if y is None:
            return x
        return torch.addcmul(self.shift(y)[:, :, None, None], x, 1 + self.scale(y)[:, :, None, None])


class GatedLayer(nn.Module):
    """A 3x3 convolution, noise of a learnt strength, batch norm, and one half of the channels as the gate of the other.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        size: Height and width of the map.
        given: Dimensions of the class's vector, or 0.
        noise: Add noise: new noise in training, held noise otherwise.
    """

    fixed: Tensor

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], given: int, *, noise: bool) -> None:
        super().__init__()
        self.conv, self.norm = _conv(inputs, 2 * outputs, 3, 1), ClassNorm(2 * outputs, given)
        self.strength = nn.Parameter(torch.zeros(1)) if noise else None
        if noise:
            self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        x = self.conv(x)
        if self.strength is not None:
            noise = (
                draws.randn(len(x), 1, *x.shape[2:], device=x.device, generator=None) if self.training else self.fixed
            )
            x = x + self.strength * noise.to(x.dtype)
        return F.glu(self.norm(x, y), 1)


class Excitation(nn.Module):
    """A factor in (0, 1) for every channel of a fine map, read from 4x4 places of a coarse one (skip-layer excitation).

    Args:
        coarse: Channels of the coarse map.
        fine: Channels of the fine map.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), _conv(coarse, fine, 4), nn.SiLU(), _conv(fine, fine, 1), nn.Sigmoid()
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the fine map [B, fine, H, W], weighed by what the coarse map [B, coarse, h, w] says."""
        weighed: Tensor = fine * self.net(coarse)
        return weighed


class FastSynthesis(nn.Module):
    """FastGAN's generator, as Projected GAN trains it: spectral norm on every weight, no image but the last, nothing that bounds it.

    z is brought to mean square 1. The smallest map has sides of 4 to 7; sizes that are no multiples are made a little larger and cropped.

    Args:
        shape: (C, H, W) of the image.
        latent: Dimensions of z.
        width: Channels at 128 pixels (five doublings).
        labels: Classes whose one-hot vector stands behind z; 0 for none.
        lite: One convolution for each doubling and no noise, in place of two with noise.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent: int, width: int, *, labels: int = 0, lite: bool = False
    ) -> None:
        super().__init__()
        c, self.h, self.w = shape
        self.latent, levels, given = latent, stages(self.h, self.w), latent if labels else 0
        start = tuple(math.ceil(s / 2**levels) for s in (self.h, self.w))
        widths = [max(1, int(m * width)) for m in MULTIPLES[: levels + 1]]
        self.first = parametrizations.spectral_norm(nn.ConvTranspose2d(latent, 2 * widths[0], start, bias=False))
        self.norm = nn.BatchNorm2d(2 * widths[0])
        self.embed = nn.Embedding(labels, latent) if labels else None
        self.doublings, self.excite = nn.ModuleList(), nn.ModuleDict()
        for k in range(1, levels + 1):
            size = (start[0] * 2**k, start[1] * 2**k)
            ends = [(widths[k - 1], widths[k])] if lite else [(widths[k - 1], widths[k]), (widths[k], widths[k])]
            self.doublings.append(nn.ModuleList(GatedLayer(a, b, size, given, noise=not lite) for a, b in ends))
            if SKIPPED <= k < UNWEIGHED:
                self.excite[str(k)] = Excitation(widths[k - SKIPPED], widths[k])
        self.out = _conv(widths[-1], c, 3, 1, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        """Return images [B, C, H, W] of z [B, latent + labels]; they are to come to lie in [-1, 1]."""
        z, y = z[:, : self.latent], None if self.embed is None else z[:, self.latent :] @ self.embed.weight
        maps = [F.glu(self.norm(self.first(pixel_norm(z)[:, :, None, None])), 1)]
        for k, layers in enumerate(self.doublings, 1):
            x = F.interpolate(maps[-1], scale_factor=2)
            for layer in layers.children():
                x = layer(x, y)
            maps.append(self.excite[str(k)](maps[k - SKIPPED], x) if str(k) in self.excite else x)
        x = self.out(maps[-1])
        top, left = (x.shape[2] - self.h) // 2, (x.shape[3] - self.w) // 2
        return x[:, :, top : top + self.h, left : left + self.w].float()
