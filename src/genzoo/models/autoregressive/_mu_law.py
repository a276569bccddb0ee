"""Mu-law: amplitudes in [-1, 1] to codes that are finer near silence, and back (ITU-T G.711, as WaveNet uses it)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def compress(x: Tensor, levels: int = 256) -> Tensor:
    """Return f(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ) with μ = levels - 1, from [-1, 1] to [-1, 1]; more is cut off."""
    x, mu = x.clamp(-1, 1), levels - 1
    return torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)


def expand(y: Tensor, levels: int = 256) -> Tensor:
    """Undo `compress`: sign(y) ((1 + μ)^|y| - 1) / μ."""
    mu = levels - 1
    return torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu


def encode(x: Tensor, levels: int = 256) -> Tensor:
    """Return codes, int64 in 0..levels-1, of amplitudes in [-1, 1]: ⌊(f(x) + 1) / 2 · μ + ½⌋."""
    # float32 would put amplitudes that lie on an edge on either side of it, as the vector unit goes
    return ((compress(x.double(), levels) + 1) / 2 * (levels - 1) + 0.5).floor().long()


def decode(codes: Tensor, levels: int = 256) -> Tensor:
    """Return the amplitude, float32 in [-1, 1], that a code stands for; `encode` gives the code back.

    >>> bool((encode(decode(torch.arange(256))) == torch.arange(256)).all())
    True
    """
    return expand(codes.double() * (2 / (levels - 1)) - 1, levels).float()
