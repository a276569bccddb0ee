"""Why the generator's loss is non-saturating: what both losses send back when the discriminator is sure.

With a the logit of D(G(z)) and s the sigmoid, the gradient on a is −s(a) for log(1 − s(a)) and −(1 − s(a)) for −log s(a)
(arXiv:1406.2661, section 3): where D has won, s(a) is near 0, and only the second still teaches.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genzoo.lectures.check import Check
from genzoo.losses.adversarial import Objective, generator_loss
from genzoo.use.pages.figures import new_figure


def gradient(objective: Objective, logits: Tensor) -> Tensor:
    """Compute D loss / d logit of each example by autograd, float64 [N]."""
    a = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(generator_loss(objective, a) * len(a), a)
    return found


def study(seed: int = 0) -> tuple[list[Check], Any]:
    """Check both gradients and draw them over the confidence of D. Nothing here is random: `seed` changes nothing."""
    a = torch.linspace(-10, 10, 401, dtype=torch.float64)
    saturating, other = gradient("minimax", a), gradient("non-saturating", a)
    sure = torch.tensor([-8.0], dtype=torch.float64)
    ratio = float(gradient("non-saturating", sure) / gradient("minimax", sure))
    how = "autograd through generator_loss"
    checks = [
        Check("minimax: −s(a): largest difference", 0.0, float((saturating + a.sigmoid()).abs().max()), 1e-12, how),
        Check(
            "non-saturating: −(1 − s(a)): largest difference",
            0.0,
            float((other + (1 - a.sigmoid())).abs().max()),
            1e-12,
            how,
        ),
        Check("their ratio is exp(−a): at a = −8", math.exp(8), ratio, 1e-6, how),
        Check(
            "equal where D cannot tell, a = 0",
            -0.5,
            float(gradient("minimax", torch.zeros(1, dtype=torch.float64))),
            1e-12,
            how,
        ),
    ]
    figure, (left, right) = new_figure(2)
    for axis in (left, right):
        axis.plot(a, saturating.abs(), label="minimax: log(1 − D)")
        axis.plot(a, other.abs(), label="non-saturating: −log D")
        axis.set(xlabel="logit of D(G(z)); to the left D has won")
        axis.legend(fontsize=8)
    left.set(title="size of the generator's gradient")
    right.set(title="the same, logarithmic", yscale="log")
    return checks, figure
