"""Distances between sets of features against brute force, closed forms and published counter-examples."""

import itertools
import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.metrics.frechet import frechet_distance, frechet_to_reference
from genzoo.metrics.kid import kid
from genzoo.metrics.kid_subsets import kid_subsets
from genzoo.metrics.maths.kernels import gaussian, kernel_sums, polynomial, samples_error
from genzoo.metrics.maths.moments import Moments
from genzoo.metrics.mmd import median_distance, rbf_mmd
from genzoo.metrics.prd import f_beta, prd, prd_curve
from genzoo.metrics.prdc import prdc
from genzoo.metrics.sliced import sliced_wasserstein, transport_1d
from genzoo.metrics.swd import laplacian_pyramid, pyramid_swd


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed=0, shift=0.0):
    return torch.randn(n, d, generator=rng(seed)) + shift


# ---- what every measure of two sets of features refuses

MEASURES = {
    "frechet": frechet_distance,
    "kid": kid,
    "kid_subsets": lambda a, b: kid_subsets(a, b, size=3, subsets=2),
    "rbf_mmd": lambda a, b: rbf_mmd(a, b, sigma=1),
    "prdc": lambda a, b: prdc(a, b, k=2),
    "prd": lambda a, b: prd(a, b, clusters=2, runs=1, angles=11),
    "sliced": sliced_wasserstein,
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_bad_features_are_refused_in_words(measure):
    good = normal(9, 4)
    spoilt = good.clone()
    spoilt[2, 1], spoilt[5] = math.nan, math.inf
    for a, b in ((spoilt, good), (good, spoilt)):
        with pytest.raises(UserError, match="2 of 9 rows"):
            measure(a, b)
    with pytest.raises(UserError, match=r"\(9, 4\) and \(9, 3\)"):
        measure(good, normal(9, 3))
    with pytest.raises(UserError, match="must be"):
        measure(good[0], good)
    for few in (good[:0], good[:1]):
        if measure is sliced_wasserstein and len(few):
            continue  # one point is a distribution
        with pytest.raises(UserError):
            measure(few, good)
    got = measure(good.double(), good)  # equal sets and mixed precision have a value
    value = got if isinstance(got, float) else next(iter(got.values()))
    assert math.isfinite(value)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_identical_examples_have_a_value(measure):
    one = torch.ones(9, 4)
    got = measure(one, one)
    assert math.isfinite(got if isinstance(got, float) else next(iter(got.values())))


# ---- Fréchet


def test_frechet_of_one_image_repeated_is_shift_plus_spread():
    a = normal(50, 6, 1)
    point = a[:1].double()
    want = float((a.double().mean(0) - point).square().sum() + a.double().var(0).sum())
    for m in (4, 40):
        assert frechet_distance(point.repeat(m, 1), a) == pytest.approx(want, rel=1e-9)
    assert frechet_distance(point.repeat(4, 1), point.repeat(5, 1) + 2) == pytest.approx(24)


@pytest.mark.parametrize(("n", "m"), [(20, 300), (20, 30), (300, 300)])
def test_frechet_to_a_kept_reference_equals_the_direct_one(n, m):
    a, b = normal(n, 40, 1).relu(), normal(m, 40, 2).relu()
    reference = Moments.of(b)
    want = frechet_distance(a, b)
    for _ in range(2):
        assert frechet_to_reference(a, reference) == pytest.approx(want, rel=1e-6)


def test_moments_refuse_nan_in_any_batch():
    m = Moments.of(normal(5, 3))
    with pytest.raises(UserError, match="1 of 2 rows"):
        m.update(torch.tensor([[1.0, 2, 3], [1, math.nan, 3]]))
    assert m.n == 5


# ---- KID


def loops(x, y, k):
    """The U-statistic as it is written down."""
    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return float(xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m))


