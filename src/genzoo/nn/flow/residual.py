"""Weight-normalized convolutions and the residual net that couplings are made of."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.nn.weight_norm import normalized, start_direction


class WeightNormConv2d(nn.Module):
    """Convolution with kernels `gain · direction / |direction|` (arXiv:1602.07868); keeps height and width.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Side of the square kernel, odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.direction = start_direction((outputs, inputs, kernel, kernel))
        self.gain = nn.Parameter(torch.full((outputs, 1, 1, 1), math.sqrt(2)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        kernel = normalized(self.direction, self.gain)
        return F.conv2d(x, kernel, self.bias, padding=self.direction.shape[-1] // 2)


class ResidualNet(nn.Module):
    """Pre-activation residual net whose output starts at zero (arXiv:1605.08803, section 4.1, without its skip sums into the output).

    Args:
        inputs: Input channels.
        outputs: Output channels.
        width: Feature maps.
        blocks: Residual blocks, two 3x3 convolutions each.
        fold: Work on 2x2 blocks of pixels as channels: a quarter of the positions, so about a quarter of the time.
    """

    blocks: Any  # a ModuleList of pairs of convolutions

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, *, fold: bool = False) -> None:
        super().__init__()
        self.fold = fold
        area = 4 if fold else 1
        self.stem = WeightNormConv2d(inputs * area, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList([WeightNormConv2d(width, width), WeightNormConv2d(width, width)]) for _ in range(blocks)
        )
        self.head = nn.Conv2d(width, outputs * area, 1)
        with torch.no_grad():
            for _, second in self.blocks:  # a deep sum of blocks starts no larger than a shallow one
                second.gain.fill_(1 / math.sqrt(blocks))
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]; height and width are even where `fold`."""
        if self.fold:
            x = F.pixel_unshuffle(x, 2)
        h = self.stem(x)
        for first, second in self.blocks:
            h = h + second(F.relu(first(F.relu(h))))
        y = self.head(F.relu(h))
        return F.pixel_shuffle(y, 2) if self.fold else y


class DenseNet(nn.Sequential):
    """Fully connected net with ReLU whose output starts at zero.

    Args:
        inputs: Input size.
        outputs: Output size.
        width: Hidden units.
        depth: Hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        sizes = [inputs, *[width] * depth]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        last = nn.Linear(sizes[-1], outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(*layers, last)
