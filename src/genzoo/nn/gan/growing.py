"""Progressive growing (arXiv:1710.10196): level and fade as pure functions of a run's progress, and the discriminator that grows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.nn.gan.dcgan import stages
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear, minibatch_std, pixel_norm
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.layout import channels_last


def growth(progress: float, levels: int, share: float) -> tuple[int, float]:
    """Return the level (doublings so far) and the weight of its images, from 0 to 1, at `progress` of the run.

    The first `share` of the run is cut into 2 · levels equal parts: train at a level, fade in the next, and so on; what is left is
    trained at the last level. A pure function, so that a resumed run grows like one that never stopped.

    >>> [growth(p, 2, 0.8) for p in (0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.8, 0.99)]
    [(0, 1.0), (0, 1.0), (1, 0.25), (1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0), (2, 1.0)]
    """
    if levels == 0 or progress >= share:
        return levels, 1.0
    at = progress / share * 2 * levels
    part = int(at)
    return ((part + 1) // 2, round(at - part, 12)) if part % 2 else (part // 2, 1.0)


def smallest_map(shape: tuple[int, int, int], system: str) -> tuple[int, tuple[int, int]]:
    """Return how often images (C, H, W) are halved until the smaller side is 4 to 7, and the height and width that they have then.

    Raises:
        UserError: A side is below 8 or above 1024, or cannot be halved so often.
    """
    _, h, w = shape
    fits = min(h, w) >= 8 and max(h, w) <= 1024
    levels = stages(h, w) if fits else 0
    unit = 2**levels
    if not fits or h % unit or w % unit:
        near = f"multiples of {unit}, such as {-(-h // unit) * unit}x{-(-w // unit) * unit}" if fits else "8 to 1024"
        raise UserError(
            f"shape {'x'.join(map(str, shape))} is not possible; {system} needs sides of {near}; give size="
        )
    return levels, (h // unit, w // unit)


def enlarge(x: Tensor, factor: int = 2) -> Tensor:
    """Enlarge by repeating the nearest pixel."""
    return F.interpolate(x, scale_factor=factor) if factor > 1 else x


def real_at(x: Tensor, level: int, fade: float, levels: int) -> Tensor:
    """Return real images as `level` of `levels` sees them: averaged down, and faded like generated ones."""
    x = F.avg_pool2d(x, 2 ** (levels - level))
    return x if fade == 1 else enlarge(F.avg_pool2d(x, 2)).lerp(x, fade)


class GrowingDiscriminator(nn.Module):
    """Two 3x3 convolutions for every halving; the last map, with the standard deviation over the batch, ends in two dense layers.

    With classes the score is the product of the image's vector and an embedding of the class (projection, arXiv:1802.05637).

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        widths: Channels of every level, smallest map first.
        filtered: Filter maps before they are halved (arXiv:1812.04948), in place of taking means.
        classes: Number of classes, or 0.
    """

    blocks: Any  # a ModuleList of ModuleLists

    def __init__(
        self, channels: int, start: tuple[int, int], widths: list[int], *, filtered: bool = False, classes: int = 0
    ) -> None:
        super().__init__()
        self.filtered, self.classes, first = filtered, classes, widths[0]

        def halving(inputs: int, outputs: int) -> EqualConv2d:
            return EqualConv2d(inputs, outputs, 3, 1, resample="down" if filtered else "none")

        self.pixels = nn.ModuleList(EqualConv2d(channels, w, 1) for w in widths)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(b, b, 3, 1), halving(b, a)]) for a, b in itertools.pairwise(widths)
        )
        self.last = EqualConv2d(first + 1, first, 3, 1)
        self.dense = EqualLinear(first * start[0] * start[1], first)
        self.score = EqualLinear(first, first if classes else 1, gain=1.0)
        if classes:
            self.embed = EqualLinear(classes, first, gain=1.0)

    def forward(self, x: Tensor, level: int, fade: float = 1.0, y: Tensor | None = None, batches: int = 1) -> Tensor:
        """Return scores [B] of images of `level` [B, C, h, w], with one-hot classes y [B, classes] where there are any.

        Args:
            x: The images.
            level: Doublings of the smallest map.
            fade: Weight of this level's maps; the rest is the level below, seen through its own first convolution.
            y: Their classes.
            batches: As in `minibatch_std`.
        """
        x = channels_last(x) if self.filtered else x
        image, x = x, leaky_relu(self.pixels[level](x))
        for k in range(level - 1, -1, -1):
            for conv in self.blocks[k]:
                x = leaky_relu(conv(x))
            x = x if self.filtered else F.avg_pool2d(x, 2)
            if k == level - 1 and fade < 1:
                x = torch.lerp(leaky_relu(self.pixels[k](F.avg_pool2d(image, 2))), x, fade)
        x = minibatch_std(x, batches=batches)
        x = leaky_relu(self.last(channels_last(x) if self.filtered else x)).flatten(1)
        x = self.score(leaky_relu(self.dense(x))).float()
        if not self.classes:
            return x.squeeze(1)
        return (x * pixel_norm(self.embed(y).float())).sum(1) / math.sqrt(x.shape[1])


def layers_by_size(self: Any) -> list[nn.Module]:
    """Return the layers of a discriminator `self.D` that keeps its blocks by size: what reads pixels, the largest block first, and the ends."""
    skips = getattr(self.D, "skips", [None] * len(self.D.blocks))
    pairs = zip(self.D.blocks, skips, strict=True)
    blocks = [nn.ModuleList([*block, *([] if skip is None else [skip])]) for block, skip in pairs]
    return [self.D.pixels, *reversed(blocks), self.D.last, self.D.dense, self.D.score]
