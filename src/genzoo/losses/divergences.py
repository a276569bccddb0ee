"""Divergences between distributions in closed form, in nats."""

from __future__ import annotations

import torch
from torch import Tensor


def kl_gaussians(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """KL(N(mean, exp(log_std)²) || N(other_mean, exp(other_log_std)²)) of each dimension, same shape as `mean`."""
    gap = log_std - other_log_std
    distance = (mean - other_mean) * torch.exp(-other_log_std)
    return 0.5 * (torch.exp(2 * gap) + distance.square() - 1) - gap


def kl_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, exp(log_std)²) || N(0, 1)) of each dimension, same shape as `mean`."""
    return 0.5 * (torch.exp(2 * log_std) + mean.square() - 1) - log_std
