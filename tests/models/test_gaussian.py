"""Truths of the Gaussian and of dequantization: sample moments, densities, divergences, exact resume."""

import math

import numpy as np
import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.density.gaussian import Gaussian
from genzoo.nn.dequantize import dequantize, discrete_log_prob, quantize

KINDS = ["spherical", "diagonal", "full", "low-rank"]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(n, d, seed=0, dtype=torch.float64):
    g = gen(seed)
    return (
        torch.randn(n, d, generator=g, dtype=torch.float64) @ torch.randn(d, d, generator=g, dtype=torch.float64) + 3
    ).to(dtype)


def fit(model, x, batch=37):
    key = "image" if model.is_image else "points"
    for part in x.split(batch):
        model.partial_fit({key: part})
    model.finish_pass()
    return model.eval()


def images(n, shape=(1, 4, 4), levels=256, seed=0):
    return torch.randint(0, levels, (n, *shape), generator=gen(seed)).float() * (2 / (levels - 1)) - 1


@pytest.mark.parametrize("levels", [2, 5, 16, 255, 256])
def test_dequantized_values_never_reach_one_and_go_back_exactly(levels):
    """In float32 255 + u rounds to 256 once in 2^17 draws, whose logit is infinite, and x + u into the next level."""
    x = (torch.arange(levels).float() * (2 / (levels - 1)) - 1).repeat(200_000 // levels)
    y = dequantize(x, levels, gen())
    assert y.min() >= 0
    assert y.max() < 1
    torch.testing.assert_close(quantize(y, levels), x, rtol=0, atol=1e-6)
    assert torch.equal(dequantize(x, levels, None), dequantize(x, levels, None))


def test_discrete_log_prob_of_the_uniform_density_is_the_uniform_mass():
    assert discrete_log_prob(torch.zeros(1), 3, 256).item() == pytest.approx(-3 * math.log(256))


@pytest.mark.parametrize("batch", [7, 500])
def test_moments_equal_numpy(batch):
    x = correlated(501, 6)
    cov = np.cov(x.numpy(), rowvar=False, bias=True)
    full, diagonal, spherical = (fit(Gaussian((6,), covariance=k), x, batch) for k in ("full", "diagonal", "spherical"))
    np.testing.assert_allclose(full.mean.numpy(), x.numpy().mean(0), rtol=1e-10)
    np.testing.assert_allclose(full.covariance_matrix().numpy(), cov, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(diagonal.covariance_matrix().numpy(), np.diag(np.diag(cov)), rtol=1e-10)
    np.testing.assert_allclose(spherical.covariance_matrix().numpy(), np.eye(6) * np.trace(cov) / 6, rtol=1e-10)


def test_low_rank_is_probabilistic_pca():
    x = correlated(400, 6)
    model = fit(Gaussian((6,), covariance="low-rank", rank=2), x)
    values, vectors = np.linalg.eigh(np.cov(x.numpy(), rowvar=False, bias=True))
    w = vectors[:, -2:] * np.sqrt(values[-2:] - values[:4].mean())
    np.testing.assert_allclose(
        model.covariance_matrix().numpy(), w @ w.T + values[:4].mean() * np.eye(6), rtol=1e-9, atol=1e-9
    )


def test_low_rank_beats_other_covariances_of_its_form():
    x = correlated(400, 6)
    model = fit(Gaussian((6,), covariance="low-rank", rank=2), x)
    best = model.log_prob(x).mean()
    for seed in range(5):
        model.directions.copy_(
            torch.linalg.qr(model.directions + 0.05 * torch.randn(6, 2, generator=gen(seed), dtype=torch.float64))[0]
        )
        assert model.log_prob(x).mean() < best
        fit(model, x)
    model.noise.mul_(1.1)
    assert model.log_prob(x).mean() < best


def test_large_offsets_lose_no_digits():
    x = correlated(300, 2) * 1e-2
    near, far = (fit(Gaussian((2,)), x + offset) for offset in (0.0, 1e6))
    torch.testing.assert_close(far.covariance_matrix(), near.covariance_matrix(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_equals_torch_distributions(kind):
    x = correlated(200, 5)
    model = fit(Gaussian((5,), covariance=kind, rank=2), x)
    reference = torch.distributions.MultivariateNormal(model.mean, model.covariance_matrix())
    torch.testing.assert_close(model.log_prob(x), reference.log_prob(x), rtol=1e-9, atol=1e-9)
    assert model.entropy().item() == pytest.approx(reference.entropy().item(), rel=1e-10)
    assert model.log_prob(x.float()).dtype == torch.float32
    torch.testing.assert_close(model.log_prob(x.float()).double(), model.log_prob(x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_kl_equals_torch_distributions(kind, other):
    p = fit(Gaussian((5,), covariance=kind, rank=2), correlated(200, 5, 0))
    q = fit(Gaussian((5,), covariance=other, rank=2), correlated(200, 5, 1))
    mvn = [torch.distributions.MultivariateNormal(m.mean, m.covariance_matrix()) for m in (p, q)]
    assert p.kl(q).item() == pytest.approx(torch.distributions.kl_divergence(*mvn).item(), rel=1e-8)
    assert abs(p.kl(p).item()) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_image_score_is_the_mean_over_dequantization_noise(kind):
    x = images(300, levels=4)
    model = fit(Gaussian((1, 4, 4), levels=4, covariance=kind, rank=4), x)
    mvn = torch.distributions.MultivariateNormal(model.mean, model.covariance_matrix())
    g = gen(1)
    draws = torch.stack([mvn.log_prob(dequantize(x[:5].double(), 4, g).flatten(1)) for _ in range(4000)])
    estimate = discrete_log_prob(draws.mean(0), 16, 4)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((model.log_prob(x[:5]).double() - estimate).abs() < 5 * error + 1e-4).all()


def test_image_score_is_a_bound_that_sums_to_at_most_one():
    model = fit(Gaussian((1, 1, 2), levels=16), images(50, (1, 1, 2), 16, 3) * 0.5)
    level = torch.arange(16).float() * (2 / 15) - 1
    every = torch.cartesian_prod(level, level).view(-1, 1, 1, 2)
    assert 0.8 < model.log_prob(every).exp().sum() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_fitted_moments(kind):
    model = fit(Gaussian((4,), covariance=kind, rank=2), correlated(300, 4))
    s = model.sample(40_000, generator=gen())
    assert s.shape == (40_000, 4)
    assert s.dtype == torch.float32
    scale = model.covariance_matrix().diagonal().max()
    torch.testing.assert_close(torch.cov(s.double().T) / scale, model.covariance_matrix() / scale, rtol=0, atol=0.03)
    torch.testing.assert_close(s.double().mean(0), model.mean, rtol=0, atol=float(scale.sqrt()) * 0.03)
    assert torch.equal(s, model.sample(40_000, generator=gen()))
    assert not torch.equal(s, model.sample(40_000, generator=gen(1)))


def test_image_samples_are_on_the_grey_grid():
    s = fit(Gaussian((3, 4, 5), covariance="diagonal"), images(50, (3, 4, 5))).sample(8, generator=gen())
    assert s.shape == (8, 3, 4, 5)
    assert s.abs().max() <= 1
    grey = (s + 1) * 127.5
    assert (grey - grey.round()).abs().max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_resumed_in_the_middle_of_a_pass_is_the_same(kind):
    x = images(60)
    whole = fit(Gaussian((1, 4, 4), covariance=kind, rank=3), x, 16)
    first, second = (Gaussian((1, 4, 4), covariance=kind, rank=3) for _ in range(2))
    parts = x.split(16)
    for part in parts[:2]:
        first.partial_fit({"image": part})
    second.load_state_dict(first.state_dict())
    for part in parts[2:]:
        second.partial_fit({"image": part})
    assert not second.converged
    second.finish_pass()
    assert second.converged
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_outliers_score_higher():
    model = fit(Gaussian((1, 4, 4), ridge=1e-3), images(200, levels=256) * 0.3)
    assert model.outlier_score(images(50, seed=5)).min() > model.outlier_score(images(50, seed=6) * 0.3).max()


def test_mistakes_are_explained():
    flat = torch.stack([torch.arange(9.0), torch.arange(9.0)], 1)
    with pytest.raises(UserError, match="ridge"):
        fit(Gaussian((2,)), flat)
    assert fit(Gaussian((2,), ridge=1e-3), flat).converged
    with pytest.raises(UserError, match="rank=2"):
        Gaussian((2,), covariance="low-rank", rank=2)
    with pytest.raises(UserError, match="diagonal"):
        Gaussian((3, 64, 64))
    with pytest.raises(UserError, match="shape"):
        Gaussian((4, 4))
    with pytest.raises(UserError, match="no data"):
        Gaussian((2,)).finish_pass()
    with pytest.raises(UserError, match="shape"):
        Gaussian((2,)).log_prob(torch.zeros(1, 3))
    assert capabilities(Gaussian) == ("samples", "density", "fits")
