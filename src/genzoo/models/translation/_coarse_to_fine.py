"""The coarse-to-fine generator of pix2pixHD and the encoder of instance features (arXiv:1711.11585, sections 3.2 and 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn import thin
from genzoo.nn.gan.resnet_generator import ResidualBlock, ResnetGenerator
from genzoo.nn.init import normal_init
from genzoo.nn.instance_norm import InstanceNorm2d
from genzoo.nn.upsampling import Upsample, doubling


class Enhancer(nn.Module):
    """A local enhancer: c7s1-w, d2w, plus the coarser generator's last map, R2w x blocks, uw.

    Args:
        channels: Channels of the input.
        width: Channels of the first layer.
        blocks: Residual blocks.
        upsample: How the map is doubled.
    """

    def __init__(self, channels: int, width: int, blocks: int, upsample: Upsample) -> None:
        super().__init__()
        norm = InstanceNorm2d
        self.down = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7, bias=False), norm(width), nn.ReLU(True),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), norm(2 * width), nn.ReLU(True),
        )  # fmt: skip
        self.up = nn.Sequential(
            *(ResidualBlock(2 * width) for _ in range(blocks)),
            doubling(upsample, 2 * width, width, kernel=3, bias=False), norm(width), nn.ReLU(True),
        )  # fmt: skip
        normal_init(self)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """Map [B, channels, H, W] and [B, 2 width, H/2, W/2] to [B, width, H, W]."""
        return self.up(self.down(x) + coarse)


class CoarseToFine(nn.Module):
    """A global generator at 1/2^enhancers of the size, and enhancers that each double it.

    Args:
        channels: Channels of the input.
        out: Channels of the output.
        width: Channels of the global generator's first layer; halved for every enhancer.
        halvings: How often the global generator halves its image.
        blocks: Its residual blocks.
        enhancers: Number of local enhancers.
        enhancer_blocks: Residual blocks of each.
        upsample: How maps are doubled.
    """

    def __init__(
        self, channels: int, out: int, width: int, halvings: int, blocks: int, enhancers: int, enhancer_blocks: int,
        upsample: Upsample = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        self.whole = ResnetGenerator(channels, out, width, blocks, halvings, upsample)
        widths = [width // 2**k for k in range(1, enhancers + 1)]
        self.enhancers = nn.ModuleList(Enhancer(channels, w, enhancer_blocks, upsample) for w in widths)
        self.colours = nn.ModuleList(
            nn.Sequential(nn.ReflectionPad2d(3), thin.Conv2d(w, out, 7)) for w in widths[-1:]
        )  # of the finest alone
        normal_init(self.colours)

    def coarse(self, x: Tensor) -> Tensor:
        """Return what the global generator alone makes of an image, at the image's own size."""
        return self.whole(x).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return an image of the same height and width in [-1, 1]."""
        if not len(self.enhancers):
            return self.coarse(x)
        pyramid = [x]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        h = self.whole.features(pyramid.pop())
        for enhancer in self.enhancers:
            h = enhancer(pyramid.pop(), h)
        return torch.tanh(self.colours[0](h).float())


def halved(x: Tensor) -> Tensor:
    """Halve height and width, by the mean over 3 x 3 pixels; beyond the border nothing counts."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def instance_means(features: Tensor, ids: Tensor) -> Tensor:
    """Replace every value by the mean over its instance.

    Args:
        features: [B, F, H, W].
        ids: int64 [B, 1, H, W]: pixels of one example that have the same number are one instance.

    Returns:
        [B, F, H, W].
    """
    b, f, h, w = features.shape
    count = int(ids.max()) + 1
    flat = (ids + count * torch.arange(b, device=ids.device).view(b, 1, 1, 1)).flatten()
    values = features.float().permute(0, 2, 3, 1).reshape(-1, f)
    sums = values.new_zeros(b * count, f).index_add(0, flat, values)
    sizes = torch.bincount(flat, minlength=b * count).clamp(min=1)
    return (sums / sizes[:, None])[flat].view(b, h, w, f).permute(0, 3, 1, 2)


def boundaries(ids: Tensor) -> Tensor:
    """Return 1 where a pixel's number differs from that of one of its four neighbours, else 0, float32 [B, 1, H, W]."""
    edge = torch.zeros_like(ids, dtype=torch.bool)
    across, along = ids[..., 1:] != ids[..., :-1], ids[..., 1:, :] != ids[..., :-1, :]
    edge[..., 1:] |= across
    edge[..., :-1] |= across
    edge[..., 1:, :] |= along
    edge[..., :-1, :] |= along
    return edge.float()
