"""Why the two players circle each other, and what stops them: the GAN of one number each.

The data are the point 0, the generator is the point θ, the discriminator is D(x) = ψx (Mescheder, Geiger and Nowozin, arXiv:1801.04406,
section 2). Near (0, 0), where both should end, steps of gradient descent are a linear map, whose eigenvalues are known for every
remedy. They are compared with those of the Jacobian, by autograd through the losses and penalties that training uses.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genzoo.lectures.check import Check
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.use.pages.figures import new_figure

RATE, GAMMA, SIGMA, STEPS = 0.2, 0.5, 1.0, 250
POINTS = 1001

Losses = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From (θ, ψ) to the losses of the generator and of the discriminator."""


def players(gamma: float = 0.0, sigma: float = 0.0) -> Losses:
    """Return the losses of the two players, with R1 of weight `gamma` or instance noise of deviation `sigma`."""
    quantiles = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    noise = sigma * torch.special.ndtri(quantiles)[:, None] if sigma else torch.zeros(1, 1, dtype=torch.float64)

    def losses(both: Tensor) -> tuple[Tensor, Tensor]:
        theta, psi = both

        def critic(x: Tensor) -> Tensor:
            product: Tensor = psi * x
            return product.squeeze(1)

        d_loss = discriminator_loss("non-saturating", critic(noise), critic(theta + noise))
        if gamma:
            d_loss = d_loss + r1_penalty(critic, noise, gamma=gamma)
        return generator_loss("non-saturating", critic(theta + noise)), d_loss

    return losses


def descent(losses: Losses, both: Tensor) -> Tensor:
    """Compute minus the gradient of each player's loss in its own number, [2], differentiable."""
    g_loss, d_loss = losses(both)
    g, d = (torch.autograd.grad(loss, both, create_graph=True)[0] for loss in (g_loss, d_loss))
    return -torch.stack([g[0], d[1]])


def eigenvalue(losses: Losses) -> complex:
    """Return the eigenvalue, with the larger imaginary and real part, of the Jacobian of `descent` at (0, 0)."""
    at = torch.zeros(2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda b: descent(losses, b), at)
    values: list[complex] = torch.linalg.eigvals(jacobian).tolist()
    return max(values, key=lambda v: (v.imag, v.real))


def path(losses: Losses, start: tuple[float, float], steps: int, *, critic_steps: int = 0) -> Tensor:
    """Follow (θ, ψ) under gradient descent, [steps + 1, 2].

    Args:
        losses: The game.
        start: Where it begins.
        steps: Steps of the generator.
        critic_steps: Steps of the discriminator before each of the generator; 0: both step at once.
    """
    both, way = torch.tensor(start, dtype=torch.float64), []
    for _ in range(steps + 1):
        way.append(both)
        for _ in range(critic_steps):
            both = both + RATE * descent(losses, both.requires_grad_()).detach() * torch.tensor([0.0, 1.0])
            both = both.detach()
        move = RATE * descent(losses, both.clone().requires_grad_()).detach()
        both = both.detach() + (move * torch.tensor([1.0, 0.0]) if critic_steps else move)
    return torch.stack([w.detach() for w in way])


def growth(way: Tensor, steps: int) -> float:
    """Average the factor on the distance from (0, 0) over each of the first `steps` steps."""
    return float((way[steps].norm() / way[0].norm()) ** (1 / steps))


def turn(way: Tensor) -> float:
    """Average the angle of the first hundred steps in units of the orbit's own phase: from the recurrence θ_{t+1} + θ_{t-1} = 2 cos(a) θ_t."""
    theta = way[:101, 0]
    cosine = ((theta[2:] + theta[:-2]) * theta[1:-1]).sum() / (2 * theta[1:-1].square().sum())
    return math.acos(float(cosine))


def study(seed: int = 0) -> tuple[list[Check], Any]:
    """Check the eigenvalues and draw the ways. Nothing here is random: `seed` changes nothing."""
    plain, damped, noisy = players(), players(gamma=GAMMA), players(sigma=SIGMA)
    small = (1e-4, 0.0)
    found = {name: eigenvalue(game) for name, game in (("plain", plain), ("r1", damped), ("noise", noisy))}
    by_r1 = -GAMMA / 2 + cmath.sqrt(GAMMA**2 / 4 - 0.25)
    by_noise = -(SIGMA**2) / 4 + cmath.sqrt(SIGMA**4 / 16 - 0.25)
    how, ways = (
        "Jacobian by autograd through discriminator_loss, generator_loss, r1_penalty",
        "gradient descent from (0.0001, 0)",
    )
    circle = path(plain, small, 100, critic_steps=1)
    checks = [
        Check("no remedy: real part 0, nothing pulls inwards", 0.0, found["plain"].real, 1e-9, how),
        Check("and imaginary part ½: a circle", 0.5, found["plain"].imag, 1e-9, how),
        Check(
            f"both at once, rate h = {RATE}: the circle grows by √(1 + h²/4) a step",
            math.sqrt(1 + RATE**2 / 4), growth(path(plain, small, 100), 100), 1e-6, ways,
        ),
        Check("one after the other: it turns by arccos(1 − h²/8)", math.acos(1 - RATE**2 / 8), turn(circle), 1e-6, ways),
        Check(
            "k = 5 steps of D for each of G: it turns by arccos(1 − kh²/8), faster, and still no way inwards",
            math.acos(1 - 5 * RATE**2 / 8), turn(path(plain, small, 100, critic_steps=5)), 1e-6, ways,
        ),
        Check(f"R1, γ = {GAMMA}: real part −γ/2", by_r1.real, found["r1"].real, 1e-9, how),
        Check("and imaginary part √(¼ − γ²/4)", by_r1.imag, found["r1"].imag, 1e-9, how),
        Check(f"instance noise, σ = {SIGMA:g}: real part −σ²/4", by_noise.real, found["noise"].real, 2e-3, how),
        Check("and imaginary part √(¼ − σ⁴/16)", by_noise.imag, found["noise"].imag, 2e-3, how),
    ]  # fmt: skip
    panels = {
        "both at once": path(plain, (1.0, 0.0), STEPS),
        "one after the other": path(plain, (1.0, 0.0), STEPS, critic_steps=1),
        "k = 5": path(plain, (1.0, 0.0), STEPS, critic_steps=5),
        f"R1, γ = {GAMMA}": path(damped, (1.0, 0.0), STEPS, critic_steps=1),
        f"noise, σ = {SIGMA:g}": path(noisy, (1.0, 0.0), STEPS, critic_steps=1),
    }
    figure, axes = new_figure(len(panels))
    for axis, (name, way) in zip(axes, panels.items(), strict=True):
        axis.plot(way[:, 0], way[:, 1], linewidth=0.7)
        axis.plot(*way[0], "o", *way[-1], "s", markersize=5)
        axis.plot(0, 0, "k+", markersize=12)
        axis.set(title=name, xlabel="θ, generator (○ start, □ end)", ylabel="ψ, discriminator")
    return checks, figure
