"""Modes, Parzen windows, outliers, neighbours and precision/recall against brute force and known constants."""

import math

import numpy as np
import pytest
import torch

from genzoo.metrics.maths.neighbours import nearest
from genzoo.metrics.maths.outliers import auroc
from genzoo.metrics.modes import (
    GRID_SIGMA,
    RING_SIGMA,
    grid_modes,
    jsd_to_uniform,
    kl_to_uniform,
    mode_counts,
    ring_modes,
    sample_mixture,
)
from genzoo.metrics.parzen import SIGMAS, choose_sigma, parzen, parzen_log_prob
from genzoo.metrics.prdc import prdc
from genzoo.metrics.stacked_modes import stack_digits, stacked_modes


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- modes


@pytest.mark.parametrize(("centres", "sigma", "count"), [(ring_modes(), RING_SIGMA, 8), (grid_modes(), GRID_SIGMA, 25)])
def test_the_true_sampler_covers_every_mode(centres, sigma, count):
    got = mode_counts(sample_mixture(centres, sigma, 20_000, generator=rng()), centres, sigma)
    assert got["modes"] == count
    assert got["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert 0 < got["reverse_kl"] < 0.003
    assert 0 < got["jsd"] < got["reverse_kl"]


def test_geometry_of_ring_and_grid():
    assert torch.allclose(ring_modes().norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert grid_modes().min() == -4
    assert grid_modes().max() == 4
    assert len(torch.unique(grid_modes(), dim=0)) == 25


def test_collapse_and_noise_are_seen():
    centres = ring_modes()
    collapsed = mode_counts(centres[3].repeat(100, 1), centres, RING_SIGMA)
    assert collapsed["modes"] == 1
    assert collapsed["high_quality"] == 1
    assert collapsed["reverse_kl"] == pytest.approx(math.log(8))
    nowhere = mode_counts(torch.full((10, 2), 5.0), centres, RING_SIGMA)
    assert nowhere["modes"] == 0
    assert math.isnan(nowhere["reverse_kl"])


def test_divergences_of_histograms():
    assert kl_to_uniform(torch.tensor([5, 5])) == pytest.approx(0)
    assert kl_to_uniform(torch.tensor([10, 0])) == pytest.approx(math.log(2))
    assert jsd_to_uniform(torch.tensor([10, 0])) == pytest.approx(
        0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    )


def test_stacked_modes_reads_every_channel_in_its_place():
    digits = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)

    def classify(x):
        return torch.nn.functional.one_hot(x.flatten().long(), 10).float()

    every = torch.cartesian_prod(*[torch.arange(10)] * 3).view(1000, 3, 1, 1).to(torch.uint8)
    assert stacked_modes(every, classify) == {
        "modes": 1000,
        "kl": pytest.approx(0, abs=1e-12),
        "n": 1000,
        "ideal_kl": 999 / 2000,
    }
    # The channels are a base-ten number: swapping them must give another mode.
    two = torch.tensor([[1, 2, 3], [3, 2, 1], [1, 2, 3], [1, 2, 3]], dtype=torch.uint8).view(4, 3, 1, 1)
    got = stacked_modes(two, classify)
    assert got["modes"] == 2
    assert got["kl"] == pytest.approx(math.log(1000) + 0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    real = stacked_modes(stack_digits(digits, 26_000, generator=rng()), classify)
    assert real["modes"] == 1000
    assert real["kl"] == pytest.approx(real["ideal_kl"], rel=0.1)
    with pytest.raises(ValueError, match="3, H, W"):
        stacked_modes(digits, classify)


# ---- Parzen


def test_parzen_equals_the_broadcast_formula():
    s, x, sigma = torch.rand(30, 5, generator=rng()), torch.rand(17, 5, generator=rng(1)), 0.2
    kernel = -0.5 * ((x[:, None].double() - s[None].double()) / sigma).square().sum(2)
    want = torch.logsumexp(kernel, 1) - math.log(30) - 5 * math.log(sigma * math.sqrt(2 * math.pi))
    torch.testing.assert_close(parzen_log_prob(s, x, sigma, chunk=4), want)


def test_parzen_is_a_density():
    line = torch.linspace(-4, 5, 4000).view(-1, 1)
    p = parzen_log_prob(torch.tensor([[0.0], [1.0]]), line, 0.5).exp()
    assert float(p.sum() * (line[1] - line[0])) == pytest.approx(1, abs=1e-4)


def test_parzen_protocol_chooses_the_best_bandwidth_on_validation():
    assert SIGMAS[0] == pytest.approx(0.1)
    assert SIGMAS[-1] == pytest.approx(1)
    assert SIGMAS[2] == pytest.approx(0.16681, abs=1e-5)
    s, v, t = (torch.randn(400, 1, generator=rng(i)) for i in range(3))
    sigma = choose_sigma(s, v)
    assert all(parzen_log_prob(s, v, sigma).mean() >= parzen_log_prob(s, v, other).mean() for other in SIGMAS)
    got = parzen(s, v, t)
    assert got["sigma"] == sigma
    assert got["n"] == 400
    assert got["value"] == pytest.approx(-1.42, abs=0.1)  # a standard normal scores −½ log 2πe = −1.419 of itself
    assert 0.01 < got["se"] < 0.1


# ---- outliers


def test_auroc_equals_all_pairs():
    a, b = torch.randint(0, 9, (50,), generator=rng()), torch.randint(3, 12, (40,), generator=rng(1))
    pairs = (b[None] > a[:, None]).double() + 0.5 * (b[None] == a[:, None]).double()
    assert auroc(a, b) == pytest.approx(float(pairs.mean()))
    assert auroc(b, a) == pytest.approx(1 - auroc(a, b))
    assert auroc(a, a) == pytest.approx(0.5)


def test_auroc_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        auroc(torch.tensor([0.0, float("nan")]), torch.tensor([1.0]))


# ---- neighbours


def test_nearest_equals_brute_force_in_chunks():
    x = torch.randint(0, 256, (5, 1, 4, 4), generator=rng(), dtype=torch.uint8)
    y = torch.randint(0, 256, (37, 1, 4, 4), generator=rng(1), dtype=torch.uint8)
    y[20] = y[3] = x[2]
    want = (x.flatten(1)[:, None].double() - y.flatten(1)[None].double()).square().mean(2).sqrt()
    distance, index = nearest(x, y.numpy(), k=3, chunk=8)
    torch.testing.assert_close(distance, want.sort(1).values[:, :3])
    torch.testing.assert_close(index, want.argsort(dim=1, stable=True)[:, :3])
    assert distance[2, 0] == 0
    assert index[2].tolist()[:2] == [3, 20]
    with pytest.raises(ValueError, match="uint8"):
        nearest(x.float(), np.zeros((1, 1, 4, 4), np.uint8))


# ---- precision, recall, density, coverage


def brute_prdc(fake, real, k):
    ff, rr, rf = torch.cdist(fake, fake), torch.cdist(real, real), torch.cdist(real, fake)
    fr, rad = ff.sort(1).values[:, k], rr.sort(1).values[:, k]
    inside = rf <= rad[:, None]
    return (
        inside.any(0).double().mean(),
        (rf <= fr[None]).any(1).double().mean(),
        inside.double().sum(0).mean() / k,
        inside.any(1).double().mean(),
    )


def test_prdc_equals_brute_force():
    fake, real = torch.randn(90, 3, generator=rng()) + 0.7, torch.randn(110, 3, generator=rng(1))
    got = prdc(fake, real, k=3, chunk=17)
    want = brute_prdc(fake.double(), real.double(), 3)
    assert [got[m] for m in ("precision", "recall", "density", "coverage")] == pytest.approx(
        [float(w) for w in want], abs=1e-6
    )


def test_prdc_of_equal_and_of_far_sets():
    x = torch.randn(60, 4, generator=rng())
    same, far = prdc(x, x), prdc(x + 100, x)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    assert (far["precision"], far["recall"], far["density"], far["coverage"]) == (0, 0, 0, 0)


def test_recall_uses_the_radii_of_the_fakes():
    # All fakes at one place: their radius is 0, so no real image is recalled, however wide the real neighbourhoods are.
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    assert prdc(torch.full((5, 1), 1.5), real, k=1)["recall"] == 0
