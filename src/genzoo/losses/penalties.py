"""Gradient penalties on a critic: how steep it may be, and where.

All norms are over everything of one example (never over the batch, never over channels alone), so the value does not
depend on the batch size. The critic must treat its examples independently: batch normalization makes "the gradient of
one example" meaningless.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from genzoo.ranks.sums import mean_over_ranks, ranks

Critic = Callable[[Tensor], Tensor]
Penalty = Literal["none", "wgan-gp", "dragan", "r1"]
"""wgan-gp: `gradient_penalty` · dragan: `dragan_penalty` · r1: `r1_penalty`."""


def input_gradient(critic: Critic, x: Tensor) -> Tensor:
    """Return d critic(x) / d x for each example as rows [B, numel], differentiable in the critic's parameters."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1)


def _per_sample_uniform(x: Tensor) -> Tensor:
    return torch.rand(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device)


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """Return E (‖∇D(x̂)‖₂ − 1)² on straight lines between real and fake examples, x̂ = εx + (1 − ε)G(z).

    One ε ~ U(0, 1) per example (WGAN-GP, arXiv:1704.00028, algorithm 1).
    """
    epsilon = _per_sample_uniform(real)
    between = epsilon * real.detach() + (1 - epsilon) * fake.detach()
    norm: Tensor = input_gradient(critic, between).norm(dim=1)
    return (norm - 1).square().mean()


def dragan_penalty(critic: Critic, real: Tensor) -> Tensor:
    """Return E (‖∇D(x̂)‖₂ − 1)² around the data, x̂ = x + α·½·std(x)·U.

    U ~ U(0, 1) per value, α ~ U(0, 1) per example, std over the whole batch (DRAGAN, arXiv:1705.07215).
    """
    real = real.detach()
    noise = 0.5 * _std(real) * torch.rand_like(real)
    nearby = real + _per_sample_uniform(real) * noise
    norm: Tensor = input_gradient(critic, nearby).norm(dim=1)
    return (norm - 1).square().mean()


def _std(real: Tensor) -> Tensor:
    if ranks() == 1:
        return real.std(correction=0)
    return mean_over_ranks((real - mean_over_ranks(real.mean())).square().mean()).sqrt()


def r1_penalty(critic: Critic, real: Tensor, gamma: float = 1.0) -> Tensor:
    """Return γ/2 · E ‖∇D(x)‖₂² on real examples (R1, arXiv:1801.04406)."""
    real = real.detach().requires_grad_(True)
    return r1_of(critic(real), real, gamma)


def weighted_penalty(kind: Penalty, critic: Critic, real: Tensor, fake: Tensor, weight: float) -> Tensor:
    """Return the penalty of a name with its weight: λ of wgan-gp and dragan, γ of r1; zero for none."""
    match kind:
        case "wgan-gp":
            return weight * gradient_penalty(critic, real, fake)
        case "dragan":
            return weight * dragan_penalty(critic, real)
        case "r1":
            return r1_penalty(critic, real, gamma=weight)
    return real.new_zeros(())


def r1_of(scores: Tensor, real: Tensor, gamma: float = 1.0) -> Tensor:
    """Return what `r1_penalty` does from `scores` of `real` that are there already; `real` required gradients when it was scored."""
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return 0.5 * gamma * gradient.flatten(1).square().sum(1).mean()


def path_lengths(images: Tensor, w: Tensor) -> Tensor:
    """Return ‖Jᵀy‖₂ for each example, [B], differentiable in the generator's parameters (StyleGAN2, arXiv:1912.04958, equation 4).

    J is the Jacobian of `images` [B, C, H, W] by the styles `w` [B, L, D] that they were made of, y ~ N(0, 1/(H·W)) of an image's shape;
    the norm is over D, its square averaged over the L layers.
    """
    y = torch.randn_like(images) / math.sqrt(images.shape[-2] * images.shape[-1])
    (gradient,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()
