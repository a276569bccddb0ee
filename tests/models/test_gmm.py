"""Truths of the mixture: scikit-learn's figures from the same start, monotone EM, exact resume."""

import math
import warnings

import numpy as np
import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.density.gmm import GMM
from genzoo.nn.dequantize import dequantize, discrete_log_prob

KINDS = ["spherical", "diagonal", "tied", "full"]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def clusters(n=400, d=3, k=3, seed=0, spread=3.0):
    g = gen(seed)
    centres = torch.randn(k, d, generator=g, dtype=torch.float64) * spread
    mix = torch.randn(k, d, d, generator=g, dtype=torch.float64) * 0.6
    which = torch.randint(k, (n,), generator=g)
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    return centres[which] + torch.einsum("nd,nde->ne", z, mix[which])


def one_pass(model, x, batch=64):
    for part in x.split(batch):
        model.partial_fit({"image" if model.is_image else "points": part})
    return model.finish_pass()


def fit(model, x, batch=64):
    logs = []
    while not model.converged:
        logs.append(one_pass(model, x, batch))
    model.eval()
    return logs


def a_start(x, k, kind):
    d = x.shape[1]
    covariances = {
        "spherical": torch.ones(k),
        "diagonal": torch.ones(k, d),
        "tied": torch.eye(d),
        "full": torch.eye(d).expand(k, d, d),
    }[kind]
    return torch.full((k,), 1 / k, dtype=torch.float64), x[:k].clone(), covariances.double()


