"""Why two players circle, and what instance noise and a gradient penalty do about it: the smallest GAN there is.

The data are one point, 0; the generator puts out one point, θ; the discriminator is D(x) = ψ x (Mescheder et al., arXiv:1801.04406,
section 2). Both follow their own gradient, v = (−∂L_G/∂θ, −∂L_D/∂ψ), with the losses that the zoo trains with. How they move near the
equilibrium (0, 0) is in the eigenvalues of v's Jacobian: imaginary ones circle, and every step of finite length then leads outwards.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genzoo.losses.adversarial import Objective, discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.use.figures import new_figure
from genzoo.use.theory.check import Check

RATE, STEPS, START = 0.1, 200, (1.0, 0.0)
NOISE, GAMMA = 1.0, 0.5


def field(at: Tensor, objective: Objective, noise: float = 0.0, gamma: float = 0.0) -> Tensor:
    """Where both players want to go from (θ, ψ), float64 [2], differentiable.

    Args:
        at: θ and ψ, float64 [2], part of a graph.
        objective: What they minimise.
        noise: Standard deviation of instance noise on what D sees; two points of that deviation stand for it.
        gamma: Weight of R1.
    """
    theta, psi = at.unbind()
    spread = noise * torch.tensor([[-1.0], [1.0]], dtype=at.dtype)

    def critic(x: Tensor) -> Tensor:
        return (psi * x).squeeze(1)

    d_loss = discriminator_loss(objective, critic(spread), critic(theta + spread))
    if gamma:
        d_loss = d_loss + r1_penalty(critic, spread, gamma)
    (to_theta,) = torch.autograd.grad(generator_loss(objective, critic(theta + spread)), theta, create_graph=True)
    (to_psi,) = torch.autograd.grad(d_loss, psi, create_graph=True)
    return -torch.stack([to_theta, to_psi])


def eigenvalue(objective: Objective, noise: float = 0.0, gamma: float = 0.0) -> complex:
    """The eigenvalue of the field's Jacobian at the equilibrium with the larger imaginary part."""
    origin = torch.zeros(2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda at: field(at, objective, noise, gamma), origin)
    return max(torch.linalg.eigvals(jacobian).tolist(), key=lambda value: value.imag)


def path(objective: Objective, noise: float = 0.0, gamma: float = 0.0) -> Tensor:
    """(θ, ψ) over `STEPS` steps of length `RATE` that both players take at once, float64 [STEPS + 1, 2]."""
    at = torch.tensor(START, dtype=torch.float64)
    found = [at]
    for _ in range(STEPS):
        at = (at + RATE * field(at.requires_grad_(), objective, noise, gamma)).detach()
        found.append(at)
    return torch.stack([point.detach() for point in found])


def study(seed: int = 0) -> tuple[list[Check], Any]:
    """Check the eigenvalues and draw the paths. Nothing here is random: `seed` changes nothing."""
    plain, noisy = eigenvalue("non-saturating"), eigenvalue("non-saturating", noise=NOISE)
    penalised = eigenvalue("non-saturating", gamma=GAMMA)
    walk = path("wasserstein")
    how = "autograd through both losses"
    checks = [
        Check("alone, the players circle: real part of the eigenvalue", 0.0, plain.real, 1e-12, how),
        Check("and its imaginary part, ½", 0.5, plain.imag, 1e-12, how),
        Check("instance noise of deviation σ pulls inwards: −σ²/4", -(NOISE**2) / 4, noisy.real, 1e-12, how),
        Check("R1 of weight γ pulls inwards: −γ/2", -GAMMA / 2, penalised.real, 1e-12, how),
        Check(
            f"linear losses, steps of {RATE}: the distance after {STEPS} is (1 + {RATE}²)^{STEPS // 2}",
            math.sqrt(1 + RATE**2) ** STEPS, float(walk[-1].norm()), 1e-9, "gradient steps with the Wasserstein losses",
        ),
    ]  # fmt: skip
    figure, axes = new_figure(2)
    for axis, cases in zip(
        axes,
        (
            {
                "minimax": ("minimax", 0.0, 0.0),
                "non-saturating": ("non-saturating", 0.0, 0.0),
                "Wasserstein": ("wasserstein", 0.0, 0.0),
            },
            {"instance noise": ("non-saturating", NOISE, 0.0), "R1": ("non-saturating", 0.0, GAMMA)},
        ),
        strict=True,
    ):
        for name, (objective, noise, gamma) in cases.items():
            points = path(objective, noise, gamma)  # type: ignore[arg-type]
            axis.plot(points[:, 0], points[:, 1], label=name, linewidth=1)
        axis.plot(0, 0, "k+")
        axis.set(xlabel="θ, what G puts out (the data: 0)", ylabel="ψ, the slope of D", aspect="equal")
        axis.legend(fontsize=8)
    axes[0].set(title="left alone: round and round")
    axes[1].set(title="with a remedy: inwards")
    return checks, figure
