"""Adversarial objectives: what a discriminator and a generator minimize, as pure functions of logits.

A discriminator's output is always a logit (a score): no sigmoid stands before these functions, so that both players
keep a gradient at any confidence. Outputs of any shape are taken ([B], patches [B, 1, h, w]) and averaged.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

Objective = Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge"]
"""minimax and non-saturating: Goodfellow et al. arXiv:1406.2661 · least-squares: Mao et al. arXiv:1611.04076 ·
wasserstein: Arjovsky et al. arXiv:1701.07875 · hinge: Lim & Ye arXiv:1705.02894."""


def discriminator_loss(objective: Objective, real: Tensor, fake: Tensor) -> Tensor:
    """Return what the discriminator minimizes: it wants `real` scored high and `fake` scored low.

    With s(.) the sigmoid and sp(.) the softplus, the mean of
    minimax, non-saturating: −log s(real) − log(1 − s(fake)) = sp(−real) + sp(fake) ·
    least-squares: ½(real − 1)² + ½fake² · wasserstein: fake − real · hinge: max(0, 1 − real) + max(0, 1 + fake).
    """
    match objective:
        case "minimax" | "non-saturating":
            return F.softplus(-real).mean() + F.softplus(fake).mean()
        case "least-squares":
            return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()
        case "wasserstein":
            return fake.mean() - real.mean()
        case "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    raise ValueError(f"objective {objective!r} is not one of {', '.join(get_args(Objective))}")


def generator_loss(objective: Objective, fake: Tensor) -> Tensor:
    """Return what the generator minimizes: it wants `fake` scored high.

    The mean of minimax: log(1 − s(fake)) = −sp(fake) · non-saturating: −log s(fake) = sp(−fake) ·
    least-squares: ½(fake − 1)² · wasserstein and hinge: −fake.
    """
    match objective:
        case "minimax":
            return -F.softplus(fake).mean()
        case "non-saturating":
            return F.softplus(-fake).mean()
        case "least-squares":
            return 0.5 * (fake - 1).square().mean()
        case "wasserstein" | "hinge":
            return -fake.mean()
    raise ValueError(f"objective {objective!r} is not one of {', '.join(get_args(Objective))}")