def test_kid_equals_the_double_loop():
    x, y = normal(50, 6, 1, shift=0.3), normal(40, 6, 2)
    xd, yd = x.double(), y.double()
    want = loops(xd, yd, lambda a, b: (a @ b / 6 + 1) ** 3)
    for chunk in (1000, 7, 1):
        assert kid(x, y, chunk=chunk)["value"] == pytest.approx(want, rel=1e-5)
    want = loops(xd, yd, lambda a, b: (-(a - b).square().sum() / (2 * 1.5**2)).exp())
    assert rbf_mmd(x, y, sigma=1.5, chunk=11)["value"] == pytest.approx(want, rel=1e-5)


def test_the_error_of_kid_is_that_of_its_pairs_by_loops():
    """Every product of two pairs by its number of common examples, in double loops."""
    x, y = normal(9, 3, 1).double(), normal(7, 3, 2).double()
    across = polynomial(x, y).mean(1)
    h = polynomial(x, x) - across[:, None] - across
    pairs = list(itertools.combinations(range(9), 2))
    products = {0: [], 1: [], 2: []}
    for a, b in itertools.product(pairs, pairs):
        products[len({*a} & {*b})].append(float(h[a] * h[b]))
    mean = {k: sum(v) / len(v) for k, v in products.items()}
    weight = {k: len(v) / len(pairs) ** 2 for k, v in products.items()}
    want = sum(weight[k] * max(mean[k] - mean[0], 0) for k in (1, 2))
    for chunk in (1000, 4):
        sums = kernel_sums(x, y, polynomial)
        assert samples_error(x, sums, polynomial, chunk) == pytest.approx(math.sqrt(want), rel=1e-9)


def test_kid_is_unbiased():
    value = torch.tensor([kid(normal(60, 8, 2 * s), normal(80, 8, 2 * s + 1))["value"] for s in range(200)])
    # zero on average where P = Q, although biased forms are not
    assert abs(float(value.mean())) < 3 * float(value.std()) / 200**0.5
    assert (value < 0).any()


def test_subsets_agree_with_the_whole():
    x, y = normal(400, 10, 1, shift=0.2), normal(400, 10, 2)
    whole = kid(x, y)
    parts = kid_subsets(x, y, subsets=60, size=100)
    assert abs(parts["value"] - whole["value"]) < 3 * math.hypot(parts["se"], whole["se"])
    assert parts["se"] == pytest.approx(math.hypot(whole["se"], parts["sd"] / math.sqrt(59)), rel=1e-9)
    assert parts == kid_subsets(x, y, subsets=60, size=100)
    assert kid_subsets(x, y, subsets=2, size=400)["sd"] == pytest.approx(0, abs=1e-6)  # everything, in another order
    with pytest.raises(UserError, match="subsets of 401"):
        kid_subsets(x, y, size=401)


def test_mmd_is_the_gaussian_mmd_over_all_pairs():
    x, y = normal(30, 5, 1), normal(20, 5, 2, shift=0.5)
    sigma = median_distance(y)
    assert sigma == pytest.approx(float(torch.pdist(y).median()), rel=1e-3)
    k = gaussian(sigma)
    got = rbf_mmd(x, y, sigma=sigma)
    xx, yy = (k(v, v).fill_diagonal_(0).sum() / (len(v) * (len(v) - 1)) for v in (x, y))
    assert got["value"] == pytest.approx(float(xx + yy - 2 * k(x, y).mean()), rel=1e-4)
    assert got["biased"] == pytest.approx(float(k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()), rel=1e-4)
    with pytest.raises(UserError, match="equal features"):
        median_distance(torch.ones(5, 3))
    with pytest.raises(UserError, match="more than 0"):
        rbf_mmd(x, y, sigma=0)


# ---- precision, recall, density, coverage


