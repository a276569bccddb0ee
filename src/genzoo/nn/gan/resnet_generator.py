"""The image-to-image ResNet of Johnson et al. (arXiv:1603.08155), as CycleGAN uses it (arXiv:1703.10593, appendix)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.nn import thin
from genzoo.nn.init import normal_init
from genzoo.nn.instance_norm import InstanceNorm2d
from genzoo.nn.upsampling import Upsample, doubling


def _norm(channels: int, affine: bool) -> nn.Module:
    return InstanceNorm2d(channels, affine=affine)  # no running statistics: the same in training and use


class ResidualBlock(nn.Module):
    """x + two reflection-padded 3 x 3 convolutions with instance norm.

    Args:
        width: Channels in and out.
        affine: Give norms a trained scale and shift.
    """

    def __init__(self, width: int, *, affine: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            _norm(width, affine),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            _norm(width, affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of input and change."""
        change: Tensor = self.net(x)
        return x + change


class ResnetGenerator(nn.Module):
    """c7s1-w, d2w, d4w, R4w x blocks, u2w, uw, c7s1-out, tanh; height and width must be multiples of 2^halvings.

    Args:
        channels: Channels of the input.
        out: Channels of the output.
        width: Channels of the first layer.
        blocks: Residual blocks at the smallest size, a quarter with two halvings; there the sides are 2 or more.
        halvings: How often height and width are halved.
        upsample: How maps are doubled: repeated pixels and a convolution, or a transposed one as in the paper (u).
        affine: Give norms a trained scale and shift.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        width: int = 64,
        blocks: int = 9,
        halvings: int = 2,
        upsample: Upsample = "transposed",
        *,
        affine: bool = False,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, width, 7, bias=False),
            _norm(width, affine),
            nn.ReLU(True),
        ]
        for c in (width * 2**i for i in range(halvings)):
            parts += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=False), _norm(2 * c, affine), nn.ReLU(True)]
        parts += [ResidualBlock(width * 2**halvings, affine=affine) for _ in range(blocks)]
        for c in (width * 2**i for i in range(halvings, 0, -1)):
            parts += [
                doubling(upsample, c, c // 2, kernel=3, bias=False),
                _norm(c // 2, affine),
                nn.ReLU(True),
            ]
        self.net = nn.Sequential(*parts, nn.ReflectionPad2d(3), thin.Conv2d(width, out, 7))
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return an image of the same height and width in [-1, 1]."""
        return torch.tanh(self.net(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the last map before the colours, [B, width, H, W]."""
        last: Tensor = self.net[:-2](x)
        return last
