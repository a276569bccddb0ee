"""Measures that had their mathematics only: what `evaluate` makes of them, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.statistics import of_sounds
from genzoo.metrics import accuracy, ais, kid_subsets, mig, mmd, modes, parzen, sliced, stacked_modes, statistics
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_distance


def opened(data="digits", kind="image", split="test", **keys):
    return open_data(DataSettings(data, **keys), kind=kind, split=split, quiet=True)


def images_of(data):
    return torch.from_numpy(np.array(data.fields["image"]))


def by_name(records):
    return {r.measure: r for r in records}


# ---- distances of features -------------------------------------------------------------------------------------------------------


def test_subsets_mmd_and_sliced_distances_of_samples_beside_their_floors():
    test, train = opened(limit=120), opened(split="train", limit=120)
    c = Comparison(test=test, train=train, net=extractor("lenet-mnist-v1"), given=images_of(train)[:80].flip(3))
    x, y = c.fake_features, c.real_features
    (r,) = kid_subsets.take(c)
    want = kid_subsets.kid_subsets(x, y, subsets=100, size=r.more["subset"])
    assert (r.measure, r.value, r.se, r.more["sd"]) == ("KID of subsets", want["value"], want["se"], want["sd"])
    assert r.more["subset"] == 40
    (r,) = mmd.take(c)
    sigma = float(torch.pdist(y.double()).median())
    k = [torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * sigma**2)) for a, b in ((x, x), (y, y), (x, y))]
    inner = [(m.sum() - m.trace()) / (len(m) * (len(m) - 1)) for m in k[:2]]
    assert r.value == pytest.approx(float(sum(inner) - 2 * k[2].mean()), rel=1e-3)
    assert "σ" in r.protocol
    assert r.floor < r.value, "mirrored digits are farther away than training digits"
    (r,) = sliced.take(c)
    assert r.value == sliced.sliced_wasserstein(x, y)["value"]
    assert r.floor < r.value


# ---- what a classifier reads -----------------------------------------------------------------------------------------------------


class Copies(System):
    """Draws real images of the class that is asked for.

    Args:
        labels: Classes.
        wrong: How far the class is off.
    """

    def __init__(self, labels: int = 10, wrong: int = 0) -> None:
        super().__init__()
        self.labels, self.wrong = labels, wrong

    def sample(self, n, *, generator, label=None):
        data = opened(split="train")
        own = images_of(data)[torch.from_numpy(data.fields["label"]) == (label + self.wrong) % 10]
        return own[torch.randint(len(own), (n,), generator=generator)].float() / 127.5 - 1


def test_label_accuracy_is_the_share_of_classes_that_are_read_as_asked():
    test, net = opened(limit=100), extractor("lenet-mnist-v1")
    c = Comparison(test=test, net=net, system=Copies(), n=200)
    (r,) = accuracy.take(c)
    drawn, labels = accuracy.draw_classes(c, 20)
    assert labels.bincount().tolist() == [20] * 10
    read = net.classify(drawn).argmax(1)
    assert r.value == pytest.approx(float((read == labels).double().mean()))
    real = net.classify(c.real).argmax(1) == torch.from_numpy(test.fields["label"])
    assert r.floor == pytest.approx(float(real.double().mean()))
    assert (r.n, r.better) == (200, "higher")
    (off,) = accuracy.take(Comparison(test=test, net=net, system=Copies(wrong=3), n=200))
    assert off.value < 0.2 < r.value
    with pytest.raises(UserError, match="the system has 7"):
        accuracy.take(Comparison(test=test, net=net, system=Copies(labels=7), n=70))


def test_stacked_modes_are_triples_that_the_classifier_reads():
    digits, net = images_of(opened(split="train", limit=300)), extractor("lenet-mnist-v1")
    stacked = stacked_modes.stack_digits(digits, 90, generator=torch.Generator().manual_seed(0))
    real = Dataset({"image": stacked[:40].numpy()}, "stacked", "test", "d", DataSettings("x"))
    c = Comparison(test=real, net=net, given=stacked[40:])
    found = by_name(stacked_modes.take(c))
    read = [tuple(int(net.classify(channel[None, None]).argmax()) for channel in image) for image in stacked[40:]]
    assert found["stacked modes"].value == len(set(read))
    p = np.unique(np.array(read), axis=0, return_counts=True)[1] / len(read)
    assert found["KL of stacked modes"].value == pytest.approx(float((p * np.log(p * 1000)).sum()))


# ---- points and likelihoods ------------------------------------------------------------------------------------------------------


class Few(System):
    """Draws three of the eight modes of the ring, and one sample in four between modes."""

    data = "points"

    def __init__(self) -> None:
        super().__init__()

    def sample(self, n, *, generator):
        x = modes.ring_modes()[:3][torch.randint(3, (n,), generator=generator)].float()
        x[: n // 4] = 0
        return x


def test_modes_of_the_ring_are_counted_beside_held_out_points():
    c = Comparison(test=opened("ring", "points", limit=1000), system=Few(), n=400)
    found = by_name(modes.take(c))
    assert {k: r.value for k, r in found.items()} == {
        "modes covered": 3, "high-quality samples": 0.75, "KL of modes": pytest.approx(math.log(8 / 3), abs=0.02)
    }  # fmt: skip
    assert found["modes covered"].floor == 8
    assert found["high-quality samples"].floor == pytest.approx(0.989, abs=0.02)
    with pytest.raises(UserError, match="modes of moons are not known"):
        modes.take(Comparison(test=opened("moons", "points", limit=100), system=Few()))


def test_the_parzen_window_is_the_mean_log_of_a_mean_of_gaussians():
    test, train = opened(size=8, limit=40), opened(split="train", size=8, limit=90)
    c = Comparison(test=test, train=train, given=images_of(train)[:30])
    (r,) = parzen.take(c)
    x, y = (t.double().flatten(1) / 255 for t in (images_of(train)[:30], images_of(test)))
    sigma = r.more["sigma"]
    log_kernel = -torch.cdist(y, x).square() / (2 * sigma**2) - 32 * math.log(2 * math.pi * sigma**2)
    assert r.value == pytest.approx(float((log_kernel.logsumexp(1) - math.log(30)).mean()), rel=1e-6)
    assert "no measure of quality" in r.protocol
    assert r.better == ""
    assert math.isfinite(r.floor)
    assert parzen.take(Comparison(test=test, train=train, given=images_of(train)[:30], floors=False))[0].floor is None


def test_annealing_agrees_with_the_integral_over_a_plane_of_latents(monkeypatch):
    monkeypatch.setattr(ais, "STEPS", 60)
    data = opened(size=8, binarize="threshold", limit=50)
    torch.manual_seed(0)
    vae = genzoo.create("vae", shape=(1, 8, 8), levels=2, latent=2, hidden=8, depth=1)
    for p in vae.decoder.parameters():
        p.data.mul_(2)  # so that the posterior is not the prior
    c = Comparison(test=data, system=vae, n_scored=4)
    with torch.no_grad():  # as `evaluate` calls it
        found = by_name(ais.take(c))
    x = to_float(Batches(data, 4, 0).in_order(0), torch.device("cpu"))["image"]
    line = torch.linspace(-6, 6, 121)
    z = torch.cartesian_prod(line, line)
    with torch.no_grad():
        out = vae.decoder(z)
        joint = [
            -F.binary_cross_entropy_with_logits(out, ((e + 1) / 2).expand_as(out), reduction="none").flatten(1).sum(1)
            - z.square().sum(1) / 2 - math.log(2 * math.pi)
            for e in x
        ]  # fmt: skip
    exact = torch.stack([j.double().logsumexp(0) + 2 * math.log(0.1) for j in joint])
    assert found["NLL annealed"].value == pytest.approx(-float(exact.mean()), abs=0.15)
    assert 0 <= found["gap of annealing"].value + 0.05 < 0.5
    assert all(p.requires_grad for p in vae.decoder.parameters())


# ---- codes and sounds ------------------------------------------------------------------------------------------------------------


class Knows(System):
    """Codes that are the class of an image and noise.

    Args:
        both: Whether two codes know the class.
    """

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.both = both
        data = opened(limit=200)
        self.known = {x.tobytes(): int(y) for x, y in zip(data.fields["image"], data.fields["label"], strict=True)}

    def encode(self, x):
        label = torch.tensor([float(self.known[v.numpy().tobytes()]) for v in ((x + 1) * 127.5).round().byte()])
        other = label if self.both else torch.zeros(len(x))
        return torch.stack([label, other, torch.zeros(len(x))], 1)


def test_the_gap_is_one_where_one_code_knows_the_class_and_none_where_two_do():
    data = opened(limit=200)
    (r,) = mig.take(Comparison(test=data, system=Knows()))
    assert r.value == pytest.approx(1)
    assert r.more["factors"] == ["class"]
    (r,) = mig.take(Comparison(test=data, system=Knows(both=True)))
    assert r.value == pytest.approx(0, abs=1e-12)
    with pytest.raises(UserError, match="no factors are known"):
        mig.factors_of(Dataset({"image": np.zeros((3, 1, 8, 8), np.uint8)}, "plain", "test", "d", DataSettings("x")))


def test_captions_of_one_form_are_factors():
    rows, factors, names = mig.factors_of(opened("shapes", "captioned"))
    texts = opened("shapes", "captioned").texts
    assert names == [n for n in names if "/" in n]
    assert factors.shape == (len(rows), 3), "size, colour, kind"
    assert all(len(texts[i][0].split()) == 4 for i in rows.tolist())
    colours = {texts[i][0].split()[2] for i in rows.tolist()}
    assert int(factors[:, 1].max()) + 1 == len(colours)


class Tones(System):
    """Draws tones of a random pitch.

    Args:
        rate: Samples per second.
        length: Samples of a sound.
    """

    data = "audio"

    def __init__(self, rate: int = 4000, length: int = 800) -> None:
        super().__init__()
        self.rate, self.length = rate, length

    def sample(self, n, *, generator):
        pitch = 200 + 1000 * torch.rand(n, 1, 1, generator=generator)
        return (torch.arange(self.length) / self.rate * 2 * math.pi * pitch).sin() / 2


def test_sounds_are_measured_by_their_of_sounds():
    system = Tones()
    sounds = [(32767 * system.sample(40, generator=torch.Generator().manual_seed(s))).round().short() for s in (1, 2)]
    test, train = (
        Dataset({"audio": x.numpy()}, "tones", split, f"d{i}", DataSettings("x"), rate=4000)
        for i, (x, split) in enumerate(zip(sounds, ("test", "train"), strict=True))
    )
    (r,) = statistics.take(Comparison(test=test, train=train, system=system, n=40, seed=5))
    fake = draw(system, 40, 5)
    real = to_float({"audio": sounds[0]}, torch.device("cpu"))["audio"]
    want = frechet_distance(*(of_sounds(x, rate=4000) for x in (fake, real)))
    assert r.measure == "Fréchet distance of log-mel statistics"
    assert r.value == pytest.approx(want, rel=1e-6), "its samples are those of the seed"
    assert r.floor > 0
