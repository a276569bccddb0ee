"""What proofs of pairs need to tell detail from texture: sharpness, noise of equal sharpness, grids, and errors over independent images.

A distance by a recognition network rewards any texture where the truth has some: an output plus white noise is nearer than the output. So the
proofs show beside every sharpened output a blurred one with as much white noise as makes it equally sharp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from proofs.proof import Proof

SEGMENT = 64
"""Pixels of a line whose spectrum is taken at once, so that images of any size are seen at one resolution; 32 where images are smaller."""


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

    Lines of 64 pixels under a Hann window (of 32 where an image has fewer than 64), rows and columns, all channels; a frequency's own peak is
    three bins wide, its neighbours are the four bins beyond on every side that there is, by their geometric mean.

    Args:
        x: Images [N, C, H, W] in [-1, 1], 32 pixels a side or more.
        period: 2 or 4 pixels: what transposed convolutions of stride 2, once and twice, leave behind.
    """
    segment = SEGMENT if min(x.shape[2:]) >= SEGMENT else SEGMENT // 2
    if min(x.shape[2:]) < segment:
        raise ValueError(
            f"images of {x.shape[2]}x{x.shape[3]} pixels are too small; a grid is measured from {segment} pixels a side on"
        )
    window = torch.hann_window(segment, dtype=torch.float64)
    at = segment // period
    near = [at + side * k for side in (-1, 1) for k in range(3, 7) if at + side * k <= segment // 2]
    ratios = []
    for lines in (x, x.transpose(2, 3)):
        count = lines.shape[3] // segment
        cut = lines[..., : count * segment].double().unflatten(3, (count, segment))
        power = torch.fft.rfft((cut - cut.mean(-1, keepdim=True)) * window).abs().square().mean((1, 2, 3))
        power = power.clamp(min=1e-9)  # flat images have no grid
        peak = power[:, at - 1 : at + 2].mean(1)
        ratios.append(peak.log() - power[:, near].log().mean(1))
    return torch.stack(ratios).mean(0).exp()


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean over independent examples and its standard error."""
    return float(values.double().mean()), float(values.double().std() / math.sqrt(len(values)))


def grids_of(x: Tensor, period: int) -> tuple[float, float]:
    """Return the geometric mean over images of `grid_power`, and its standard error (the logarithm's, times the mean)."""
    logs = grid_power(x, period).log()
    mean, se = mean_and_error(logs)
    return math.exp(mean), math.exp(mean) * se


def measure_grids(p: Proof, lead: str, rows: Mapping[str, Tensor], about: str, prefix: str = "") -> None:
    """Record how much grids of 2 and 4 pixels stand out of what a system makes, with other images beside it.

    Args:
        p: The proof.
        lead: The row that the record is about.
        rows: Images [N, C, H, W] in [-1, 1], by name; the real ones among them.
        about: What the images are.
        prefix: Before the names of the measures.
    """
    for period in (2, 4):
        values = {name: grids_of(x, period) for name, x in rows.items()}
        p.measure(
            f"{prefix}grid of {period} pixels", values[lead][0], se=values[lead][1], n=len(rows[lead]), split="test", better="lower",
            baseline={name: round(mean, 4) for name, (mean, _) in values.items() if name != lead},
            protocol=f"power of patterns that repeat every {period} pixels over that of neighbouring frequencies, geometric mean over images: 1 "
            f"is no grid; {about}",
        )  # fmt: skip
