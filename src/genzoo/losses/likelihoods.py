"""Log-likelihoods of pixels, element by element, in nats; and what sums, averages and converts them.

All of them compute in float32 (or float64 where given) even under autocast: a bfloat16 discretised logistic does not
sum to one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run a function of tensors outside autocast, with half-precision arguments brought to float32."""

    @functools.wraps(function)
    def run(*args: Tensor | float, **kwargs: Tensor | float) -> Tensor:
        def up(a: Tensor | float) -> Tensor | float:
            return a.float() if isinstance(a, Tensor) and a.dtype in (torch.float16, torch.bfloat16) else a

        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(up, args), **{k: up(a) for k, a in kwargs.items()})

    return run


@full_precision
def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """Log Bernoulli(x; sigmoid(logits)) for `x` in {0, 1}.

    For grey values between 0 and 1 this is the negative cross-entropy, which can be minimised but is not a
    likelihood.
    """
    return x * logits - F.softplus(logits)


@full_precision
def gaussian(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log N(x; mean, exp(log_std)²): a density, which may exceed 0."""
    return -0.5 * ((x - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)


@full_precision
def standard_normal(x: Tensor) -> Tensor:
    """Log N(x; 0, 1): a density."""
    return -0.5 * x.square() - 0.5 * math.log(2 * math.pi)


@full_precision
def standard_logistic(x: Tensor) -> Tensor:
    """Log-density of the logistic distribution with mean 0 and scale 1 (variance π²/3)."""
    return F.logsigmoid(x) + F.logsigmoid(-x)


@full_precision
def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-mass that a logistic distribution puts on the grey level of `x`; the masses of all levels sum to one.

    `x` holds grey levels as values in [-1, 1], `levels` of them, 2 / (levels - 1) apart. With a and b the
    standardised lower and upper edge of the bin, log(σ(b) - σ(a)) = -softplus(-b) - softplus(a) + log(1 - exp(a -
    b)), which neither cancels nor underflows far from the mean. The first and last bin reach to infinity.
    """
    half = 1 / (levels - 1)
    inverse = torch.exp(-log_scale)
    upper = (x - mean + half) * inverse
    lower = (x - mean - half) * inverse
    inside = -F.softplus(-upper) - F.softplus(lower) + torch.log(-torch.expm1(-2 * half * inverse))
    return torch.where(x < -1 + half, -F.softplus(-upper), torch.where(x > 1 - half, -F.softplus(lower), inside))


def per_example(values: Tensor) -> Tensor:
    """Sum over everything but the first dimension: [B, ...] to [B]."""
    return values.flatten(1).sum(1)


def log_mean_exp(values: Tensor, dim: int) -> Tensor:
    """Log of the mean of exp(values) over one dimension."""
    return torch.logsumexp(values, dim) - math.log(values.shape[dim])


def bits_per_dim(log_prob: Tensor, dims: int) -> Tensor:
    """Bits per dimension of a log-probability in nats: -log p / (dims · ln 2).

    >>> round(bits_per_dim(torch.tensor(-79.20), 784).item(), 4)
    0.1457
    """
    return -log_prob / (dims * math.log(2))


def nats(bits: Tensor, dims: int) -> Tensor:
    """The log-probability in nats behind a number of bits per dimension: the inverse of `bits_per_dim`."""
    return -bits * (dims * math.log(2))
