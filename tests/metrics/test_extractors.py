"""Extractors: the bundled classifiers read digits, resizing is the stated one, and features are kept by content."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import DamagedFile, UserError
from genzoo.metrics.features import lenet, networks
from genzoo.metrics.features.extractors import Extractor, cached_features, module_extractor
from genzoo.metrics.features.lenet import LeNet, bundled, classify, load_lenet, to_lenet_input
from genzoo.metrics.features.networks import available, default_extractor, extractor
from genzoo.metrics.features.resizers import RESIZERS, tf1_bilinear
from genzoo.metrics.frechet import frechet_distance


def uint8(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_bundled_weights_are_small_and_say_what_they_are():
    assert set(bundled()) == {"lenet-mnist-v1", "lenet-fashion-v1"}
    assert sum(p.stat().st_size for p in bundled().values()) < 1_000_000
    for name in bundled():
        net, card = load_lenet(name)
        assert card["name"] == name
        assert len(card["digest"]) == 64
        assert card["accuracy"]["test 10000"] > (0.985 if "mnist-v1" in name else 0.89)
        assert "first 50000" in card["fitted_on"]
        assert not net.training
    assert sum(p.numel() for p in LeNet().parameters()) == 215_370


def drawn_one_and_zero():
    one, zero = torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, 28, 28, dtype=torch.uint8)
    one[:, 5:23, 13:16] = 255
    y, x = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    radius = (y.square() / 81 + x.square() / 36).sqrt()
    zero[:, (radius > 0.75) & (radius < 1.1)] = 255
    return torch.stack([one, zero])


def test_the_digit_classifier_reads_drawn_digits():
    digits = drawn_one_and_zero()
    assert classify("lenet-mnist-v1", digits).argmax(1).tolist() == [1, 0]
    colour = digits.expand(2, 3, 28, 28)
    assert classify("lenet-mnist-v1", colour).argmax(1).tolist() == [1, 0]
    big = torch.nn.functional.interpolate(digits.float(), 56, mode="nearest").byte()
    assert classify("lenet-mnist-v1", big).argmax(1).tolist() == [1, 0]


def test_lenet_input():
    x = uint8(2, 1, 28, 28)
    torch.testing.assert_close(to_lenet_input(x), x.float() / 127.5 - 1)
    gray = x.expand(2, 3, 28, 28)
    torch.testing.assert_close(to_lenet_input(gray), x.float() / 127.5 - 1, rtol=0, atol=1e-5)
    red = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    red[:, 0] = 255
    torch.testing.assert_close(to_lenet_input(red), torch.full((1, 1, 28, 28), 0.299 * 2 - 1))
    flat = torch.full((1, 1, 40, 20), 77, dtype=torch.uint8)
    torch.testing.assert_close(to_lenet_input(flat), torch.full((1, 1, 28, 28), 77 / 127.5 - 1))


def test_extractor_is_deterministic_and_independent_of_batching():
    net = extractor("lenet-mnist-v1")
    x = uint8(30, 1, 28, 28)
    whole = net(x)
    assert whole.shape == (30, 128)
    assert whole.dtype == torch.float32
    parts = torch.cat([net(x[:7]), net(x[7:].numpy())])
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert net.card == {"name": "lenet-mnist-v1", "digest": net.digest, "resize": net.resize}
    assert net.measure == "FLD"


def test_more_noise_is_farther():
    base = drawn_one_and_zero().repeat(100, 1, 1, 1)
    g = torch.Generator().manual_seed(0)
    shifted = torch.stack(
        [
            x.roll((int(torch.randint(-3, 4, (), generator=g)), int(torch.randint(-3, 4, (), generator=g))), (1, 2))
            for x in base
        ]
    )
    net = extractor("lenet-mnist-v1")
    real = net(shifted[:100])
    distances = []
    for sd in (0, 15, 40, 90):
        noisy = shifted[100:].float() + sd * torch.randn(100, 1, 28, 28, generator=g)
        distances.append(frechet_distance(net(noisy.round().clamp(0, 255).byte()), real))
    assert distances == sorted(distances)
    assert distances[-1] > 4 * distances[0]


def test_refuses_what_are_not_grey_levels():
    with pytest.raises(ValueError, match="uint8"):
        extractor("lenet-mnist-v1")(torch.zeros(2, 1, 28, 28))


def test_unknown_and_missing_extractors_say_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="did you mean 'lenet-mnist-v1'"):
        extractor("lenet-mnist")
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"GENZOO_WEIGHTS.*lenet-mnist-v1"):
        extractor("inception")
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    assert available() == {
        "lenet-fashion-v1": True,
        "lenet-mnist-v1": True,
        "inception": False,
        "inception-clean": False,
        "inception-pytorch": False,
        "efficientnet-lite0": False,
        "vgg16": False,
        "random": True,
    }
    with pytest.raises(UserError, match=r"inception-fid.pt"):
        default_extractor("cifar10", (3, 32, 32))
    with pytest.raises(UserError, match=r"efficientnet-lite0.safetensors"):
        extractor("efficientnet-lite0")
    with pytest.raises(UserError, match="no such file"):
        extractor(str(tmp_path / "none.pt"))
    (tmp_path / "inception-fid.pt").write_bytes(b"not a network")
    found = hashlib.sha256(b"not a network").hexdigest()
    for name in ("inception", str(tmp_path / "inception-fid.pt")):
        with pytest.raises(UserError, match=rf"digest {found[:12]}….*7ff4a85c3a63… inception"):
            extractor(name)
    monkeypatch.setitem(networks.KNOWN, found, "inception")
    with pytest.raises(UserError, match="not a TorchScript"):
        extractor("inception")
    assert default_extractor("fashion-mnist", (1, 28, 28)).name == "lenet-fashion-v1"
    assert default_extractor("digits", (1, 32, 32)).name == "lenet-mnist-v1"


def test_inception_file_is_used_as_stated(monkeypatch, tmp_path):
    class Stub(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

    class Network:
        """In the place of Inception: shows what it is given."""

        def __init__(self, published: dict[str, torch.Tensor]) -> None:
            self.scale = published["scale"]

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1:] == (3, 299, 299)
            return self.scale * x.mean(3)[:, 0].repeat(1, 7)[:, :2048]

    monkeypatch.setattr(networks, "Inception", Network)
    with pytest.warns(DeprecationWarning, match="torch.jit"):  # torch's advice against the published format
        torch.jit.script(Stub()).save(str(tmp_path / "inception-fid.pt"))
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    digest = hashlib.sha256((tmp_path / "inception-fid.pt").read_bytes()).hexdigest()
    monkeypatch.setitem(networks.KNOWN, digest, "inception")
    net = extractor("inception")
    assert net.measure == "FID"
    assert net.digest == digest
    assert extractor(str(tmp_path / "inception-fid.pt")).digest == digest
    x = torch.full((2, 1, 10, 10), 64, dtype=torch.uint8)
    torch.testing.assert_close(net(x), torch.full((2, 2048), -1.0))
    assert not net(x).is_inference(), "anybody may go on with features"


def test_tf1_bilinear_has_no_half_pixel_centres():
    # TensorFlow 1: resize_bilinear of [0, 1, 2, 3] to 8 is 0, .5, 1, 1.5, 2, 2.5, 3, 3 (the last pixel is repeated).
    line = torch.arange(4, dtype=torch.uint8).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    got = tf1_bilinear(line, 8)[0, 0]
    torch.testing.assert_close(got, torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]).expand(8, 8))
    torch.testing.assert_close(tf1_bilinear(line.transpose(2, 3), 8)[0, 0], got.T)
    # Shrinking takes single pixels, without antialiasing.
    torch.testing.assert_close(
        tf1_bilinear(torch.arange(8).view(1, 1, 1, 8).expand(1, 1, 8, 8), 2)[0, 0, 0], torch.tensor([0.0, 4.0])
    )


def counting(name="n", digest="d"):
    calls = []

    def features(x):
        calls.append(len(x))
        return x.float().flatten(1)[:, :3].clone()

    return Extractor(name, digest, 3, "FLD", "none", features), calls


def test_features_are_kept_by_content_rows_and_network(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    images = uint8(20, 1, 4, 4).numpy()
    net, calls = counting()
    rows = np.arange(0, 20, 2)
    first = cached_features(images, rows, "content", net)
    torch.testing.assert_close(first, torch.from_numpy(images[rows].reshape(10, 16)[:, :3].astype(np.float32)))
    torch.testing.assert_close(cached_features(images, rows, "content", net), first)
    assert len(calls) == 1
    cached_features(images, rows + 1, "content", net)
    cached_features(images, rows, "other content", net)
    other, other_calls = counting(digest="e")
    cached_features(images, rows, "content", other)
    assert (len(calls), len(other_calls)) == (3, 1)
    for f in (tmp_path / "features").iterdir():
        f.write_bytes(f.read_bytes()[:50])
    torch.testing.assert_close(cached_features(images, rows, "content", net), first)
    assert len(calls) == 4


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    whole = bundled()["lenet-mnist-v1"].read_bytes()
    (tmp_path / "lenet-mnist-v1.safetensors").write_bytes(whole[:1000])
    monkeypatch.setattr(lenet, "WEIGHTS", tmp_path)
    load_lenet.cache_clear()
    try:
        with pytest.raises(DamagedFile, match="install genzoo again"):
            load_lenet("lenet-mnist-v1")
    finally:
        load_lenet.cache_clear()


# ---- networks of one's own, random ones, broken ones -----------------------------------------------------------------------------


def flat(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())


def test_any_module_is_an_extractor_with_the_digest_of_its_state():
    a, again, other = (module_extractor(flat(seed), name="mine", side=16) for seed in (0, 0, 1))
    assert a.digest == again.digest != other.digest
    assert (a.dims, a.measure) == (16, "FD-mine")
    assert "antialiased bilinear to 16x16" in a.resize
    x = uint8(3, 3, 16, 16)
    torch.testing.assert_close(a(x), flat()(x.float() / 127.5 - 1).detach())
    assert a(uint8(2, 3, 40, 30)).shape == (2, 16)
    with pytest.raises(UserError, match="did you mean 'bicubic'"):
        module_extractor(flat(), name="mine", resize="bicubics")
    with pytest.raises(UserError, match=r"gives \(2, 4, 14, 14\)"):
        module_extractor(torch.nn.Conv2d(3, 4, 3), name="maps", side=16)


def test_random_features_say_that_they_are_no_measure():
    net = extractor("random")
    assert net.sanity
    assert "sanity only" in net.measure
    x = uint8(4, 3, 20, 20)
    torch.testing.assert_close(net(x), extractor("random")(x))
    assert net(uint8(2, 1, 9, 7)).shape == (2, 64)
    networks_digest = net.digest
    torch.manual_seed(99)
    assert networks._random().digest == networks_digest, "the weights do not depend on torch's generator"


def test_features_that_are_no_numbers_are_named():
    def broken(x):
        out = torch.ones(len(x), 3)
        out[x.flatten(1)[:, 0] == 7] = float("nan")
        return out

    net = Extractor("b", "d", 3, "FLD", "none", broken, batch=2)
    x = torch.zeros(5, 1, 4, 4, dtype=torch.uint8)
    assert net(x).shape == (5, 3)
    x[3, 0, 0, 0] = 7
    with pytest.raises(UserError, match="features of image 3 are not finite"):
        net(x)
    with pytest.raises(UserError, match=r"it has to be \[N, 2\]"):
        Extractor("w", "d", 2, "FLD", "none", broken)(x[:2])


def test_resizers_are_what_their_names_say():
    x = uint8(2, 3, 12, 12)
    for name, (function, words) in RESIZERS.items():
        same = function(x, 12)
        assert same.shape == (2, 3, 12, 12), name
        assert words
        torch.testing.assert_close(same, x.float(), atol=1e-3, rtol=0)
        flat_gray = torch.full((1, 1, 8, 8), 77, dtype=torch.uint8)
        torch.testing.assert_close(function(flat_gray, 20), torch.full((1, 1, 20, 20), 77.0), atol=1e-3, rtol=0)
    gap = (RESIZERS["tf1-bilinear"][0](x, 31) - RESIZERS["bilinear"][0](x, 31)).abs().mean()
    assert gap > 5, "the half-pixel shift is worth many grey levels"
    with Image.fromarray(x[0, 0].float().numpy()) as image:
        expected = np.asarray(image.resize((31, 31), Image.Resampling.BICUBIC)).clip(0, 255)
    np.testing.assert_array_equal(RESIZERS["pillow-bicubic"][0](x, 31)[0, 0].numpy(), expected)
