"""What proofs of pairs need to tell detail from texture: sharpness, noise of equal sharpness, grids, and errors over independent images.

A distance by a recognition network rewards any texture where the truth has some: an output plus white noise is nearer than the output. So the
proofs show beside every sharpened output a blurred one with as much white noise as makes it equally sharp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SEGMENT = 64
"""Pixels of a line whose spectrum is taken at once, so that images of any size are seen at one resolution."""


def sharpness(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, what blur takes away, [N]."""
    return 0.5 * (x.diff(dim=2).abs().flatten(1).mean(1) + x.diff(dim=3).abs().flatten(1).mean(1))


def noise_of_equal_sharpness(y: Sequence[Tensor], like: Sequence[Tensor], seed: int = 0) -> list[Tensor]:
    """Return images with as much white noise, in all alike, that their mean sharpness is that of others; without where they are sharper.

    Args:
        y: Images [N, C, H, W] in [-1, 1], one batch for each size.
        like: What they shall be as sharp as, as many batches.
        seed: Of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(x.shape, generator=generator) for x in y]

    def noisy(level: float) -> list[Tensor]:
        return [(x + level * n).clamp(-1, 1) for x, n in zip(y, noise, strict=True)]

    def mean(batches: Sequence[Tensor]) -> float:
        return float(torch.cat([sharpness(x) for x in batches]).double().mean())

    wanted, low, high = mean(like), 0.0, 1.0
    if mean(y) >= wanted:
        return list(y)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(noisy(middle)) < wanted else (low, middle)
    return noisy(high)


def grid_power(x: Tensor, period: int) -> Tensor:
    """Return how much a pattern of `period` pixels stands out of an image, [N]: its power over that of neighbouring frequencies, 1 for none.

    Lines of 64 pixels under a Hann window, rows and columns, all channels; a frequency's own peak is three bins wide, its neighbours are the
    four bins beyond on every side that there is, by their geometric mean.

    Args:
        x: Images [N, C, H, W] in [-1, 1], 64 pixels a side or more.
        period: 2 or 4 pixels: what transposed convolutions of stride 2, once and twice, leave behind.
    """
    window = torch.hann_window(SEGMENT, dtype=torch.float64)
    at = SEGMENT // period
    near = [at + side * k for side in (-1, 1) for k in range(3, 7) if at + side * k <= SEGMENT // 2]
    ratios = []
    for lines in (x, x.transpose(2, 3)):
        count = lines.shape[3] // SEGMENT
        cut = lines[..., : count * SEGMENT].double().unflatten(3, (count, SEGMENT))
        power = torch.fft.rfft((cut - cut.mean(-1, keepdim=True)) * window).abs().square().mean((1, 2, 3))
        power = power.clamp(min=1e-9)  # flat images have no grid
        peak = power[:, at - 1 : at + 2].mean(1)
        ratios.append(peak.log() - power[:, near].log().mean(1))
    return torch.stack(ratios).mean(0).exp()


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean over independent examples and its standard error."""
    return float(values.double().mean()), float(values.double().std() / math.sqrt(len(values)))