def images(n, shape=(1, 4, 4), levels=256, seed=0):
    return torch.randint(0, levels, (n, *shape), generator=gen(seed)).float() * (2 / (levels - 1)) - 1


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihood_equals_scikit_learn_from_the_same_start(kind, ridge):
    mixture = pytest.importorskip("sklearn.mixture")
    x = clusters()
    weights, means, covariances = a_start(x, 3, kind)
    model = GMM((3,), components=3, covariance=kind, ridge=ridge, tol=0, max_passes=20)
    model.start(weights, means, covariances)
    while not model.converged:
        one_pass(model, x, 77)
    precisions = covariances.reciprocal() if kind in ("spherical", "diagonal") else torch.linalg.inv(covariances)
    theirs = mixture.GaussianMixture(
        3,
        covariance_type={"diagonal": "diag"}.get(kind, kind),
        weights_init=weights.double().numpy(),
        means_init=means.numpy(),
        precisions_init=precisions.numpy(),
        reg_covar=ridge,
        tol=0,
        max_iter=int(model.iteration),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that tol=0 has not converged
        theirs.fit(x.numpy())
    assert int(model.iteration) > 3
    difference = model.log_prob(x).numpy() - theirs.score_samples(x.numpy())
    assert abs(difference.mean()) < 1e-4  # the log-likelihood per point
    # Without a ridge both are plain EM and agree point by point; with one, ours also enters the E-step (see the class).
    assert np.abs(difference).max() < (1e-7 if ridge == 0 else 1e-2)
    np.testing.assert_allclose(model.weights.numpy(), theirs.weights_, atol=1e-4)
    np.testing.assert_array_equal(model.classify(x).numpy(), theirs.predict(x.numpy()))


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_equals_torch_distributions(kind):
    x = clusters()
    model = GMM((3,), components=4, covariance=kind)
    fit(model, x)
    d = torch.distributions
    reference = d.MixtureSameFamily(
        d.Categorical(model.weights), d.MultivariateNormal(model.means, model.covariances())
    )
    torch.testing.assert_close(model.log_prob(x), reference.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.log_prob(x.float()).double(), model.log_prob(x), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(model.responsibilities(x).sum(1), torch.ones(len(x), dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_em_never_goes_down(kind, ridge):
    x = clusters(spread=1.0, seed=1)
    model = GMM((3,), components=4, covariance=kind, ridge=ridge, tol=0, max_passes=25)
    objectives = torch.stack([log["objective"] for log in fit(model, x)[1:]])
    assert len(objectives) > 10
    assert (objectives.diff() > -1e-9).all()
    assert objectives[-1] > objectives[0] + 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_em_never_goes_down_on_images(kind):
    x = torch.cat([images(60, seed=1) * 0.4 - 0.5, images(60, seed=2) * 0.4 + 0.5])
    model = GMM((1, 4, 4), components=3, covariance=kind, ridge=1e-3, tol=0, max_passes=10)
    logs = fit(model, x)[1:]
    assert all(log["objective"] < log["log_likelihood"] for log in logs)  # the ridge's share
    assert (torch.stack([log["objective"] for log in logs]).diff() > -1e-9).all()
    # Logged before the M-step of their pass, in nats of the discrete image.
    assert model.log_prob(x).mean().item() >= logs[-1]["log_likelihood"].item() - 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_batch_size_does_not_matter(kind):
    x = clusters()
    models = [GMM((3,), components=3, covariance=kind, tol=0, max_passes=8) for _ in range(2)]
    for model, batch in zip(models, (400, 13), strict=True):
        model.start(*a_start(x, 3, kind))
        fit(model, x, batch)
    torch.testing.assert_close(models[0].log_prob(x), models[1].log_prob(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_zero_no_digit_is_lost(kind):
    x = clusters()
    near, far = (GMM((3,), components=3, covariance=kind, ridge=0, tol=0, max_passes=15) for _ in range(2))
    for model, points in ((near, x), (far, x + 1e6)):
        model.start(*a_start(points, 3, kind))
        fit(model, points)
    torch.testing.assert_close(far.log_prob(x + 1e6), near.log_prob(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_image_score_is_below_the_noise_average_and_close(kind):
    x = images(80, levels=16)
    model = GMM((1, 4, 4), levels=16, components=2, covariance=kind, ridge=1e-3, max_passes=5)
    fit(model, x)
    points = GMM((16,), components=2, covariance=kind)
    for name in ("weights", "means", "root"):
        getattr(points, name).copy_(getattr(model, name))
    g = gen(1)
    draws = torch.stack([points.log_prob(dequantize(x[:8].double(), 16, g).flatten(1)) for _ in range(500)])
    gap = discrete_log_prob(draws.mean(0), 16, 16) - model.log_prob(x[:8]).double()
    noise = 5 * draws.std(0) / math.sqrt(len(draws)) + 1e-4
    assert (gap > -noise).all()
    assert (gap < 0.1 + noise).all()


def test_k_means_start_finds_separated_clusters():
    x = clusters(k=5, d=2, n=600, spread=40.0)
    torch.manual_seed(0)
    model = GMM((2,), components=5, restarts=3)
    logs = fit(model, x.float())
    assert int(model.restart) == 2
    best = max(float(log["objective"]) for log in logs)
    assert model.log_prob(x).mean().item() == pytest.approx(best, abs=2e-3)
    assert model.responsibilities(x).max(1).values.mean() > 0.99


def test_every_example_is_as_likely_to_be_kept_for_the_start():
    x = torch.arange(200.0)[:, None]
    kept = torch.zeros(200)
    for seed in range(200):
        torch.manual_seed(seed)
        model = GMM((1,), components=1, start_points=20)
        for part in x.split(33):
            model.partial_fit({"points": part})
        chosen = model.start_data[:, 0].long()
        assert len(chosen.unique()) == 20
        kept[chosen] += 1
    assert kept.sum() == 200 * 20
    # Each of ten blocks of 20 examples is kept 400 times on average, with a standard deviation of 18 (hypergeometric).
    assert (kept.view(10, 20).sum(1) - 400).abs().max() < 5 * 18


def test_samples_follow_the_mixture():
    model = GMM((2,), components=2, covariance="full")
    covariances = torch.tensor([[[1.0, 0.8], [0.8, 1.0]], [[0.5, 0.0], [0.0, 2.0]]])
    model.start(torch.tensor([0.25, 0.75]), torch.tensor([[-20.0, 0.0], [20.0, 5.0]]), covariances)
    s = model.sample(40_000, generator=gen())
    assert s.dtype == torch.float32
    left = s[:, 0] < 0
    assert left.float().mean().item() == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(torch.cov(s[left].T), covariances[0], rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(s[~left].T), covariances[1], rtol=0, atol=0.05)
    assert torch.equal(s, model.sample(40_000, generator=gen()))
    assert not torch.equal(s, model.sample(40_000, generator=gen(1)))


@pytest.mark.parametrize("stop", [0, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_resumed_in_the_middle_of_a_pass_is_the_same(kind, stop):
    x = images(90, (3, 2, 3))
    settings = {"components": 3, "covariance": kind, "ridge": 1e-2, "restarts": 2, "max_passes": 4, "start_points": 50}
    whole, first, second = (GMM((3, 2, 3), **settings) for _ in range(3))
    first.load_state_dict(whole.state_dict())  # the seed is drawn by the constructor
    fit(whole, x, 40)
    parts = x.split(40)
    for _ in range(stop):
        one_pass(first, x, 40)
    for part in parts[:2]:
        first.partial_fit({"image": part})
    second.load_state_dict(first.state_dict())
    second.partial_fit({"image": parts[2]})
    second.finish_pass()
    fit(second, x, 40)
    a, b = whole.state_dict(), second.state_dict()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_a_component_without_points_keeps_its_place():
    x = clusters(k=1, d=2)
    model = GMM((2,), components=2, max_passes=5)
    model.start(torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 0.0], [1e6, 1e6]]), torch.eye(2).expand(2, 2, 2))
    fit(model, x)
    assert model.weights.tolist() == [1, 0]
    assert model.log_prob(x).isfinite().all()
    assert model.sample(50, generator=gen()).abs().max() < 1e3


def test_copies_of_few_points_are_taken():
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(20, 1)
    model = GMM((2,), components=3, ridge=1e-3)
    fit(model, x)
    assert model.log_prob(x).isfinite().all()


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="fewer components"):
        fit(GMM((2,), components=5), torch.randn(3, 2, generator=gen()))
    line = torch.arange(20.0)[:, None].expand(20, 2)
    with pytest.raises(UserError, match="ridge"):
        fit(GMM((2,), components=1, ridge=0), line)
    with pytest.raises(UserError, match="memory"):
        GMM((3, 64, 64))
    with pytest.raises(UserError, match="start_points"):
        GMM((2,), components=5, start_points=4)
    with pytest.raises(UserError, match="covariances"):
        GMM((2,), components=2).start(torch.ones(2), torch.zeros(2, 2), torch.ones(2))
    with pytest.raises(UserError, match="no data"):
        GMM((2,)).finish_pass()
    with pytest.raises(UserError, match="shape"):
        GMM((2,)).log_prob(torch.zeros(1, 3))
    assert capabilities(GMM) == ("samples", "density", "calibrates", "fits")
