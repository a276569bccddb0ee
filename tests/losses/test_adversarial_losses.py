"""Adversarial objectives and gradient penalties: golden values, signs, and the laws that other implementations broke."""

import math
from typing import get_args

import pytest
import torch

from genzoo.losses.adversarial import Objective, discriminator_loss, generator_loss
from genzoo.losses.penalties import dragan_penalty, gradient_penalty, r1_penalty

LN2 = math.log(2)
OBJECTIVES = get_args(Objective)


def softplus(v):
    return math.log1p(math.exp(v))


@pytest.mark.parametrize(
    ("objective", "d_zero", "g_zero", "d_at", "g_at"),
    [
        ("minimax", 2 * LN2, -LN2, softplus(-2) + softplus(-1), -softplus(-1)),
        ("non-saturating", 2 * LN2, LN2, softplus(-2) + softplus(-1), softplus(1)),
        ("least-squares", 0.5, 0.5, 0.5 * 1 + 0.5 * 1, 0.5 * 4),
        ("wasserstein", 0.0, 0.0, -3.0, 1.0),
        ("hinge", 2.0, 0.0, 0.0, 1.0),
    ],
)
def test_golden_values(objective, d_zero, g_zero, d_at, g_at):
    """At indifference (all logits 0) and at real = 2, fake = -1."""
    zero, real, fake = torch.zeros(4), torch.full((4,), 2.0), torch.full((4,), -1.0)
    assert discriminator_loss(objective, zero, zero).item() == pytest.approx(d_zero, abs=1e-6)
    assert generator_loss(objective, zero).item() == pytest.approx(g_zero, abs=1e-6)
    assert discriminator_loss(objective, real, fake).item() == pytest.approx(d_at, abs=1e-6)
    assert generator_loss(objective, fake).item() == pytest.approx(g_at, abs=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_players_want_opposite_things(objective):
    right, fooled = (torch.ones(8), -torch.ones(8)), (-torch.ones(8), torch.ones(8))
    assert discriminator_loss(objective, *fooled) > discriminator_loss(objective, *right) + 0.5
    assert generator_loss(objective, -torch.ones(8)) > generator_loss(objective, torch.ones(8)) + 0.5
    real, fake = torch.zeros(8, requires_grad=True), torch.zeros(8, requires_grad=True)
    discriminator_loss(objective, real, fake).backward()
    assert (real.grad <= 0).all()
    assert real.grad.sum() < 0 or objective == "least-squares"
    assert fake.grad.sum() >= 0
    logits = torch.zeros(8, requires_grad=True)
    generator_loss(objective, logits).backward()
    assert (logits.grad < 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_extreme_logits_stay_finite(objective):
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    total = discriminator_loss(objective, logits, logits) + generator_loss(objective, logits)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()


def test_a_confident_discriminator_saturates_only_the_minimax_generator():
    gradients = {}
    for objective in ("minimax", "non-saturating"):
        logits = torch.full((1,), -20.0, requires_grad=True)
        generator_loss(objective, logits).backward()
        gradients[objective] = logits.grad.abs().item()
    assert gradients["minimax"] < 1e-8
    assert gradients["non-saturating"] == pytest.approx(1, abs=1e-6)


def test_patches_are_averaged_like_any_logits():
    real, fake = torch.randn(2, 1, 3, 5), torch.randn(2, 1, 3, 5)
    for objective in OBJECTIVES:
        flat = discriminator_loss(objective, real.flatten(), fake.flatten())
        assert discriminator_loss(objective, real, fake) == pytest.approx(flat.item(), abs=1e-6)


def test_unknown_objective_names_the_known_ones():
    for call in (
        lambda: discriminator_loss("wgan", torch.ones(1), torch.ones(1)),
        lambda: generator_loss("x", torch.ones(1)),
    ):
        with pytest.raises(ValueError, match="least-squares"):
            call()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_fooled_discriminator_costs_more_by_the_stated_amount(objective):
    """Both directions, so that a loss with a wrong sign cannot pass: real = 2, fake = -1 against real = -1, fake = 2."""
    two, minus = torch.full((4,), 2.0), torch.full((4,), -1.0)
    cost = {
        "minimax": 1.0 + 2.0,  # sp(a) - sp(-a) = a for a = 1 and a = 2
        "non-saturating": 1.0 + 2.0,
        "least-squares": 0.5 * (4 + 4) - 0.5 * (1 + 1),
        "wasserstein": 3.0 + 3.0,
        "hinge": 2.0 + 3.0,
    }
    fooled, right = discriminator_loss(objective, minus, two), discriminator_loss(objective, two, minus)
    assert (fooled - right).item() == pytest.approx(cost[objective], abs=1e-5)


def linear(weight):
    return lambda x: x.flatten(1) @ weight


@pytest.mark.parametrize("batch", [1, 2, 4, 64])
@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_penalties_of_a_linear_critic_do_not_depend_on_the_batch(batch, slope):
    """A norm over the whole batch would give (sqrt(n) - 1)² for slope 1: 1 at batch 4, 49 at batch 64."""
    weight = torch.randn(3 * 4 * 5, dtype=torch.float64)
    critic = linear(weight / weight.norm() * slope)
    real, fake = torch.randn(2, batch, 3, 4, 5, dtype=torch.float64)
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((slope - 1) ** 2, abs=1e-10)
    assert dragan_penalty(critic, real).item() == pytest.approx((slope - 1) ** 2, abs=1e-10)
    assert r1_penalty(critic, real, gamma=10.0).item() == pytest.approx(5.0 * slope**2, abs=1e-9)


def test_gradient_penalty_is_on_the_line_with_one_epsilon_each():
    """Epsilon is uniform and every example's own: a normal one leaves the line, one for all visits a single point of it."""
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    gradient_penalty(critic, torch.ones(256, 1, 3, 3), torch.zeros(256, 1, 3, 3))
    epsilon = seen[0].flatten(1)
    assert (epsilon == epsilon[:, :1]).all()  # one per example, shared by its pixels
    assert epsilon.min() >= 0
    assert epsilon.max() <= 1
    assert len(epsilon[:, 0].unique()) > 200
    assert abs(epsilon[:, 0].mean().item() - 0.5) < 0.06  # uniform, not normal
    assert abs(epsilon[:, 0].std().item() - math.sqrt(1 / 12)) < 0.03


def test_dragan_goes_upwards_by_at_most_half_a_deviation():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    real = torch.randn(512, 1, 4, 4)
    dragan_penalty(critic, real)
    moved = (seen[0] - real).flatten(1)
    assert moved.min() >= 0
    assert 0.4 * real.std() < moved.max() <= 0.5 * real.std() + 1e-6
    assert moved.mean().item() == pytest.approx(0.125 * real.std().item(), rel=0.1)  # E alpha · ½ · E U = 1/8
    assert moved.amax(1).std() > 0.05  # alpha differs between examples


def test_penalties_move_the_critic_and_nothing_else():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    real, fake = torch.randn(2, 5, 1, 3, 3, requires_grad=True)
    real.retain_grad()
    for penalty in (gradient_penalty(critic, real, fake), dragan_penalty(critic, real), r1_penalty(critic, real)):
        critic.zero_grad()
        penalty.backward()
        assert critic[1].weight.grad.abs().sum() > 0
    assert real.grad is None


def test_r1_by_hand():
    """D(x) = ½‖x‖² has gradient x, so the penalty is γ/2 · mean ‖x‖²."""
    x = torch.randn(6, 2, 3, 3)
    expected = 0.5 * 4 * x.flatten(1).square().sum(1).mean()
    assert r1_penalty(lambda v: 0.5 * v.flatten(1).square().sum(1), x, gamma=4).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_penalties_have_the_values_of_their_authors_formulas():
    """With the draws of igul222/improved_wgan_training (fa66c57) and kodalinaveen3/DRAGAN (5cf95ab) on a critic of one hidden layer."""
    torch.manual_seed(0)
    first, second = torch.randn(12, 16, dtype=torch.double), torch.randn(16, dtype=torch.double)
    real, fake = (torch.rand(5, 1, 3, 4, dtype=torch.double) * 2 - 1 for _ in range(2))

    def critic(x):
        return (torch.tanh(x.flatten(1) @ first) * second).sum(1)

    torch.manual_seed(1)
    assert gradient_penalty(critic, real, fake).item() == pytest.approx(36.89435859903155, rel=1e-9)
    torch.manual_seed(1)
    assert dragan_penalty(critic, real).item() == pytest.approx(17.671289552736532, rel=1e-9)
