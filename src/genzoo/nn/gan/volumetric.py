"""Generator and discriminator of three-dimensional convolutions, for video (time, height, width) and for voxels."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from genzoo.nn.gan.dcgan import stages
from genzoo.nn.init import normal_init

Size = tuple[int, int, int]


def strides(size: Size) -> list[Size]:
    """Return the strides of the doublings from the coarse end on, for a size (T, H, W).

    The smaller of height and width starts from 4 to 7, as in DCGAN; time (the first side) from 2 on, so short clips double only
    their height and width at first.

    >>> strides((32, 64, 64)), strides((4, 16, 16))
    ([(2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)], [(1, 2, 2), (2, 2, 2)])
    """
    k = stages(size[1], size[2])
    in_time = min(k, int(math.log2(max(size[0], 2) / 2)))
    return [(1, 2, 2)] * (k - in_time) + [(2, 2, 2)] * in_time


def _kernel(stride: Size) -> Size:
    """Return 4 where the stride is 2, else 3; with padding 1 both keep sides at a multiple of the stride."""
    return tuple(4 if s == 2 else 3 for s in stride)  # type: ignore[return-value]


class Synthesis3d(nn.Module):
    """Project and reshape, then double with fractionally-strided convolutions; batch norm and ReLU between, nothing last.

    A size that is no multiple of the doublings is made a little larger and cropped.

    Args:
        size: (T, H, W) of the result.
        latent: Dimensions of z.
        width: Channels before the last layer; they double towards the start, up to 8 times this.
        outputs: Channels of the result.
        bias: Give the last layer a bias.
    """

    def __init__(self, size: Size, latent: int, width: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.size, steps = size, strides(size)
        channels = [width * min(2**i, 8) for i in reversed(range(len(steps)))]
        factor = [math.prod(s[d] for s in steps) for d in range(3)]
        self.start = (channels[0], *(math.ceil(side / f) for side, f in zip(size, factor, strict=True)))
        self.project = nn.Linear(latent, math.prod(self.start), bias=False)
        parts: list[nn.Module] = [nn.BatchNorm3d(channels[0]), nn.ReLU(inplace=True)]
        for (a, b), step in zip(itertools.pairwise(channels), steps[:-1], strict=True):
            up = nn.ConvTranspose3d(a, b, _kernel(step), step, 1, bias=False)
            parts += [up, nn.BatchNorm3d(b), nn.ReLU(inplace=True)]
        self.net = nn.Sequential(*parts)
        self.out = nn.ConvTranspose3d(channels[-1], outputs, _kernel(steps[-1]), steps[-1], 1, bias=bias)
        normal_init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Return [B, outputs, T, H, W], unbounded, from z [B, latent]."""
        x: Tensor = self.out(self.net(self.project(z).view(z.shape[0], *self.start)))
        t, y, x0 = ((have - want) // 2 for have, want in zip(x.shape[2:], self.size, strict=True))
        return x[:, :, t : t + self.size[0], y : y + self.size[1], x0 : x0 + self.size[2]]


class Discriminator3d(nn.Module):
    """The generator's mirror: strided convolutions with LeakyReLU(0.2), batch norm on all but the first, one logit.

    Args:
        size: (T, H, W) of what is judged.
        channels: Its channels.
        width: Channels of the first layer; they double up to 8 times this.
        norm: batch or none.
        bias: Give layers without batch norm a bias.
    """

    def __init__(self, size: Size, channels: int, width: int, norm: str = "batch", *, bias: bool = True) -> None:
        super().__init__()
        blocks, sides = [], list(size)
        for i, step in enumerate(reversed(strides(size))):
            out = width * min(2**i, 8)
            between = [nn.BatchNorm3d(out)] if i and norm == "batch" else []
            conv = nn.Conv3d(channels, out, _kernel(step), step, 1, bias=bias and not between)
            blocks.append(nn.Sequential(conv, *between, nn.LeakyReLU(0.2, inplace=True)))
            channels, sides = out, [side // s for side, s in zip(sides, step, strict=True)]
        self.blocks = nn.ModuleList(blocks)
        self.score = nn.Linear(channels * math.prod(sides), 1, bias=bias)
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B] of [B, C, T, H, W]."""
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.score(x.flatten(1))
        return logits.squeeze(1).float()  # losses are never half precision
