"""Classifier scores, disentanglement, and annealed importance sampling where the answers are known."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.metrics.accuracy import label_accuracy
from genzoo.metrics.ais import Decoder, ais, anneal, log_mean_exp, sigmoid_schedule, tune_steps
from genzoo.metrics.mig import discretize, mig, mutual_information
from genzoo.metrics.modes import MIXTURE_SAMPLES, grid_report, ring_modes, ring_report, sample_mixture
from genzoo.metrics.parzen import parzen, parzen_log_prob
from genzoo.metrics.score import classifier_score


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- Inception-style score


def test_score_of_sure_and_of_constant_classifiers():
    sure = 400 * torch.eye(10).repeat(7, 1) - 200
    assert classifier_score(sure)["value"] == pytest.approx(10, rel=1e-12)  # logits of ±200 do not underflow
    assert classifier_score(sure)["se"] == pytest.approx(0, abs=1e-12)
    constant = torch.randn(1, 10, generator=rng()).repeat(50, 1)
    assert classifier_score(constant)["value"] == pytest.approx(1, abs=1e-12)
    assert classifier_score(sure[:30:10])["value"] == pytest.approx(1, abs=1e-12)  # one class only


def test_score_equals_its_formula_and_its_error_is_honest():
    logits = torch.randn(500, 6, generator=rng(), dtype=torch.float64) * 2
    p = logits.softmax(1)
    want = (p * (p.log() - p.mean(0).log())).sum(1).mean().exp()
    got = classifier_score(logits)
    assert got["value"] == pytest.approx(float(want))
    draws = [classifier_score(2 * torch.randn(500, 6, generator=rng(s), dtype=torch.float64)) for s in range(150)]
    spread = torch.tensor([d["value"] for d in draws]).std()
    assert 0.85 < sum(d["se"] for d in draws) / 150 / float(spread) < 1.15


def test_score_over_splits():
    logits = torch.randn(103, 6, generator=rng()) * 3
    got = classifier_score(logits, splits=10, seed=4)
    order = torch.randperm(103, generator=rng(4))
    parts = torch.tensor([classifier_score(part)["value"] for part in logits[order].tensor_split(10)]).double()
    assert got["value"] == pytest.approx(float(parts.mean()))
    assert got["sd"] == pytest.approx(float(parts.std(correction=0)), rel=1e-6)
    assert got["se"] == pytest.approx(float(parts.std()) / math.sqrt(10), rel=1e-6)
    with pytest.raises(UserError, match="52 splits"):
        classifier_score(logits, splits=52)
    with pytest.raises(UserError, match="1 of 103 rows"):
        classifier_score(torch.cat([logits[:102], torch.full((1, 6), math.nan)]))


def test_label_accuracy():
    logits = torch.eye(4)
    assert label_accuracy(logits, torch.tensor([0, 1, 2, 0])) == {
        "value": 0.75,
        "se": pytest.approx(math.sqrt(0.75 * 0.25 / 4)),
        "n": 4,
    }
    for bad in (torch.tensor([0, 1, 2, 4]), torch.tensor([0, 1]), torch.zeros(4)):
        with pytest.raises(UserError, match="labels must"):
            label_accuracy(logits, bad)


# ---- modes and Parzen: what they refuse


def test_ring_and_grid_by_their_protocols():
    from genzoo.metrics.modes import GRID_SIGMA, RING_SIGMA, grid_modes

    ring = ring_report(sample_mixture(ring_modes(), RING_SIGMA, MIXTURE_SAMPLES, generator=rng()))
    grid = grid_report(sample_mixture(grid_modes(), GRID_SIGMA, MIXTURE_SAMPLES, generator=rng(1)))
    assert (ring["modes"], grid["modes"]) == (8, 25)
    for got, k in ((ring, 8), (grid, 25)):
        assert got["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.006)
        assert got["reverse_kl"] == pytest.approx((k - 1) / (2 * MIXTURE_SAMPLES), rel=1.2)
        assert got["n"] == 2500
    with pytest.raises(UserError, match="1 of 3 rows of points"):
        ring_report(torch.tensor([[0.0, 1], [math.nan, 0], [1, 1]]))
    with pytest.raises(UserError, match=r"\[N, 2\]"):
        grid_report(torch.zeros(5, 3))
    with pytest.raises(UserError, match="at least 1"):
        ring_report(torch.zeros(0, 2))


def test_parzen_refuses_what_has_no_density():
    x = torch.rand(5, 1, 2, 2)
    with pytest.raises(UserError, match="sigma"):
        parzen_log_prob(x, x, 0)
    with pytest.raises(UserError, match="same number of features"):
        parzen_log_prob(x, x[..., :1], 0.2)
    with pytest.raises(UserError, match="5 of 5 rows of samples"):
        parzen_log_prob(x * math.nan, x, 0.2)
    with pytest.raises(UserError, match="two test points"):
        parzen(x, x, x[:1])
    assert torch.isfinite(parzen_log_prob(x[:1].repeat(5, 1, 1, 1), x[:1], 0.1)).all()


# ---- mutual information gap


def test_mig_of_perfect_of_doubled_and_of_random_codes():
    factors = torch.randint(0, 5, (5000, 3), generator=rng())
    perfect = mig(factors.float() * 2 - 1, factors)
    assert perfect["value"] == pytest.approx(1, abs=0.005)
    assert perfect["best"] == [0, 1, 2]
    doubled = torch.cat([factors, -factors], 1).float()
    assert mig(doubled, factors)["value"] == pytest.approx(0, abs=1e-12)  # two dimensions know each factor
    shuffled = factors[torch.randperm(5000, generator=rng(1))].float()
    assert mig(shuffled, factors)["value"] < 0.01
    turned = factors.float() @ torch.linalg.qr(torch.randn(3, 3, generator=rng(2))).Q
    assert mig(turned, factors)["value"] < 0.5


def test_mutual_information_and_bins_equal_numpy_and_sklearn():
    numpy = pytest.importorskip("numpy")
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    z = torch.randn(800, 2, generator=rng(), dtype=torch.float64)
    v = (z[:, 0] * 2).round().long().clamp(-2, 2) + 2
    binned = discretize(z)
    edges = numpy.histogram(z[:, 0].numpy(), 20)[1][:-1]
    assert (binned[:, 0].numpy() == numpy.digitize(z[:, 0].numpy(), edges) - 1).all()
    assert mutual_information(binned[:, 0], v) == pytest.approx(metrics.mutual_info_score(binned[:, 0], v))
    assert mutual_information(v, v) == pytest.approx(metrics.mutual_info_score(v, v))


def test_mig_refuses_what_has_no_gap():
    codes, factors = torch.randn(20, 3, generator=rng()), torch.arange(20).view(-1, 1) % 4
    with pytest.raises(UserError, match=r"factors \[1\] have one value"):
        mig(codes, torch.cat([factors, factors * 0], 1))
    with pytest.raises(UserError, match="two code dimensions"):
        mig(codes[:, :1], factors)
    with pytest.raises(UserError, match="whole numbers"):
        mig(codes, factors.float())
    with pytest.raises(UserError, match="20 of 20"):
        mig(codes * math.nan, factors)
    assert mig(torch.zeros(20, 3), factors)["value"] == 0


# ---- annealed importance sampling

D, L, SIGMA = 50, 5, 0.5


def linear_gaussian(seed=0, n=3):
    """z ~ N(0, I), x | z ~ N(Wz, σ² I): everything is known."""
    g = rng(seed)
    w = torch.randn(D, L, generator=g, dtype=torch.float64)
    z = torch.randn(n, L, generator=g, dtype=torch.float64)
    x = z @ w.T + SIGMA * torch.randn(n, D, generator=g, dtype=torch.float64)
    covariance = w @ w.T + SIGMA**2 * torch.eye(D, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(torch.zeros(D, dtype=torch.float64), covariance).log_prob(x)
    precision = torch.eye(L, dtype=torch.float64) + w.T @ w / SIGMA**2
    spread = torch.linalg.inv(precision)
    mean = x @ w @ spread / SIGMA**2

    def normal_log_prob(v, sd):
        return (-0.5 * (v / sd).square() - math.log(sd) - 0.5 * math.log(2 * math.pi)).sum(1)

    model = Decoder(
        log_prior=lambda z: normal_log_prob(z, 1.0),
        log_lik=lambda x, z: normal_log_prob(x - z @ w.T, SIGMA),
        draw=lambda n, g: torch.randn(n, L, generator=g, dtype=torch.float64),
    )
    return model, x, z, exact, (mean, spread)


def test_annealing_brackets_the_truth_and_tightens():
    model, x, z, exact, _ = linear_gaussian(n=12)
    found = {t: ais(model, x, steps=t, chains=16, leapfrogs=5, posterior=z) for t in (4, 30, 250)}
    errors = {t: f["value"] - float(exact.mean()) for t, f in found.items()}
    assert errors[4] < errors[30] < errors[250] < 0.1
    assert errors[250] > -0.5
    for f in found.values():
        assert f["upper"] > float(exact.mean()) - 0.05
        assert f["gap"] == pytest.approx(f["upper"] - f["value"])
        assert f["log_prob"].dtype == torch.float64
    assert found[250]["gap"] < 1
    assert 0.4 < found[250]["acceptance"] < 0.9
    assert 1 <= found[250]["ess"] <= 16
    again = ais(model, x, steps=4, chains=16, leapfrogs=5)
    assert torch.equal(again["log_prob"], found[4]["log_prob"])


def test_a_path_of_one_step_is_plain_importance_sampling_from_the_prior():
    model, x, _, _, _ = linear_gaussian()
    log_w, _ = anneal(model, x, torch.tensor([0.0, 1.0]), torch.full((1, 3), 1e-4), chains=5, leapfrogs=1, seed=3)
    z = model.draw(15, rng(3))
    torch.testing.assert_close(log_w, model.log_lik(x.repeat(5, 1), z).view(5, 3))


def test_transitions_leave_the_posterior_as_it_is():
    """Many steps at β = 1 from exact posterior draws: mean and covariance stay."""
    from genzoo.metrics.ais import _hmc

    model, x, _, _, (mean, spread) = linear_gaussian(n=1)
    g = rng(0)
    z = mean + torch.randn(4000, L, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(spread).T
    many = x.expand(4000, -1)
    rates = []
    for _ in range(20):
        z, lik, accepted = _hmc(model, many, z, 1.0, torch.full((4000,), 0.09), 5, g)
        rates.append(float(accepted.double().mean()))
    torch.testing.assert_close(lik, model.log_lik(many, z))  # the likelihood handed on is that of the state handed on
    assert 0.3 < sum(rates) / 20 < 0.995  # some are refused, or the test would prove nothing
    sd = spread.diagonal().sqrt()
    assert float(((z.mean(0) - mean[0]) / sd).abs().max()) < 5 / math.sqrt(4000)
    torch.testing.assert_close(torch.cov(z.T) / torch.outer(sd, sd), spread / torch.outer(sd, sd), atol=0.12, rtol=0)


def test_schedule_and_tuning():
    betas = sigmoid_schedule(100)
    assert (float(betas[0]), float(betas[-1]), len(betas)) == (0, 1, 101)
    assert (betas.diff() > 0).all()
    assert betas.diff()[0] < betas.diff()[50] > betas.diff()[-1]
    model, x, *_ = linear_gaussian()
    sizes = tune_steps(model, x, betas)
    assert sizes.shape == (100, 3)
    assert torch.equal(sizes, tune_steps(model, x, betas))
    assert float(sizes[-1].mean()) < float(sizes[0].mean())  # the posterior is narrower than the prior
    assert log_mean_exp(torch.tensor([[0.0], [math.log(3)]])) == pytest.approx(math.log(2))
    with pytest.raises(UserError, match="rise from 0 to 1"):
        anneal(model, x, betas.flip(0), sizes)
    with pytest.raises(UserError, match="step sizes above 0"):
        anneal(model, x, betas, sizes[:5])


def test_a_likelihood_that_is_nan_is_refused():
    model, x, *_ = linear_gaussian()
    broken = Decoder(model.log_prior, lambda x, z: model.log_lik(x, z) * math.nan, model.draw)
    with pytest.raises(UserError, match="NaN"):
        ais(broken, x, steps=2, chains=1)
