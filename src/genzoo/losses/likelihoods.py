"""Log-likelihoods of pixels, element by element, in nats; and what sums, averages and converts them.

All of them compute in float32 (or float64 where given) even under autocast: a bfloat16 discretized logistic does not
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
    """Return log Bernoulli(x; sigmoid(logits)) for `x` in {0, 1}.

    For grey values between 0 and 1 this is the negative cross-entropy, which can be minimized but is not a
    likelihood.
    """
    return x * logits - F.softplus(logits)


@full_precision
def gaussian(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return log N(x; mean, exp(log_std)²): a density, which may exceed 0."""
    return -0.5 * ((x - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)


@full_precision
def standard_normal(x: Tensor) -> Tensor:
    """Return log N(x; 0, 1): a density."""
    return -0.5 * x.square() - 0.5 * math.log(2 * math.pi)


@full_precision
def standard_logistic(x: Tensor) -> Tensor:
    """Return the log-density of the logistic distribution with mean 0 and scale 1 (variance π²/3)."""
    return F.logsigmoid(x) + F.logsigmoid(-x)


@full_precision
def discretized_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the log-mass that a logistic distribution puts on the grey level of `x`; the masses of all levels sum to one.

    `x` holds grey levels as values in [-1, 1], `levels` of them, 2 / (levels - 1) apart. With a and b the
    standardized lower and upper edge of the bin, log(σ(b) - σ(a)) = -softplus(-b) - softplus(a) + log(1 - exp(a -
    b)), which neither cancels nor underflows far from the mean. The first and last bin reach to infinity.
    """
    half = 1 / (levels - 1)
    inverse = torch.exp(-log_scale)
    upper = (x - mean + half) * inverse
    lower = (x - mean - half) * inverse
    inside = -F.softplus(-upper) - F.softplus(lower) + torch.log(-torch.expm1(-2 * half * inverse))
    return torch.where(x < -1 + half, -F.softplus(-upper), torch.where(x > 1 - half, -F.softplus(lower), inside))


@full_precision
def logistic_mixture(x: Tensor, logits: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the log-mass that a mixture of discretized logistics puts on the level of `x`, [...].

    `logits`, `mean` and `log_scale` are [..., K]: one value for each component.
    """
    log_mass = discretized_logistic(x.unsqueeze(-1), mean, log_scale, levels)
    return torch.logsumexp(logits.log_softmax(-1) + log_mass, -1)


@full_precision
def coupled_mean(x: Tensor, mean: Tensor, coupling: Tensor) -> Tensor:
    """Return the means of a pixel's colours given the colours before them, [..., C, K] (arXiv:1701.05517, equation 3).

    μ_c(x_<c) = μ_c + Σ_{j<c} α_cj x_j, each component with its own α in the order (1, 0), (2, 0), (2, 1), (3, 0) ...

    Args:
        x: Values of the colours, [..., C].
        mean: Means μ, [..., C, K].
        coupling: Coefficients α, [..., C(C-1)/2, K].
    """
    shifted, first = [mean[..., 0, :]], 0
    for c in range(1, mean.shape[-2]):
        own = coupling[..., first : first + c, :]
        shifted.append(mean[..., c, :] + (own * x[..., :c, None]).sum(-2))
        first += c
    return torch.stack(torch.broadcast_tensors(*shifted), -2)


@full_precision
def coupled_logistic_mixture(
    x: Tensor, logits: Tensor, mean: Tensor, log_scale: Tensor, coupling: Tensor, levels: int
) -> Tensor:
    """Return the log-mass that a mixture puts on a whole pixel: its colours share one component, and follow one another, [...].

    Args:
        x: The pixel, [..., C], as values in [-1, 1] of `levels` levels.
        logits: Of the components, [..., K].
        mean: [..., C, K].
        log_scale: [..., C, K].
        coupling: See `coupled_mean`.
        levels: Grey levels.
    """
    mean = coupled_mean(x, mean, coupling)
    log_mass = discretized_logistic(x.unsqueeze(-1), mean, log_scale, levels).sum(-2)
    return torch.logsumexp(logits.log_softmax(-1) + log_mass, -1)


def pick(uniform: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the index, [...], at which the cumulative distribution of `logits` [..., K] passes `uniform` [...] in [0, 1)."""
    return pick_from(uniform, (logits if temperature == 1 else logits / temperature).softmax(-1))


def pick_from(uniform: Tensor, p: Tensor) -> Tensor:
    """Return the index, [...], at which the cumulative sum of probabilities `p` [..., K] passes `uniform` [...] in [0, 1)."""
    cumulative = p.cumsum(-1)
    # divided by its end, the sum is exactly 1 there, so that nothing of probability zero is ever picked
    return (uniform.unsqueeze(-1) >= cumulative / cumulative[..., -1:]).sum(-1)


def on_grid(x: Tensor, levels: int) -> Tensor:
    """Return the nearest of `levels` values in [-1, 1], 2 / (levels - 1) apart; what lies outside goes to the ends."""
    return ((x.clamp(-1, 1) + 1) * ((levels - 1) / 2)).round() * (2 / (levels - 1)) - 1


def draw_coupled(
    uniform: Tensor,
    logits: Tensor,
    mean: Tensor,
    log_scale: Tensor,
    coupling: Tensor,
    levels: int,
    temperature: float = 1.0,
) -> Tensor:
    """Draw pixels, [..., C], that follow `coupled_logistic_mixture`; colours are rounded before the next one sees them.

    Args:
        uniform: Numbers in [0, 1), [..., 1 + C]: for the component and for each colour.
        logits: As there.
        mean: As there.
        log_scale: As there.
        coupling: As there.
        levels: Grey levels.
        temperature: Divides the logits and multiplies the scales.
    """
    chosen = pick(uniform[..., 0], logits, temperature)[..., None, None]

    def of_chosen(values: Tensor) -> Tensor:
        return values.gather(-1, chosen.expand(*values.shape[:-1], 1)).squeeze(-1)

    mean, coupling = of_chosen(mean), of_chosen(coupling)
    noise = temperature * of_chosen(log_scale).exp() * torch.logit(uniform[..., 1:])
    x = torch.zeros_like(mean)
    first = 0
    for c in range(mean.shape[-1]):
        shift = (coupling[..., first : first + c] * x[..., :c]).sum(-1)
        x[..., c] = on_grid(mean[..., c] + shift + noise[..., c], levels)
        first += c
    return x


def per_example(values: Tensor) -> Tensor:
    """Sum over everything but the first dimension: [B, ...] to [B]."""
    return values.flatten(1).sum(1)


def log_mean_exp(values: Tensor, dim: int) -> Tensor:
    """Return the log of the mean of exp(values) over one dimension."""
    return torch.logsumexp(values, dim) - math.log(values.shape[dim])


def bits_per_dim(log_prob: Tensor, dims: int) -> Tensor:
    """Return bits per dimension of a log-probability in nats: -log p / (dims · ln 2).

    >>> round(bits_per_dim(torch.tensor(-79.20), 784).item(), 4)
    0.1457
    """
    return -log_prob / (dims * math.log(2))
