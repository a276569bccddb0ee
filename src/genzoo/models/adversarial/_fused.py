"""The mixing and the discriminators of Projected GAN's program: coarse maps are added and enlarged, and every score has 4x4 places."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from genzoo.core.errors import UserError

END = 8
"""Side of the map that the last convolution of a discriminator sees, if an image has a power of two as its side."""


def nominal_sides(resolution: int, strides: tuple[int, ...], *, doubled: bool) -> list[int]:
    """Return the sides that maps would have if images had the next power of two above `resolution` as theirs.

    >>> nominal_sides(224, (4, 8, 16, 32), doubled=True)
    [128, 64, 32, 16]
    """
    side = 2 ** math.ceil(math.log2(resolution))
    return [side * (2 if doubled else 1) // stride for stride in strides]


class FusedMixing(nn.Module):
    """Fixed random projections of a pyramid, from the coarsest map to the finest: add, enlarge twice, mix channels.

    c_l = A_l F_l + a_l with a random 1x1 convolution; s_l = B_l up(c_l + s_{l+1}) + b_l with another (nothing is added at the coarsest map).
    Every map is twice as large as F's, and has half the channels of its c_l, but for the finest. Weights and biases are uniform within
    1/√fan-in, and buffers: nobody trains them, the checkpoint keeps them.

    Args:
        channels: Channels of each map, fine to coarse, at most four.
        width: Channels of the finest c_l; each coarser one has twice as many.
    """

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        mixed = [width * 2**i for i in range(len(channels))]
        self.channels = (width, *mixed[:-1])
        for i, (given, inner, out) in enumerate(zip(channels, mixed, self.channels, strict=True)):
            for name, layer in (("across", nn.Conv2d(given, inner, 1)), ("fuse", nn.Conv2d(inner, out, 1))):
                assert layer.bias is not None
                self.register_buffer(f"{name}_{i}", layer.weight.detach())
                self.register_buffer(f"{name}_bias_{i}", layer.bias.detach())

    def _mix(self, name: str, i: int, x: Tensor) -> Tensor:
        return F.conv2d(x, getattr(self, f"{name}_{i}"), getattr(self, f"{name}_bias_{i}"))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return as many maps, twice as high and wide."""
        sizes = [(2 * maps[0].shape[2], 2 * maps[0].shape[3]), *(tuple(m.shape[2:]) for m in maps)]
        found: list[Tensor] = []
        for i in reversed(range(len(maps))):
            x = self._mix("across", i, maps[i])
            x = x + found[0] if found else x
            # To the size of the next finer map, which is twice this one's or one less.
            x = F.interpolate(x, sizes[i], mode="bilinear", align_corners=True)
            found.insert(0, self._mix("fuse", i, x))
        return found


class TaperedDiscriminator(nn.Sequential):
    """A discriminator of one map that is halved to 8x8 (7x7 of 224 pixels), with more channels the smaller the map; spectral norm throughout.

    Args:
        channels: Channels of the map.
        width: Channels from 64x64 on; 2, 4 and 8 times as many at 32x32, 16x16 and 8x8.
        side: Side of the map for which halvings and channels are chosen (`nominal_sides`).
        batch_norm: Batch norm behind every convolution but the last.
        outputs: Numbers at every place.

    Raises:
        UserError: The map is too small for the last convolution.
    """

    def __init__(self, channels: int, width: int, side: int, *, batch_norm: bool, outputs: int = 1) -> None:
        if side < 4:
            raise UserError(
                f"judges=tapered ends in filters of 4x4 and the smallest map has a side of {side}: give a larger resolution, or judges=even"
            )
        parts: list[nn.Module] = []
        while side > END:
            side //= 2
            out = width * min(max(64 // side, 1), 8)
            norm = [nn.BatchNorm2d(out)] if batch_norm else []
            parts += [parametrizations.spectral_norm(nn.Conv2d(channels, out, 4, 2, 1)), *norm, nn.LeakyReLU(0.2, True)]
            channels = out
        super().__init__(*parts, parametrizations.spectral_norm(nn.Conv2d(channels, outputs, 4, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs, h, w] of maps [B, channels, H, W]."""
        for part in self:
            x = part(x)
        return x.float()
