"""Divergences between distributions in closed form, in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def kl_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_std)²) || N(0, 1)) of each dimension, same shape as `mean`."""
    return 0.5 * (torch.exp(2 * log_std) + mean.square() - 1) - log_std


def kl_discrete(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(p || q) = Σ p log(p / q) over the last dimension, where 0 log 0 is 0; infinite where q is 0 and p is not."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Return JSD(p, q) = ½ KL(p || m) + ½ KL(q || m) with m = ½ (p + q), over the last dimension; from 0 to log 2."""
    total = p + q
    # The share, not the mean: half of the smallest float is zero, and p log(p / 0) would be infinite.
    left, right = (torch.where(part > 0, 2 * part / total, 1) for part in (p, q))
    return 0.5 * (torch.xlogy(p, left) + torch.xlogy(q, right)).sum(-1)