def test_copies_count_at_a_large_mean():
    """Radii of duplicated points are 0, and float32 distances of copies are not: a copy must be inside all the same."""
    real = normal(40, 300, 0, shift=1000.0).repeat_interleave(2, 0)
    got = prdc(real.flip(0).clone(), real, k=1, chunk=7)
    assert (got["precision"], got["recall"], got["coverage"]) == (1, 1, 1)


def test_published_counter_examples_have_recall_zero():
    """Fakes that sit at two places, k such that their radius is zero or small, far from the reals: nothing is recalled."""
    real = torch.tensor([[0.0, 0.0], [1, 0], [0, 1], [1, 1]])
    fake = torch.tensor([[10.0, 10], [10.1, 10], [10, 10.1], [10.1, 10.1]])
    assert prdc(fake, real, k=1)["recall"] == 0
    line = torch.arange(8.0).view(-1, 1)
    assert prdc(line * 0.01 + 100, line, k=3)["recall"] == 0


def test_coverage_of_equal_distributions_is_known():
    """1 − (1/2)^k at equal numbers (Naeem et al., section 3.3), and density 1."""
    got = prdc(normal(3000, 3, 1), normal(3000, 3, 2), k=3)
    assert got["coverage"] == pytest.approx(1 - 0.5**3, abs=0.02)
    assert got["density"] == pytest.approx(1, abs=0.05)


# ---- PRD


@pytest.mark.parametrize(
    ("fake", "real", "place", "want"),
    [
        ([0, 1], [1, 0], 5, (0, 0)),
        ([1, 0], [1, 0], 5, (1, 1)),
        ([0.5, 0.5], [1, 0], 5, (0.5, 0.5)),
        ([0.5, 0.5], [1, 0], 10, (0.5, None)),
        ([0.5, 0.5], [1, 0], 1, (None, 1)),
        ([1, 0], [0.5, 0.5], 5, (0.5, 0.5)),
        ([1, 0], [0.5, 0.5], 1, (None, 0.5)),
        ([1, 0], [0.5, 0.5], 10, (1, None)),
    ],
)
def test_prd_curve_of_two_bins(fake, real, place, want):
    got = prd_curve(torch.tensor(fake), torch.tensor(real), angles=11)
    for value, expected in zip(got, want, strict=True):
        assert len(value) == 11
        if expected is not None:
            assert float(value[place]) == pytest.approx(expected, abs=1e-7)


def test_prd_refuses_what_is_no_curve():
    one = torch.tensor([1.0])
    for bad in (0, 1, -1):
        with pytest.raises(UserError, match="epsilon"):
            prd_curve(one, one, epsilon=bad)
    for bad in (0, 1, -1, 1_000_001, 2.5):
        with pytest.raises(UserError, match="angles"):
            prd_curve(one, one, angles=bad)
    for bad in (torch.tensor([-1.0, 2]), torch.zeros(2)):
        with pytest.raises(UserError, match="histograms"):
            prd_curve(bad, torch.ones(2))
    with pytest.raises(UserError, match="same bins"):
        prd_curve(torch.ones(2), torch.ones(3))
    for bad in (0, -3):
        with pytest.raises(UserError, match="beta"):
            f_beta(one, one, bad)
    with pytest.raises(UserError, match="lie in"):
        f_beta(-one, one, 1)


def test_f_beta_by_hand():
    precision = torch.tensor([1, 1, 0, 0, 0.5, 1, 0.5])
    recall = torch.tensor([1, 0, 1, 0, 0.5, 0.5, 1])
    for beta, last in ((1, (2 / 3, 2 / 3)), (2, (5 / 9, 5 / 6)), (0.5, (5 / 6, 5 / 9))):
        want = torch.tensor([1, 0, 0, 0, 0.5, *last])
        torch.testing.assert_close(f_beta(precision, recall, beta), want)


