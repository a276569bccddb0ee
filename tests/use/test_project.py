"""Projection: a linear decoder's answer is least squares, what was generated comes back, and conditions stay what they are."""

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo.cli.main import main
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.naming import registry
from genzoo.use.project import _with_gradients


class Straight(System):
    """Decodes by a matrix, with a class whose brightness it adds."""

    conditions = 2

    def __init__(self, shape: tuple[int, int, int] = (1, 4, 4)) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.net = nn.Parameter(0.3 * torch.randn(3, 16, generator=g))
        self.shape = shape

    def sample_prior(self, n, *, generator):
        label = torch.randint(2, (n,), generator=generator)
        return torch.cat([torch.randn(n, 3, generator=generator), nn.functional.one_hot(label, 2).float()], 1)

    @torch.no_grad()
    def decode(self, z):
        return (z[:, :3] @ self.net + 0.5 * z[:, 4:]).view(-1, *self.shape)


def images(n=5, seed=1):
    return 0.5 * torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def test_the_nearest_image_of_a_linear_decoder_is_found():
    system, x = Straight(), images()
    found = genzoo.project(system, x, steps=400)
    label = found.latents[:, 3:]
    assert set(map(tuple, label.tolist())) <= {(1.0, 0.0), (0.0, 1.0)}, "a class stays a class"
    target = (x.flatten(1) - 0.5 * label[:, 1:]).double()
    best = torch.linalg.lstsq(system.net.detach().T.double(), target.T).solution.T
    assert torch.allclose(found.latents[:, :3].double(), best, atol=2e-3)
    assert torch.allclose(found.images, system.decode(found.latents))
    assert torch.allclose(found.loss, (found.images - x).square().flatten(1).mean(1))
    assert found.way.shape[:2] == (5, 59), "the start, every seventh step, and the end"
    assert torch.equal(found.way[:, -1], found.images)
    assert system.net.grad is None, "the model is not touched"


def test_each_image_is_projected_alone_and_by_its_seed():
    system, x = Straight(), images(20)
    all_of_them = genzoo.project(system, x, steps=60)
    assert torch.equal(all_of_them.latents, genzoo.project(system, x, steps=60).latents)
    assert torch.allclose(all_of_them.loss[:3], genzoo.project(system, x[:3], steps=200).loss, atol=0.02)


def test_what_was_generated_comes_back(runs):
    system = genzoo.load(runs("vae"))
    x = genzoo.sample(system, n=4, seed=3)
    found = genzoo.project(system, x, steps=300, starts=64)
    first = (found.way[:, 0] - x).square().flatten(1).mean(1)
    assert (found.loss < 0.02 * first + 1e-6).all(), (found.loss, first)


def test_every_decoder_has_gradients_or_an_exact_encoder():
    said = []
    for name in registry.entries():
        cls = registry.system_class(name)
        if "decodes" not in capabilities(cls):
            continue
        torch.manual_seed(0)
        system = cls(**cls.tiny).eval()
        z = system.sample_prior(2, generator=torch.Generator().manual_seed(0))
        z.requires_grad_()
        y = _with_gradients(system)(z)
        assert torch.equal(y.detach(), system.decode(z)), name
        (slope,) = torch.autograd.grad(y.square().sum(), z)
        if not slope.any():
            found = genzoo.project(system, y.detach(), steps=2, starts=2)
            assert torch.allclose(found.images, y.detach(), atol=1e-6), f"{name}: its encoder gives the latents"
            said.append(name)
    assert said == ["elementwise-flow", "glow", "linear-flow", "nice", "realnvp"]


def test_the_command_writes_pictures_the_way_and_the_latents(runs, tmp_path, capsys):
    run = str(runs("dcgan").path)
    from PIL import Image

    Image.new("L", (40, 30), 200).save(tmp_path / "a.png")
    Image.new("L", (40, 30), 20).save(tmp_path / "b.png")
    asked = ["project", run, str(tmp_path / "a.png"), str(tmp_path / "b.png"), "steps=5", "starts=8"]
    assert main([*asked, f"out={tmp_path / 'p.npz'}"]) == 0
    with np.load(tmp_path / "p.npz") as f:
        assert f["latents"].shape[0] == f["images"].shape[0] == f["given"].shape[0] == len(f["loss"]) == 2
        shown = genzoo.load(run).decode(torch.from_numpy(f["latents"]))
        assert np.allclose(shown.numpy(), f["images"], atol=1e-5)
    assert "the nearest of 8 draws had" in capsys.readouterr().out
    assert main([*asked, f"out={tmp_path / 'p.gif'}"]) == 0
    with Image.open(tmp_path / "p.gif") as film:
        assert film.n_frames >= 2
    assert main(["project", run, "n=2", "steps=2", f"out={tmp_path / 'p.png'}"]) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": torch.zeros(1, 1, 5, 4)}, r"shape \[1, 1, 5, 4\] is not possible"),
        ({"images": torch.zeros(0, 1, 4, 4)}, "no images were given"),
        ({"images": "photo.png"}, "a tensor or an array"),
        ({"steps": 0}, "steps=0 is not allowed"),
        ({"loss": "vgg16"}, "vgg16.safetensors"),
    ],
)
def test_what_is_impossible_is_said(keys, message, monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=message):
        genzoo.project(Straight(), **{"images": images(), "steps": 3, **keys})
    with pytest.raises(UserError, match="cannot decode"):
        genzoo.project(genzoo.create("pixelcnn", **registry.system_class("pixelcnn").tiny), images())
