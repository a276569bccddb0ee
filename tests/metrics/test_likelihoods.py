"""Pixel likelihoods are normalized, stable and in full precision; divergences agree with torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from genzoo.losses.divergences import kl_standard_normal
from genzoo.losses.likelihoods import (
    bernoulli,
    bits_per_dim,
    discretized_logistic,
    gaussian,
    log_mean_exp,
    per_example,
    standard_normal,
)


def grey(levels, dtype=torch.float32):
    return torch.arange(levels, dtype=dtype) * (2 / (levels - 1)) - 1


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 1.5])
def test_discretized_logistic_sums_to_one_in_float32(levels, log_scale):
    """A switch to the density where a mass is small would leave the sum off, by 1 in bfloat16."""
    mean = torch.linspace(-1.3, 1.3, 41)[:, None]
    mass = discretized_logistic(grey(levels), mean, torch.tensor(log_scale), levels).exp().sum(1)
    assert (mass - 1).abs().max() < 2e-5


def test_discretized_logistic_agrees_with_float64_differences_of_the_cdf():
    mean, log_scale, levels = torch.tensor(0.1, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64), 256
    x = grey(levels, torch.float64)
    edges = torch.sigmoid((torch.cat([x - 1 / 255, x[-1:] + 1 / 255]) - mean) / log_scale.exp())
    edges[0], edges[-1] = 0, 1
    assert torch.allclose(discretized_logistic(x, mean, log_scale, levels).exp(), edges.diff(), atol=1e-14)
    single = discretized_logistic(x.float(), mean.float(), log_scale.float(), levels)
    assert (single.double() - edges.diff().log()).abs().max() < 5e-5


def test_discretized_logistic_far_from_the_mean_stays_finite_with_gradients():
    """Both branches of a choice are finite: 0 times infinity is no gradient."""
    mean = torch.tensor([-1.0, 1.0], requires_grad=True)
    log_scale = torch.tensor(-7.0, requires_grad=True)
    value = discretized_logistic(torch.tensor([0.9, -0.9]), mean, log_scale, 256)
    assert value.isfinite().all()
    assert (value < -1000).all()
    for g in torch.autograd.grad(value.sum(), [mean, log_scale]):
        assert g.isfinite().all()
        assert (g != 0).all()


def test_likelihoods_stay_in_float32_under_autocast_and_from_bfloat16():
    x, mean, scale = grey(256), torch.tensor(0.2), torch.tensor(-3.0)
    with torch.autocast("cpu", torch.bfloat16):
        mass = discretized_logistic(x, mean, scale, 256)
    assert mass.dtype == torch.float32
    assert abs(mass.exp().sum().item() - 1) < 2e-5
    half = discretized_logistic(x, mean.bfloat16(), scale.bfloat16(), 256)
    assert half.dtype == torch.float32
    assert abs(half.exp().sum().item() - 1) < 2e-5


def test_bernoulli_and_gaussian_agree_with_torch_distributions():
    torch.manual_seed(0)
    logits, x = 30 * torch.randn(50), torch.randint(0, 2, (50,)).float()
    assert torch.allclose(bernoulli(x, logits), Bernoulli(logits=logits).log_prob(x), atol=1e-5)
    mean, log_std = torch.randn(50), torch.randn(50)
    assert torch.allclose(gaussian(x, mean, log_std), Normal(mean, log_std.exp()).log_prob(x), rtol=1e-4, atol=1e-5)
    assert torch.allclose(standard_normal(mean), Normal(0.0, 1.0).log_prob(mean), atol=1e-6)


def test_kl_agrees_with_torch_distributions():
    torch.manual_seed(0)
    m, s = torch.randn(2, 30).double()
    p = Normal(m, s.exp())
    assert torch.allclose(kl_standard_normal(m, s), kl_divergence(p, Normal(torch.zeros_like(m), torch.ones_like(m))))


def test_averages_and_units():
    values = torch.tensor([[-1000.0, -1001.0], [-5.0, -7.0]])
    assert torch.allclose(log_mean_exp(values, 1), values.double().logsumexp(1).float() - math.log(2))
    assert per_example(torch.ones(3, 2, 4, 5)).tolist() == [40.0] * 3
    assert bits_per_dim(torch.tensor(-79.20), 784).item() == pytest.approx(0.1457, abs=5e-5)
