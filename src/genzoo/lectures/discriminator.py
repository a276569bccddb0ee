"""The best discriminator and what it is worth: D* = p / (p + q) and max V = 2 JSD(p, q) − 2 log 2.

Goodfellow et al. (arXiv:1406.2661), proposition 1 and theorem 1. Checked in two ways that know neither formula: one free logit for
each point of a grid, and a small network trained on samples with the very loss that the zoo's discriminators minimize.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.lectures.check import Check
from genzoo.losses.adversarial import discriminator_loss
from genzoo.losses.divergences import jensen_shannon
from genzoo.use.pages.figures import new_figure

EXTENT, POINTS, DRAWS, STEPS = 16.0, 3201, 1024, 1500


class Mixture:
    """A mixture of normals on the line.

    Args:
        means: Means of the components.
        stds: Their standard deviations; all have the same weight.
    """

    def __init__(self, means: tuple[float, ...], stds: tuple[float, ...]) -> None:
        self.means, self.stds = torch.tensor(means).double(), torch.tensor(stds).double()

    def density(self, x: Tensor) -> Tensor:
        """Compute p(x), same shape as `x`."""
        z = (x.double()[..., None] - self.means) / self.stds
        return ((-0.5 * z.square()).exp() / (self.stds * math.sqrt(2 * math.pi))).mean(-1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw float32 [n, 1]."""
        k = torch.randint(len(self.means), (n,), generator=generator)
        x = self.means[k] + self.stds[k] * torch.randn(n, generator=generator, dtype=torch.float64)
        return x.float()[:, None]


def on_grid(*mixtures: Mixture) -> tuple[Tensor, list[Tensor]]:
    """Cut the line into cells: return their centres [POINTS], and their probabilities under each mixture, summing to one."""
    x = torch.linspace(-EXTENT, EXTENT, POINTS, dtype=torch.float64)
    masses = [m.density(x) for m in mixtures]
    return x, [m / m.sum() for m in masses]


def value(logits: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Compute V(D) = E_p log D + E_q log(1 − D) for the logits of D in each cell, in nats."""
    return -(p * F.softplus(-logits) + q * F.softplus(logits)).sum()


def best_logits(p: Tensor, q: Tensor) -> Tensor:
    """Find the logits [cells] that maximize V, by L-BFGS from zero."""
    logits = torch.zeros_like(p, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits],
        lr=1,
        max_iter=3000,
        max_eval=6000,
        tolerance_grad=1e-14,
        tolerance_change=1e-18,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        # Each cell's own term is scaled by its mass, which leaves the maximizer where it is and makes all cells learn alike.
        share = p / (p + q)
        loss = (share * F.softplus(-logits) + (1 - share) * F.softplus(logits)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach()


def trained_network(real: Mixture, fake: Mixture, seed: int) -> nn.Module:
    """Train a small network on fresh samples by `discriminator_loss`."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus(), nn.Linear(64, 1))
    with torch.no_grad():
        for w in net.parameters():
            w.copy_(torch.randn(w.shape, generator=generator) * (w.shape[-1] ** -0.5 if w.ndim == 2 else 0.5))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = discriminator_loss("minimax", net(real.sample(DRAWS, generator)), net(fake.sample(DRAWS, generator)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def study(seed: int = 0) -> tuple[list[Check], Any]:
    """Check the formulas for the best discriminator and draw it."""
    real, fake = Mixture((-2.0, 2.0), (0.7, 0.7)), Mixture((0.5,), (1.5,))
    x, (p, q) = on_grid(real, fake)
    divergence = float(jensen_shannon(p, q))
    bound = 2 * divergence - 2 * math.log(2)
    star = p / (p + q)
    logits = best_logits(p, q)
    net = trained_network(real, fake, seed)
    with torch.no_grad():
        learned = net(x.float()[:, None]).squeeze(1).double()
    weight = (p + q) / 2
    far = on_grid(Mixture((-4.0,), (0.3,)), Mixture((4.0,), (0.3,)))[1]
    checks = [
        Check(
            "D*(x) = p(x) / (p(x) + q(x)): largest difference",
            0.0,
            float((logits.sigmoid() - star).abs().max()),
            1e-4,
            f"one free logit for each of {POINTS} cells, L-BFGS on V",
        ),
        Check("max V = 2 JSD − 2 log 2", bound, float(value(logits, p, q)), 1e-9, "V at those logits"),
        Check(
            "the same where q = p: −2 log 2",
            -2 * math.log(2),
            float(value(best_logits(p, p), p, p)),
            1e-9,
            "V maximized for q = p",
        ),
        Check(
            "and where p and q do not meet: JSD = log 2",
            math.log(2),
            float(jensen_shannon(*far)),
            1e-9,
            "sum over the grid",
        ),
        Check(
            "a trained D is close to D*: mean difference",
            0.0,
            float((weight * (learned.sigmoid() - star).abs()).sum()),
            0.02,
            f"a network of 64 + 64 units after {STEPS} steps of discriminator_loss on samples",
        ),
        Check(
            "and reaches almost all of max V, from below",
            bound,
            float(value(learned, p, q)),
            0.01,
            "V of that network, summed over the grid",
        ),
    ]
    figure, (left, right) = new_figure(2)
    step = float(x[1] - x[0])
    left.plot(x, p / step, label="data p")
    left.plot(x, q / step, label="generator q")
    left.set(title="densities", xlabel="x", xlim=(-8, 8))
    left.legend()
    right.plot(x, star, label="D* = p / (p + q)", linewidth=3, alpha=0.5)
    right.plot(x, logits.sigmoid(), "--", label="maximized on the grid")
    right.plot(x, learned.sigmoid(), ":", label="trained on samples")
    right.set(title=f"max V = {bound:.4f} = 2 JSD − 2 log 2", xlabel="x", xlim=(-8, 8), ylim=(-0.05, 1.05))
    right.legend()
    return checks, figure
