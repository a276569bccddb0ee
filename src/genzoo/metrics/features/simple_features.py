"""Features of sounds and of anything that need no trained network, for any measure of features.

Spectra are what they say. `RandomFeatures`, an untrained seeded network, checks that measures run on any shape and react to
noise; it is for sanity only: it hardly sees missing classes, and its distances are no measure of quality.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.core.errors import UserError

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _finite(x: Tensor, name: str) -> Tensor:
    bad = int((~x.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise UserError(f"{bad} of {len(x)} {name} hold NaN or infinite values")
    return x


class RandomFeatures(nn.Module):
    """Features of an untrained network with seeded weights, for audio, images, video or voxels: random, sanity only.

    Three convolutions of 3 (stride 2 where the size allows) with ReLU; the mean and the deviation over places of each channel of the second
    and third.

    Args:
        rank: Dimensions of a place: 1 for audio [N, C, T], 2 for images, 3 for video [N, C, T, H, W] and voxels.
        channels: C.
        width: Channels of the first and the last convolution, even; there are 3 · width features.
        seed: Seed of the weights.
    """

    name = "random, sanity only"
    w0: Tensor

    def __init__(self, rank: int, channels: int, *, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        if rank not in CONVS or channels < 1 or width < 2 or width % 2:
            raise UserError(
                f"rank 1, 2 or 3, at least one channel and an even width are needed, not {rank}, {channels}, {width}"
            )
        self.rank = rank
        g = torch.Generator().manual_seed(seed)
        widths = [channels, width, width // 2, width]
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            std = math.sqrt(2 / (a * 3**rank))
            self.register_buffer(f"w{i}", torch.randn(b, a, *[3] * rank, generator=g) * std)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return features, float32 [N, 3 · width], of [N, C, ...] in [-1, 1]; any sides of at least 1."""
        if x.ndim != self.rank + 2 or x.shape[1] != self.w0.shape[1] or not x.numel():
            raise UserError(f"[N, {self.w0.shape[1]}] and {self.rank} sides are needed, not {tuple(x.shape)}")
        x = _finite(x.float(), "examples")
        out = []
        for i in range(3):
            stride = [2 if s > 2 else 1 for s in x.shape[2:]]
            x = CONVS[self.rank](x, getattr(self, f"w{i}"), stride=stride, padding=1).relu()
            if i:
                flat = x.flatten(2)
                out += [flat.mean(2), flat.std(2, correction=0)]
        return torch.cat(out, 1)
