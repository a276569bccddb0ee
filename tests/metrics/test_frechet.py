"""The Fréchet distance against closed forms, published constants and a slow exact reference."""

import pytest
import torch

from genzoo.metrics.frechet import frechet_distance, frechet_from_moments
from genzoo.metrics.maths.moments import Moments


def exact(a, b):
    """Nuclear norm of the product of the triangular factors: slow, and accurate for any rank."""
    a, b = a.double(), b.double()
    (x, mx), (y, my) = (((f - f.mean(0)) / (len(f) - 1) ** 0.5, f.mean(0)) for f in (a, b))
    overlap = torch.linalg.svdvals(torch.linalg.qr(x).R @ torch.linalg.qr(y).R.T).sum()
    return float((mx - my).square().sum() + x.square().sum() + y.square().sum() - 2 * overlap)


def with_covariance(mean, covariance, n=2):
    m = Moments(len(mean))
    m.n, m.mean, m.scatter = n, mean.double(), covariance.double() * (n - 1)
    return m


def features(n, d, seed=0, dead=0, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99)) * torch.logspace(0, -3, d)
    x = (torch.randn(n, d, generator=g) @ mix * scale + 0.3).relu()
    x[:, :dead] = 0
    return x


def test_commuting_gaussians_have_a_closed_form():
    g = torch.Generator().manual_seed(0)
    d = 64
    q = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    va, vb = (torch.rand(d, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    ma, mb = (torch.randn(d, generator=g, dtype=torch.float64) for _ in range(2))
    want = float((ma - mb).square().sum() + (va.sqrt() - vb.sqrt()).square().sum())
    got = frechet_from_moments(with_covariance(ma, q * va @ q.T), with_covariance(mb, q * vb @ q.T))
    assert got == pytest.approx(want, rel=1e-12)


def test_compare_gan_constant():
    real = torch.ones(100, 2)
    real[:50, 0] = 2
    fake = torch.full((100, 2), 9.0)
    fake[50:, 0] = 2
    assert frechet_distance(fake, real) == pytest.approx(89.0909, abs=1e-4)


def test_unit_shift_of_equal_covariance_is_the_number_of_dimensions():
    d = 256
    covariance = torch.eye(d) * 0.7
    assert frechet_from_moments(
        with_covariance(torch.zeros(d), covariance), with_covariance(torch.ones(d), covariance)
    ) == pytest.approx(d, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "d", "dead"),
    [(500, 600, 40, 0), (500, 600, 40, 9), (30, 25, 80, 0), (30, 400, 80, 0), (400, 30, 80, 5), (30, 25, 80, 12)],
)
def test_equals_the_exact_reference_for_every_rank(n, m, d, dead):
    a, b = features(n, d, 1, dead), features(m, d, 2, dead, scale=1.3)
    assert frechet_distance(a, b) == pytest.approx(exact(a, b), rel=1e-5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-5)


@pytest.mark.parametrize("n", [20, 300])
def test_of_a_set_with_itself_is_zero(n):
    a = features(n, 50)
    assert 0 <= frechet_distance(a, a) < 1e-6 * float(a.double().var(0).sum())


def test_rotation_and_scale():
    a, b = features(200, 30, 1).double(), features(200, 30, 2, scale=2.0).double()
    q = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    want = frechet_distance(a, b)
    assert frechet_distance(a @ q, b @ q) == pytest.approx(want, rel=1e-6)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * want, rel=1e-6)


def test_streamed_moments_equal_those_of_the_whole_at_a_large_mean():
    x = features(1000, 20) + 1000
    whole = Moments.of(x)
    parts = Moments(20)
    for part in x.split(37):
        parts.update(part)
    left, right = Moments.of(x[:300]), Moments.of(x[300:])
    for m in (parts, left.merge(right)):
        assert m.n == 1000
        torch.testing.assert_close(m.mean, whole.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(m.covariance, torch.cov(x.double().T), rtol=0, atol=1e-9)


def test_cached_half_is_dropped_when_more_is_observed():
    m = Moments.of(features(100, 8, 1))
    before = m.half
    m.update(features(100, 8, 2, scale=4.0))
    torch.testing.assert_close(m.half @ m.half.T, m.covariance)
    assert not torch.allclose(before, m.half)


def test_refuses_what_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(torch.ones(1, 3), torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        frechet_distance(torch.ones(5, 3), torch.ones(5, 4))
    with pytest.raises(ValueError, match="not"):
        Moments(3).update(torch.ones(5, 4))
