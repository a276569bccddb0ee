"""The figures of papers: a capability, a command and a function, on a tiny run of each system that has some."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.naming import registry

DRAWN = {
    "vae-2d": {"manifold": (400, 20)},
    "infogan": {"categories": (30, 10), "code-1": (30, 10), "code-2": (30, 10)},
    "progan": {"levels": (30, 10)},
    "stylegan": {"mixing-coarse": (54, 9), "mixing-fine": (54, 9)},
    "stylegan2": {"mixing-coarse": (54, 9), "mixing-fine": (54, 9)},
}
"""System -> figure -> images, and images in a row."""


def tiny(name):
    cls = registry.system_class(name)
    keys = {**cls.tiny, **({"latent": 2} if name == "vae-2d" else {}), "shape": (1, 16, 16)}
    keys |= {"latent": 2} if name.startswith("vae") else {}
    torch.manual_seed(0)
    return genzoo.create(name, **keys)


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_whole_tables_and_follow_the_seed(name):
    system = tiny(name)
    if hasattr(system, "progress"):
        system.progress.fill_(1.0)  # fully grown
    assert "figures" in capabilities(system)
    found = genzoo.figures(system, seed=3)
    assert {k: (len(f.images), f.columns) for k, f in found.items()} == DRAWN[name]
    for k, f in found.items():
        assert f.images.shape[1:] == (1, 16, 16)
        assert f.images.min() >= -1
        assert f.images.max() <= 1
        assert f.caption
        assert torch.equal(genzoo.figures(system, seed=3)[k].images, f.images)
    if name != "vae-2d":  # which draws nothing
        other = genzoo.figures(system, seed=4)
        assert all(not torch.equal(other[k].images, f.images) for k, f in found.items())


def test_every_system_that_draws_figures_is_tested_here():
    able = {e.name for e in registry.entries().values() if "figures" in e.abilities}
    assert able == {registry.find(name)[0].name for name in DRAWN}


def test_the_command_writes_each_figure_and_says_what_it_shows(tmp_path, capsys):
    run = genzoo.train(
        "infogan", "digits", size=16, width=4, steps=1, batch=8, limit=40, runs=str(tmp_path), quiet=True
    )
    assert main(["figures", str(run.path), "steps=4", "seed=1"]) == 0
    told = capsys.readouterr().out
    assert "Continuous code 1 from -2 to 2 along a row" in told
    names = sorted(p.name for p in (run.path / "outputs").iterdir())
    assert names == ["categories.png", "code-1.png", "code-2.png"]
    with Image.open(run.path / "outputs" / "code-1.png") as picture:
        width, height = picture.size
        assert np.ptp(np.asarray(picture)) > 0
    assert height > 2 * width, "ten rows of four"
    assert main(["figures", str(run.path), "steps=4", f"out={tmp_path / 'paper'}"]) == 0
    assert (tmp_path / "paper" / "categories.png").exists()
    assert main(["figures", str(run.path), "stepps=4"]) == 2
    assert "did you mean 'steps'" in capsys.readouterr().err


def test_a_system_without_figures_says_so():
    with pytest.raises(UserError, match="figures"):
        genzoo.figures(genzoo.create("dcgan", shape=(1, 16, 16)))
    vae = genzoo.create("vae", shape=(1, 8, 8), hidden=8, latent=3)
    assert "figures" not in capabilities(vae)
    with pytest.raises(UserError, match="needs latent=2, not 3; train the preset vae-2d"):
        genzoo.figures(vae)


def test_progan_shows_the_levels_that_it_has_reached():
    system = tiny("progan")
    system.progress.fill_(0.0)
    (early,) = genzoo.figures(system).values()
    assert len(early.images) == 10
    assert early.caption.startswith("The same noise at 4x4 pixels")
    blocks = early.images.unflatten(2, (4, 4)).unflatten(4, (4, 4))
    assert torch.equal(blocks.amax((3, 5)), blocks.amin((3, 5))), "4x4 pixels, enlarged"
