"""One Gaussian fitted to two modes under three divergences: KL covers, reverse KL chooses, JSD lies between.

The fit under KL(p ‖ q), which is maximum likelihood, is known in closed form: the mean and the variance of p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genzoo.lectures.check import Check
from genzoo.lectures.discriminator import Mixture, on_grid
from genzoo.losses.divergences import jensen_shannon, kl_discrete
from genzoo.use.pages.figures import new_figure

DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "KL(p ‖ q)": kl_discrete,
    "KL(q ‖ p)": lambda p, q: kl_discrete(q, p),
    "JSD(p, q)": jensen_shannon,
}


def gaussian(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the probability of each cell of the grid under a normal, summing to one."""
    return torch.softmax(-0.5 * ((x - mean) * torch.exp(-log_std)).square(), 0)


def fitted(divergence: Callable[[Tensor, Tensor], Tensor], x: Tensor, p: Tensor, start: float) -> tuple[float, float]:
    """Find mean and standard deviation of the Gaussian that minimizes `divergence(p, q)`, by L-BFGS from N(start, 1)."""
    theta = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta],
        lr=0.5,
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = divergence(p, gaussian(x, theta[0], theta[1]))
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(theta[0].detach()), math.exp(float(theta[1].detach()))


def study(seed: int = 0) -> tuple[list[Check], Any]:
    """Fit the three and check what is known of them. Nothing here is random: `seed` changes nothing."""
    modes = (-2.5, 2.0)
    stds = (0.6, 0.9)
    x, (p,) = on_grid(Mixture(modes, stds))
    mean = float((p * x).sum())
    std = float((p * (x - mean).square()).sum().sqrt())
    found = {name: [fitted(f, x, p, start) for start in (-2.0, 2.0)] for name, f in DIVERGENCES.items()}
    forward, reverse = found["KL(p ‖ q)"], found["KL(q ‖ p)"]
    how = "L-BFGS on the divergence, starts at −2 and 2"
    checks = [
        Check("KL(p ‖ q): the mean is that of p", mean, forward[0][0], 1e-4, how),
        Check("KL(p ‖ q): the standard deviation is that of p", std, forward[0][1], 1e-4, how),
        Check("KL(p ‖ q): every start ends there", forward[0][0], forward[1][0], 1e-4, how),
        Check("KL(q ‖ p): from the left, the left mode alone", modes[0], reverse[0][0], 0.1, how),
        Check("KL(q ‖ p): and its width", stds[0], reverse[0][1], 0.1, how),
        Check("KL(q ‖ p): from the right, the right mode alone", modes[1], reverse[1][0], 0.1, how),
        Check("KL(q ‖ p): and its width, right", stds[1], reverse[1][1], 0.1, how),
    ]
    figure, axes = new_figure(3)
    step = float(x[1] - x[0])
    for axis, (name, results) in zip(axes, found.items(), strict=True):
        axis.fill_between(x, p / step, alpha=0.3, label="p, two modes")
        for start, (m, s) in zip((-2, 2), results, strict=True):
            q = gaussian(x, torch.tensor(m), torch.tensor(math.log(s)))
            axis.plot(x, q / step, label=f"q from start {start}: N({m:.2f}, {s:.2f}²)")
        axis.set(title=f"least {name}", xlabel="x", xlim=(-8, 8))
        axis.legend(fontsize=7)
    return checks, figure
