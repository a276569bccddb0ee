"""Records of distances and likelihoods carry their protocol, count every example once, and are repeatable."""

import math

import numpy as np
import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_distance, image_report
from genzoo.metrics.nll import evaluate_density
from genzoo.metrics.real import real_features, rows_of


def images(n, seed=0, side=28):
    return np.random.default_rng(seed).integers(0, 256, (n, 1, side, side), dtype=np.uint8)


def dataset(n=60, split="test", seed=0, side=28, **settings):
    return Dataset(
        {"image": images(n, seed, side)}, "toy", split, f"digest-{n}-{seed}", DataSettings("toy", **settings)
    )


class Uniform(System):
    """Every grey level is equally likely.

    Args:
        shape: Shape of an image.
        noise: Spread of the estimate.
    """

    likelihood = "exact"

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), noise: float = 0.0) -> None:
        super().__init__()
        self.dims, self.noise = math.prod(shape), noise
        self.batches = []

    def log_prob(self, x, *, generator=None):
        assert not self.training
        self.batches.append(len(x))
        value = torch.full((len(x),), -self.dims * math.log(256))
        return value + self.noise * torch.randn(len(x), generator=generator) + x.flatten(1).mean(1) * 0.0


class Silent(System):
    """Gives nothing."""

    def __init__(self) -> None:
        super().__init__()


class FirstPixel(System):
    """log p is the grey level of the first pixel: shows which images are scored.

    Args:
        bad: Level that scores NaN, -1 for none.
    """

    likelihood = "lower bound"

    def __init__(self, bad: int = -1) -> None:
        super().__init__()
        self.bad = bad

    def log_prob(self, x, *, generator=None):
        level = ((x[:, 0, 0, 0] + 1) * 127.5).round()
        return torch.where(level == self.bad, float("nan"), level)


def test_uniform_model_has_eight_bits():
    got = evaluate_density(Uniform(), dataset(), batch=7)
    assert got["bits_per_dim"] == pytest.approx(8, rel=1e-6)
    assert got["nll"] == pytest.approx(784 * math.log(256), rel=1e-6)
    assert got["se"] == pytest.approx(0, abs=1e-3)
    assert got["dims"] == 784
    assert "256 grey levels, 1x28x28" in got["protocol"]


def test_every_example_once_with_the_last_partial_batch():
    """A mean over examples, not over batches; nothing is dropped, and nothing is counted twice."""
    system, data = FirstPixel(), dataset(61)
    system.train()
    got = evaluate_density(system, data, batch=10)
    first = data.fields["image"][:, 0, 0, 0].astype(float)
    assert got["n"] == 61
    assert got["nats"] == pytest.approx(first.mean(), abs=1e-3)
    assert got["se"] == pytest.approx(first.std(ddof=1) / math.sqrt(61), rel=1e-5)
    assert system.training
    assert evaluate_density(system, data, batch=10, n=33)["nats"] == pytest.approx(first[:33].mean(), abs=1e-3)
    for part in ("lower bound", "61", "toy test", "every one once", "no augmentation", "seed 0"):
        assert part in got["protocol"]


def test_noise_of_an_estimate_is_seeded():
    a, b, c = (evaluate_density(Uniform(noise=1.0), dataset(), seed=s)["nats"] for s in (3, 3, 4))
    assert a == b
    assert a != c


def test_crops_are_scored_in_the_middle():
    data = dataset(20, side=28, crop=8)
    got = evaluate_density(FirstPixel(), data)
    assert got["nats"] == pytest.approx(data.fields["image"][:, 0, 10, 10].mean(), abs=1e-3)
    assert got["dims"] == 64


def test_points_have_no_bits():
    class Normal(System):
        """Standard normal."""

        likelihood = "exact"

        def __init__(self) -> None:
            super().__init__()

        def log_prob(self, x, *, generator=None):
            return -0.5 * x.square().sum(1) - math.log(2 * math.pi)

    points = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    got = evaluate_density(Normal(), Dataset({"points": points}, "cloud", "test", "d", DataSettings("moons")))
    assert "bits_per_dim" not in got
    assert got["nll"] == pytest.approx(1 + math.log(2 * math.pi), abs=4 * got["se"])


def test_refusals_say_why():
    with pytest.raises(UserError, match="no likelihood"):
        evaluate_density(Silent(), dataset())
    level = int(dataset().fields["image"][5, 0, 0, 0])
    with pytest.raises(UserError, match="not finite"):
        evaluate_density(FirstPixel(bad=level), dataset())
    with pytest.raises(UserError, match="a, b"):
        evaluate_density(
            FirstPixel(), Dataset({"a": images(3), "b": images(3)}, "pairs", "test", "d", DataSettings("x"))
        )


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    return tmp_path


def test_image_report_is_the_distance_with_its_protocol(cache):
    net, test, train = extractor("lenet-mnist-v1"), dataset(80), dataset(100, "train", seed=1)
    samples = torch.from_numpy(images(40, seed=2))
    got = image_report(samples, test, net, train=train, seed=5)
    assert got["value"] == pytest.approx(frechet_distance(net(samples), net(test.fields["image"])), rel=1e-9)
    rows = rows_of(train, 40, 5)
    assert got["floor"] == pytest.approx(
        frechet_distance(net(train.fields["image"][rows]), net(test.fields["image"])), rel=1e-6
    )
    assert (got["n_fake"], got["n_real"], got["n_floor"], got["split"], got["measure"]) == (40, 80, 40, "test", "FLD")
    for part in ("40 samples", "80 images of toy test", net.digest[:12], "round((x + 1)", "28x28", "seed 5"):
        assert part in got["protocol"]
    for key in ("extractor", "digest", "resize", "quantization", "seed", "library", "seconds", "data"):
        assert got[key] not in (None, "")
    floats = samples.float() / 127.5 - 1
    assert image_report(floats, test, net)["value"] == pytest.approx(got["value"], rel=1e-9)
    assert image_report(floats, test, net)["floor"] is None


def test_rows_are_chosen_by_seed_and_kept_sorted():
    data = dataset(50)
    assert rows_of(data, None, 0).tolist() == rows_of(data, 99, 0).tolist() == list(range(50))
    a, b = rows_of(data, 20, 0), rows_of(data, 20, 1)
    assert len(set(a.tolist())) == 20
    assert a.tolist() == sorted(a.tolist())
    assert a.tolist() != b.tolist()
    assert a.tolist() == rows_of(data, 20, 0).tolist()


def test_real_features_are_computed_once_and_of_the_middle_of_crops(cache):
    net, data = extractor("lenet-mnist-v1"), dataset(12, side=40, crop=28)
    got = real_features(data, net)
    torch.testing.assert_close(got, net(data.fields["image"][:, :, 6:34, 6:34]))
    assert len(list((cache / "features").iterdir())) == 1
    torch.testing.assert_close(real_features(data, net), got, rtol=0, atol=0)
    with pytest.raises(UserError, match="dynamic"):
        real_features(dataset(5, binarize="dynamic"), net)
    with pytest.raises(UserError, match="no plain images"):
        real_features(Dataset({"points": np.zeros((3, 2), np.float32)}, "p", "test", "d", DataSettings("x")), net)
