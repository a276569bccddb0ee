"""Statistical tests of samples (copying, classifier tests, bins) and the clustering beneath, against brute force and known nulls."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.metrics.c2st import classifier_test, neighbour_test
from genzoo.metrics.copying import data_copying, mann_whitney_z
from genzoo.metrics.maths.kmeans import kmeans, nearest_centre
from genzoo.metrics.maths.neighbours import nearest, nearest_rows
from genzoo.metrics.memorization import authenticity
from genzoo.metrics.ndb import different_bins, ndb


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, d, seed=0, shift=0.0):
    return torch.randn(n, d, generator=rng(seed)) + shift


TESTS = {
    "data_copying": lambda a, b: data_copying(a, b, b, cells=1, least=1),
    "authenticity": authenticity,
    "neighbour_test": lambda a, b: neighbour_test(a, b, permutations=5),
    "classifier_test": lambda a, b: classifier_test(a, b, steps=2),
    "ndb": lambda a, b: ndb(a, b, bins=3),
}


@pytest.mark.parametrize("measure", TESTS.values(), ids=TESTS)
def test_bad_features_are_refused_in_words(measure):
    good = normal(9, 4)
    spoilt = good.clone()
    spoilt[2, 1], spoilt[5] = math.nan, math.inf
    for a, b in ((spoilt, good), (good, spoilt)):
        with pytest.raises(UserError, match="2 of 9 rows"):
            measure(a, b)
    with pytest.raises(UserError, match="same number of features"):
        measure(good, normal(9, 3))
    with pytest.raises(UserError):
        measure(good[:0], good)
    with pytest.raises(UserError):
        measure(good, good[:0])
    assert math.isfinite(measure(good, good)["value"])
    assert math.isfinite(measure(torch.ones(9, 4), torch.ones(9, 4))["value"])


# ---- k-means


def test_kmeans_finds_what_is_there_and_is_a_fixed_point():
    centres = 20 * torch.eye(5)
    x = centres[torch.arange(200) % 5] + 0.5 * normal(200, 5)
    got = kmeans(x, 5, seed=1)
    assert len(torch.unique(got.labels[:5])) == 5
    assert torch.equal(got.labels, got.labels[:5].repeat(40))
    for k in range(5):
        torch.testing.assert_close(got.centres[k], x[got.labels == k].mean(0))
    assert got.inertia == pytest.approx(float((x - got.centres[got.labels]).square().sum()), rel=1e-4)
    assert torch.equal(got.assign(x), got.labels)


def test_kmeans_never_gets_worse_and_knows_its_seed():
    x = normal(500, 3)
    losses = [kmeans(x, 12, seed=3, passes=p).inertia for p in (1, 2, 4, 8, 100)]
    assert losses == sorted(losses, reverse=True)
    assert torch.equal(kmeans(x, 12, seed=3).centres, kmeans(x, 12, seed=3, chunk=7).centres)
    assert not torch.equal(kmeans(x, 12, seed=3).centres, kmeans(x, 12, seed=4).centres)
    assert kmeans(x, 12, plus_plus=False).inertia < 1.5 * losses[-1]


def test_kmeans_with_as_many_centres_as_points_and_with_fewer_different_points():
    x = normal(7, 2)
    assert kmeans(x, 7).inertia == pytest.approx(0, abs=1e-5)
    assert kmeans(torch.ones(6, 2), 3).inertia == 0
    for k in (0, 8):
        with pytest.raises(UserError, match="clusters"):
            kmeans(x, k)


def test_a_large_mean_costs_no_digits():
    x = normal(300, 4) + 1e4
    labels, distance = nearest_centre(x, x[:5])
    want = (x[:, None].double() - x[None, :5].double()).square().sum(2).min(1)
    assert torch.equal(labels, want.indices)
    torch.testing.assert_close(distance.double(), want.values, rtol=1e-4, atol=1e-3)


# ---- neighbours


def test_nearest_rows_equal_brute_force_and_copies_are_at_zero():
    x, y = normal(50, 30, 1) + 500, normal(70, 30, 2) + 500
    x[7] = y[33]
    d = (x[:, None].double() - y[None].double()).square().sum(2).sqrt()
    distance, where = nearest_rows(x, y, chunk=13)
    torch.testing.assert_close(distance, d.min(1).values)
    assert torch.equal(where, d.min(1).indices)
    assert distance[7] == 0
    own = (x[:, None].double() - x[None].double()).square().sum(2).sqrt().fill_diagonal_(math.inf).min(1)
    distance, where = nearest_rows(x, x, leave_one_out=True, chunk=13)
    torch.testing.assert_close(distance, own.values)
    assert torch.equal(where, own.indices)
    with pytest.raises(UserError, match="twice"):
        nearest_rows(x, y, leave_one_out=True)


def test_nearest_images_refuses_more_neighbours_than_images():
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(UserError, match="k=4"):
        nearest(images, images, k=4)


# ---- copying


def test_mann_whitney_equals_all_pairs_and_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is the reference")
    a, b = normal(40, 1, 1)[:, 0], normal(60, 1, 2)[:, 0] - 0.3
    want = stats.mannwhitneyu(a.numpy(), b.numpy(), method="asymptotic", use_continuity=False, alternative="greater")
    assert 0.5 * math.erfc(mann_whitney_z(a, b) / math.sqrt(2)) == pytest.approx(float(want.pvalue), rel=1e-6)
    assert mann_whitney_z(a, b) == pytest.approx(-mann_whitney_z(b, a))
    assert mann_whitney_z(torch.ones(5), torch.ones(9)) == 0


def test_copies_near_and_far_samples_are_told_apart():
    train, test = normal(400, 4, 1), normal(300, 4, 2)
    fair = [data_copying(normal(300, 4, 10 + s), train, test)["value"] for s in range(20)]
    assert abs(sum(fair) / 20) < 1.2  # the held-out set is one for all of them
    assert max(abs(v) for v in fair) < 4
    jitter = train[:300] + 0.05 * normal(300, 4, 3)
    copied, far = data_copying(jitter, train, test), data_copying(3 * normal(300, 4, 4), train, test)
    assert copied["value"] < -6
    assert copied["share"] < 0.1
    assert far["value"] > 6
    exact = data_copying(train[:50], train, test, cells=1)
    assert (exact["copies"], exact["fake"]) == (1, 0)
    assert exact["cells"][0]["z"] == pytest.approx(exact["value"])
    assert exact["value"] == pytest.approx(-50 * 300 / 2 / math.sqrt(50 * 300 * 351 / 12))  # every pair lost


def test_cells_with_too_few_examples_are_left_out():
    two = torch.cat([normal(100, 2, 1), normal(100, 2, 2, shift=30.0)])
    got = data_copying(normal(60, 2, 3), two, torch.cat([normal(40, 2, 4), normal(40, 2, 5, 30.0)]), cells=2)
    assert sorted(c["fake"] for c in got["cells"]) == [0, 60]
    assert [c["z"] is None for c in got["cells"]].count(True) == 1
    with pytest.raises(UserError, match="none of 2 cells"):
        data_copying(normal(60, 2, 3), two, two, cells=2, least=1000)


def test_authenticity_by_hand():
    train = torch.tensor([[0.0], [1.0], [10.0]])  # own nearest distances: 1, 1, 9
    fake = torch.tensor([[0.5], [2.5], [15.0], [25.0], [1.0]])  # at 0.5 < 1, 1.5 ≥ 1, 5 < 9, 15 ≥ 9, and a copy
    assert authenticity(fake, train)["value"] == pytest.approx(40)
    doubled = torch.tensor([[1.0], [1.0], [3.0]])
    assert authenticity(torch.tensor([[1.0]]), doubled)["value"] == 0  # a copy of a duplicate is a copy


# ---- classifier two-sample tests


def test_neighbour_test_at_chance_apart_and_of_copies():
    a, b = normal(300, 5, 1), normal(300, 5, 2)
    same, apart = neighbour_test(a, b, permutations=200), neighbour_test(a + 10, b, permutations=200)
    assert 0.42 < same["value"] < 0.58
    assert same["p"] > 0.01
    assert apart["value"] == 1
    assert apart["p"] == pytest.approx(1 / 201)
    assert neighbour_test(b.clone(), b, permutations=5)["value"] == 0  # every example's copy is on the other side
    collapsed = neighbour_test(b[:1] + 0.01 * normal(300, 5, 3), b, permutations=5)
    assert collapsed["fake"] > 0.95
    assert neighbour_test(a, b[:100])["n"] == 100


def test_neighbour_p_values_are_uniform_under_the_null():
    p = torch.tensor(
        [neighbour_test(normal(40, 2, 2 * s), normal(40, 2, 2 * s + 1), permutations=99)["p"] for s in range(100)]
    )
    assert 0.35 < float(p.mean()) < 0.65
    assert 0 <= float((p <= 0.1).double().mean()) <= 0.2


@pytest.mark.parametrize("hidden", [0, 32])
def test_classifier_test_at_chance_and_apart(hidden):
    found = [
        classifier_test(normal(200, 4, 2 * s), normal(200, 4, 2 * s + 1), hidden=hidden, steps=60, seed=s)
        for s in range(10)
    ]
    assert 0.44 < sum(f["value"] for f in found) / 10 < 0.56
    assert sum(f["p"] < 0.05 for f in found) <= 3
    apart = classifier_test(normal(200, 4, 1, shift=1.0), normal(200, 4, 2), hidden=hidden, steps=100)
    bayes = 0.5 * math.erfc(-1 / math.sqrt(2))  # two unit Gaussians at distance 2: Φ(1)
    assert apart["value"] == pytest.approx(bayes, abs=0.09)
    assert apart["p"] < 1e-6
    assert apart["n"] == 200


def test_only_the_hidden_layer_sees_a_ring():
    angle = torch.rand(600, generator=rng()) * 2 * math.pi
    ring = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    middle = 0.3 * normal(600, 2)
    before = torch.get_rng_state()
    assert classifier_test(ring, middle, hidden=0)["value"] < 0.65
    assert classifier_test(ring, middle, hidden=32)["value"] > 0.97
    assert torch.equal(before, torch.get_rng_state())


# ---- bins


def test_two_proportions_by_hand():
    got = different_bins(torch.tensor([30, 70]), torch.tensor([50, 50]))
    z = (0.3 - 0.5) / math.sqrt(0.4 * 0.6 * (2 / 100))
    torch.testing.assert_close(got["z"], torch.tensor([z, -z], dtype=torch.float64))
    assert got["ndb"] == 2
    assert different_bins(torch.tensor([30, 70]), torch.tensor([50, 50]), alpha=0.001)["ndb"] == 0
    empty = different_bins(torch.tensor([10, 0]), torch.tensor([20, 0]))
    assert (empty["ndb"], empty["jsd"]) == (0, 0)  # a bin that nobody visits does not differ
    assert different_bins(torch.tensor([9, 0]), torch.tensor([0, 9]))["jsd"] == pytest.approx(math.log(2))
    for bad in (torch.zeros(2), torch.ones(3), torch.tensor([-1, 2])):
        with pytest.raises(UserError, match="histograms"):
            different_bins(bad, torch.ones(2))


def test_bins_of_fair_and_of_shifted_samples():
    real = normal(4000, 3, 1)
    fair = [ndb(normal(4000, 3, 10 + s), real, bins=50, halves=4, passes=15) for s in range(4)]
    share = sum(f["value"] for f in fair) / 4
    assert share < 0.12  # α = 0.05 by chance
    assert all(0 <= f["halves"] < 0.12 and f["expected"] == 2.5 for f in fair)
    shifted = ndb(normal(4000, 3, 5, shift=0.4), real, bins=50, passes=15)
    assert shifted["value"] > 0.4
    assert shifted["jsd"] > 5 * fair[0]["jsd"]
    assert ndb(real[:2000], real, bins=50)["z"].shape == (50,)
