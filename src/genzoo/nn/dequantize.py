"""From grey levels to continuous values and back: what lets a density model score a discrete image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

_TOP = 1 - 2.0**-16
"""Upper end of the noise. 255 + (1 − 2⁻¹⁶) is a float32; 255 + (1 − 2⁻²⁴) rounds to 256, whose logit is infinite."""


def level_index(x: Tensor, levels: int) -> Tensor:
    """Return the grey levels 0 … levels−1 (as floats) of an image in [-1, 1]; values outside are clamped.

    A power of two keeps the highest bits of 8, ⌊grey · levels / 256⌋, as published numbers at fewer bits do; of any other number of
    levels it is the nearest.
    """
    x = x if x.dtype == torch.float64 else x.float()
    if levels & (levels - 1):
        return ((x + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1)
    grey = ((x + 1) * 127.5).round().clamp(0, 255)
    return grey if levels == 256 else (grey * (levels / 256)).floor()


def on_levels(x: Tensor, levels: int) -> Tensor:
    """Return an image in [-1, 1] with every value on the grid of `levels` levels: what a mass of levels is the mass of.

    8-bit data lie on the grid of 256 as they come.
    """
    return x if levels == 256 else level_index(x, levels) * (2 / (levels - 1)) - 1


def dequantize(x: Tensor, levels: int, generator: Generator | None) -> Tensor:
    """Spread every grey level uniformly over its cell: `(k + u) / levels`, u uniform in [0, 1 − 2⁻¹⁶).

    `quantize` gives the levels back exactly.

    Args:
        x: Image in [-1, 1], any shape.
        levels: Number of grey levels, at most 256 (float32 cannot hold the noise of more).
        generator: Source of the noise, on the device of `x`. None draws from a fresh one with seed 0, so that a score without
            a generator is repeatable and still an estimate of the bound.

    Returns:
        Values in [0, 1), never 1, float32 (float64 for float64 input).
    """
    k = level_index(x, levels)
    if generator is None:
        generator = Generator(device=k.device).manual_seed(0)
    u = torch.rand(k.shape, generator=generator, device=k.device, dtype=k.dtype) * _TOP
    return (k + u) / levels


def quantize(y: Tensor, levels: int) -> Tensor:
    """Return the image in [-1, 1] whose grey levels hold the values `y`: floor(y · levels), clamped to the range."""
    k = (y * levels).floor().clamp(0, levels - 1)
    return k * (2 / (levels - 1)) - 1


def cell_variance(levels: int) -> float:
    """Return the variance that uniform dequantization adds to a pixel in [0, 1]: 1 / (12 · levels²)."""
    return 1 / (12 * levels**2)


def cell_centre(x: Tensor, levels: int) -> Tensor:
    """Return the mean of `dequantize(x)`, the middle of the cell, in [0, 1], float64."""
    return (level_index(x, levels).double() + 0.5) / levels


def discrete_log_prob(log_density: Tensor, dims: int, levels: int) -> Tensor:
    """Turn the log-density on [0, 1]^dims of dequantized data into nats of the discrete image.

    A cell has volume levels^−dims, so log P(k) ≥ E_u[log p((k + u) / levels)] − dims · ln(levels) by Jensen's inequality
    (Theis, van den Oord and Bethge 2016); with one draw of u the value is an unbiased estimate of that bound.
    """
    return log_density - dims * math.log(levels)


def training_noise(x: Tensor) -> Generator:
    """Return a generator on the device of `x`, seeded from torch's global state, which a checkpoint keeps: for noise in training."""
    return Generator(x.device).manual_seed(int(torch.randint(2**62, ())))


@dataclass(frozen=True)
class Dequantizer:
    """Takes data to what a continuous density scores and back: images [B, C, H, W] through their grey levels, points [B, D] as they are.

    Args:
        shape: (C, H, W) of an image or (D,) of a point.
        levels: Grey levels of an image.
    """

    shape: tuple[int, ...]
    levels: int

    @property
    def images(self) -> bool:
        """Tell images from points."""
        return len(self.shape) == 3

    @property
    def dims(self) -> int:
        """Count the values of one example."""
        return math.prod(self.shape)

    def spread(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Dequantize an image (see `dequantize`)."""
        return dequantize(x, self.levels, generator) if self.images else x

    def middle(self, x: Tensor) -> Tensor:
        """Return the middle of each grey level of an image, in [0, 1]."""
        return (level_index(x, self.levels) + 0.5) / self.levels if self.images else x

    def gather(self, u: Tensor) -> Tensor:
        """Return the data that continuous values stand for (see `quantize`)."""
        return quantize(u, self.levels) if self.images else u

    def log_prob(self, log_density: Tensor) -> Tensor:
        """Return nats of a discrete image (see `discrete_log_prob`), or the log-density of a point."""
        return discrete_log_prob(log_density, self.dims, self.levels) if self.images else log_density