def test_prd_tells_missing_variety_from_missing_fidelity():
    centres = 10 * torch.eye(8)
    real = centres[torch.arange(800) % 8] + 0.1 * normal(800, 8, 1)
    half = centres[torch.arange(600) % 4] + 0.1 * normal(600, 8, 2)
    noisy = torch.cat([real[:400] + 0.01, 50 + normal(400, 8, 3)])
    same = prd(real + 0.01, real, clusters=8, runs=3)
    dropped, spoilt = prd(half, real, clusters=8, runs=3), prd(noisy, real, clusters=9, runs=3)
    assert min(same["f_8"], same["f_1_8"]) > 0.9
    assert dropped["f_1_8"] > 0.9 > 0.65 > dropped["f_8"]
    assert spoilt["f_8"] > 0.9 > 0.65 > spoilt["f_1_8"]
    assert prd(half, real, runs=2)["f_8"] == prd(half, real, runs=2)["f_8"]
    with pytest.raises(UserError, match="clusters"):
        prd(real[:5], real, clusters=6)


# ---- sliced Wasserstein


def test_transport_in_one_dimension_is_exact_for_unequal_numbers():
    a, b = normal(6, 4, 1), normal(15, 4, 2)
    common_a, common_b = a.repeat_interleave(5, 0), b.repeat_interleave(2, 0)  # 30 of each: the same two distributions
    for p in (1, 2, 3):
        torch.testing.assert_close(transport_1d(a, b, p), transport_1d(common_a, common_b, p))
    assert float(transport_1d(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]]), 2)) == 5  # (1 + 9) / 2


def test_sliced_distance_of_a_shift_is_known():
    d, shift = 16, 3.0
    x = normal(500, d)
    got = sliced_wasserstein(x + torch.eye(d)[0] * shift, x, directions=4000)
    assert got["value"] == pytest.approx(shift / math.sqrt(d), abs=4 * got["directions_se"])  # E cos² = 1 / d
    assert sliced_wasserstein(x, x)["value"] == 0
    assert sliced_wasserstein(x[:100], x, seed=3) == sliced_wasserstein(x[:100], x, seed=3, group=5000)
    with pytest.raises(UserError, match="two directions"):
        sliced_wasserstein(x, x, directions=1)


def test_laplacian_pyramid_is_undone_by_adding_up():
    from genzoo.metrics.swd import _enlarge

    x = torch.rand(2, 3, 32, 48, generator=rng())
    pyramid = laplacian_pyramid(x, 3)
    assert [tuple(p.shape[2:]) for p in pyramid] == [(32, 48), (16, 24), (8, 12)]
    back = pyramid[2]
    for level in (1, 0):
        back = _enlarge(back) + pyramid[level]
    torch.testing.assert_close(back, x)
    flat = laplacian_pyramid(torch.full((1, 1, 16, 16), 0.7), 2)
    assert float(flat[0][..., 2:-2, 2:-2].abs().max()) < 1e-6  # no band has a constant in it


def test_pyramid_swd_sees_the_band_that_was_changed():
    images = torch.rand(200, 1, 32, 32, generator=rng())
    other = torch.rand(200, 1, 32, 32, generator=rng(1))
    floor = pyramid_swd(other, images, per_image=16, repeats=2, directions=32)
    assert set(floor) == {"32", "16", "mean", "n", "seed"}
    assert floor["mean"] == pytest.approx((floor["32"] + floor["16"]) / 2)
    smooth = torch.nn.functional.avg_pool2d(other, 3, 1, 1)
    found = pyramid_swd(smooth, images, per_image=16, repeats=2, directions=32)
    assert found["32"] > 2.5 * floor["32"]
    assert found["mean"] > floor["mean"]
    assert pyramid_swd(smooth, images, per_image=4, seed=2) == pyramid_swd(
        smooth, images, per_image=4, seed=2, chunk=500
    )
    with pytest.raises(UserError, match="equally large"):
        pyramid_swd(images[:5], images)
    with pytest.raises(UserError, match="pixels a side"):
        pyramid_swd(images[..., :6], images[..., :6])
