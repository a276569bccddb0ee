"""The public API: five lines of Python from a name to samples, and every verb by capability."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
import genzoo.core.system
from genzoo import UserError
from genzoo.api import read_config, sort_keys
from genzoo.core.capabilities import capabilities
from genzoo.data import kinds
from genzoo.naming import registry
from genzoo.saved import loading
from genzoo.use.common import outputs
from genzoo.use.common.source import CHUNK, own_options
from genzoo.use.complete import box_mask
from genzoo.use.reconstruct import side_by_side
from genzoo.use.translate import fitting_size
from genzoo.use.walk import between, frames
from tests.conftest import build


def first_with(*needed):
    """A system that can do all of this, whichever it is."""
    for name in registry.entries():
        cls = registry.system_class(name)
        if set(needed) <= set(capabilities(cls)):
            return name
    raise AssertionError(f"no system {needed}")


def without(capability):
    return next(n for n in registry.entries() if capability not in capabilities(registry.system_class(n)))


def test_five_lines(tmp_path):
    run = genzoo.train("gaussian", "digits", size=8, limit=50, runs=str(tmp_path), quiet=True)
    system = genzoo.load(run.path)
    x = genzoo.sample(system, n=5, seed=1)
    assert x.shape == (5, 1, 8, 8)
    assert run.path == tmp_path / "gaussian"
    assert torch.equal(x, genzoo.sample(run, n=5, seed=1))
    assert torch.equal(x, genzoo.sample(str(run.path), n=5, seed=1))
    assert not torch.equal(x, genzoo.sample(run, n=5, seed=2))


def test_list_and_create():
    entries = genzoo.list_systems()
    assert [e.name for e in entries] == list(registry.entries())
    assert all(e.family == "flows" for e in genzoo.list_systems("flows"))
    with pytest.raises(UserError, match="did you mean 'flows'"):
        genzoo.list_systems("flow")
    assert genzoo.create("gaussian", shape=(1, 4, 4)).name == "gaussian"
    with pytest.raises(UserError, match="did you mean 'gaussian'"):
        genzoo.create("gausian")


def test_keys_are_sorted_by_whose_signature_has_them():
    own, data, training = sort_keys("gaussian", {"data": "digits", "size": "8", "steps": "7", "shape": "1,8,8"})
    assert own == {"shape": (1, 8, 8)}
    assert (data["data"], data["size"], training["steps"]) == ("digits", 8, 7)
    with pytest.raises(UserError, match=r"no setting 'stesp' — did you mean 'steps'\?"):
        sort_keys("gaussian", {"stesp": 3})
    with pytest.raises(UserError, match="holdout=2 is not allowed; give number, at least 0, less than 1"):
        sort_keys("gaussian", {"data": "digits", "holdout": 2})


def test_config_files(tmp_path):
    flat = tmp_path / "mine.toml"
    flat.write_text('size = 8\nname = "one"\nlimit = 40\n')
    run = genzoo.train("gaussian", "digits", config=flat, limit=30, runs=str(tmp_path), quiet=True)
    assert run.path.name == "one"
    assert len(genzoo.load(run.path).trained["class_names"]) == 10
    again = read_config(run.path / "config.toml")
    assert again["limit"] == 30, "what is given beside the file wins"
    assert not {"name", "shape", "levels"} & set(again), "what belonged to that run or to its data is left out"
    second = genzoo.train("gaussian", config=run.path / "config.toml", quiet=True)
    assert second.path == tmp_path / "gaussian"
    flat.write_text("size = = 3")
    with pytest.raises(UserError, match=r"mine\.toml is not TOML"):
        read_config(flat)
    with pytest.raises(UserError, match=r"no such file — did you mean 'mine\.toml'"):
        read_config(tmp_path / "mien.toml")


def test_a_config_of_an_earlier_version_trains_what_it_was(tmp_path):
    """StyleGAN2 was StyleGAN with style = "modulated" in version 0.1, where its run may be called by either name."""
    old = tmp_path / "old.toml"
    table = '\n[system]\nstyle = "modulated"\ngrow = 0.0\nada = false\nlatent = 4\nwidth = 4\nmost = 8\n[data]\ndata = "digits"\nlimit = 32\n'
    small = {"steps": 1, "batch": 4, "runs": str(tmp_path), "quiet": True}
    for name in ("stylegan", "stylegan2"):
        old.write_text(f'name = "{name}"\n{table}')
        hparams = genzoo.load(genzoo.train("stylegan2", config=old, **small).path).hparams
        assert (hparams["latent"], hparams["class_depth"]) == (4, 0), "what it did without an argument, it does still"
    old.write_text(f'name = "stylegan"\n{table}')
    with pytest.raises(
        UserError, match=r"is of what is called stylegan2 now: genzoo train stylegan2 config=.*old\.toml"
    ):
        genzoo.train("stylegan", config=old, **small)
    old.write_text('name = "dcgan"\n[system]\nlr = 0.1\n')
    assert read_config(old, "began") == {"lr": 0.1}, "of another system only what is written"


def test_data_is_needed():
    with pytest.raises(UserError, match="data is missing"):
        genzoo.train("gaussian")


def test_resuming_a_finished_run_trains_it_longer(runs):
    run = runs(first_with("decodes", "samples"))
    before = genzoo.load(run.path).trained
    more = genzoo.resume(run, steps=3, quiet=True)
    assert more.path == run.path
    assert run.states()[0].name == "step-000000003.safetensors"
    assert genzoo.load(run.path).trained["hparams"] == before["hparams"]
    with pytest.raises(UserError, match="there is no run at"):
        genzoo.resume(run.path / "nothing")


# ---- sample ----------------------------------------------------------------------------------------------------------------------


def test_samples_come_in_chunks_of_a_fixed_size():
    system = build("gaussian")
    x = genzoo.sample(system, n=CHUNK + 3, seed=5)
    assert len(x) == CHUNK + 3
    assert torch.equal(x[:CHUNK], genzoo.sample(system, n=CHUNK, seed=5))


def test_a_system_has_its_own_options_and_no_others():
    able = (n for n in registry.entries() if "samples" in capabilities(registry.system_class(n)))
    system = build(next(n for n in able if "temperature" in own_options(registry.system_class(n), "sample")))
    cold = genzoo.sample(system, n=2, seed=0, temperature=0.01)
    assert cold.shape[0] == 2
    with pytest.raises(UserError, match=r"no option 'temprature' — did you mean 'temperature'\?"):
        genzoo.sample(system, n=2, temprature=1)
    with pytest.raises(UserError, match="temperature=-1"):
        genzoo.sample(system, n=2, temperature=-1)
    with pytest.raises(UserError, match="n=0 is not allowed"):
        genzoo.sample(system, n=0)


@pytest.mark.parametrize(
    ("verb", "capability", "call"),
    [
        ("walk", "decodes", lambda s: genzoo.walk(s)),
        ("reconstruct", "encodes", lambda s: genzoo.reconstruct(s, torch.zeros(1, 1, 8, 8))),
        ("translate", "translates", lambda s: genzoo.translate(s, torch.zeros(1, 3, 8, 8))),
        ("animate", "animates", lambda s: genzoo.animate(s, torch.zeros(1, 1, 8, 8))),
        ("complete", "completes", lambda s: genzoo.complete(s, torch.zeros(1, 1, 8, 8), torch.zeros(8, 8))),
    ],
)
def test_a_lacking_capability_is_said_with_what_there_is(verb, capability, call):
    system = build(without(capability))
    with pytest.raises(UserError, match=rf"{verb}: .* cannot .*; it can "):
        call(system)


# ---- walk ------------------------------------------------------------------------------------------------------------------------


def test_the_arc_keeps_norms_and_the_line_does_not():
    g = torch.Generator().manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 5, 30, generator=g), dim=2)
    t = torch.linspace(0, 1, 7)
    arc, line = between(a, b, t), between(a, b, t, spherical=False)
    torch.testing.assert_close(arc.norm(dim=2), torch.ones(5, 7))
    torch.testing.assert_close(line, torch.lerp(a[:, None], b[:, None], t.view(1, 7, 1)))
    assert (line.norm(dim=2)[:, 3] < 0.95).all()
    for path in (arc, line):
        torch.testing.assert_close(path[:, 0], a)
        torch.testing.assert_close(path[:, -1], b)
    # equal angles between neighbours: the walk has one speed
    steps = (arc[:, 1:] * arc[:, :-1]).sum(2).clamp(-1, 1).arccos()
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_latents_on_one_line_are_walked_straight(factor):
    a = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    path = between(a, factor * a, torch.linspace(0, 1, 3))
    assert torch.isfinite(path).all()
    torch.testing.assert_close(path[:, 1], (1 + factor) / 2 * a)


def test_walks_make_a_ring_and_a_gif_without_a_jump():
    system = build(first_with("decodes", "samples"))
    rows = genzoo.walk(system, rows=3, steps=4, seed=1)
    assert rows.shape[:2] == (3, 4)
    torch.testing.assert_close(rows[:, -1], rows.roll(-1, 0)[:, 0])
    assert len(frames(rows, kinds.of(system))) == 4 + 2
    assert torch.equal(rows, genzoo.walk(system, rows=3, steps=4, seed=1))
    assert genzoo.walk(system, rows=1, steps=2).shape[:2] == (1, 2)


def test_a_walk_between_images():
    system = build(first_with("decodes", "encodes"))
    images = torch.rand(3, *system.hparams["shape"]) * 2 - 1
    rows = genzoo.walk(system, steps=3, images=images)
    assert rows.shape[:2] == (2, 3)
    torch.testing.assert_close(rows[0, 0], genzoo.reconstruct(system, images)[0], atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="at least two images"):
        genzoo.walk(system, images=images[:1])


# ---- arithmetic ------------------------------------------------------------------------------------------------------------------


class Shifter(genzoo.core.system.System):
    """Codes are pixels, so that arithmetic can be worked out by hand."""

    def __init__(self, shape: tuple[int, int, int] = (1, 2, 2)) -> None:
        super().__init__()

    def encode(self, x):
        return x.flatten(1)

    def decode(self, z):
        return z.view(-1, 1, 2, 2).clamp(-1, 1)

    def sample_prior(self, n, *, generator):
        return torch.randn(n, 4, generator=generator)


def write_classes(folder, names=("day", "night", "dusk"), levels=(255, 51, 102)):
    """Three classes of images of one grey level each, in [-1, 1]: 1, -0.6, -0.2."""
    for name, level in zip(names, levels, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(np.full((2, 2), level, np.uint8)).save(folder / name / f"{i}.png")


def test_arithmetic_by_hand(tmp_path):
    write_classes(tmp_path / "sky")
    x = torch.full((3, 1, 2, 2), -0.6)
    go = lambda **kw: float(genzoo.arithmetic(Shifter(), x, data=str(tmp_path / "sky"), **kw).mean())  # noqa: E731
    assert go(plus="day", minus="night", amount=0.5) == pytest.approx(-0.6 + 0.5 * 1.6)
    assert go(plus="dusk", minus="night") == pytest.approx(-0.2)
    assert go(plus="dusk", minus="night", amount=-0.5) == pytest.approx(-0.8)
    assert go(plus="Dusk", amount=1.0) == pytest.approx(-0.6 + (-0.2 - (1 - 0.6) / 2), abs=1e-5), (
        "all others, by name in any case"
    )
    assert go(plus="2", minus="dusk", amount=0.0) == pytest.approx(-0.6), "amount 0 is the reconstruction"
    with pytest.raises(UserError, match=r"no class 'nite'.*did you mean 'night'.*day, dusk, night"):
        go(plus="nite")
    with pytest.raises(UserError, match="one class"):
        go(plus="day", minus="Day")


def test_arithmetic_wants_labels_and_an_encoder(tmp_path):
    (tmp_path / "plain").mkdir()
    for i in range(4):
        Image.fromarray(np.full((2, 2), 40 * i, np.uint8)).save(tmp_path / "plain" / f"{i}.png")
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(UserError, match="label"):
        genzoo.arithmetic(Shifter(), x, "day", data=str(tmp_path / "plain"))
    with pytest.raises(UserError, match=r"arithmetic: .* cannot .*encode"):
        genzoo.arithmetic(build(without("encodes")), x, "day")


# ---- reconstruct, complete, translate --------------------------------------------------------------------------------------------


def test_side_by_side():
    x = torch.zeros(3, 1, 2, 2)
    both = side_by_side(x, x + 1, columns=2)
    assert both[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 0, 1, 1, 1], (
        "each row over its partner, short rows filled with white"
    )


def test_completion_keeps_what_is_known():
    system = build(first_with("completes"))
    size = tuple(system.hparams["shape"])
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (2, *size), generator=g).float() * 2 - 1
    known = box_mask((1, 2, 3, 4), size[1:])
    assert (~known).sum() == 12
    assert not known[2:6, 1:4].any()
    out = genzoo.complete(system, x, known, seed=1)
    assert torch.equal(out[..., known], x[..., known])
    assert torch.equal(out, genzoo.complete(system, x, known, seed=1))
    with pytest.raises(UserError, match="keeps every pixel"):
        genzoo.complete(system, x, torch.ones(size[1:]))
    with pytest.raises(UserError, match="of one size"):
        genzoo.complete(system, x, known[1:])


@pytest.mark.parametrize("box", [(0, 0, 9, 1), (-1, 0, 2, 2), (0, 0, 0, 3), (7, 7, 2, 1)])
def test_a_box_lies_inside_the_image(box):
    with pytest.raises(UserError, match="does not lie inside the image, 8 wide and 8 high"):
        box_mask(box, (8, 8))


@pytest.mark.parametrize("size", [(33, 47), (64, 40), (5, 90), (1, 1)])
def test_translation_gives_every_size_back(size):
    system = build(first_with("translates"))
    x = torch.rand(2, system.hparams["shape"][0], *size) * 2 - 1
    y = genzoo.translate(system, x)
    assert y.shape == x.shape
    assert y.min() >= -1
    assert y.max() <= 1
    with pytest.raises(UserError, match="direction=b2c is not known"):
        genzoo.translate(system, x, "b2c")


def test_the_multiple_is_found_by_trying():
    class Halves(torch.nn.Module):
        """Gives a size back if it can be halved k times."""

        device, hparams, directions = torch.device("cpu"), {"shape": (1, 8, 8)}, ("a2b",)

        def __init__(self, k):
            super().__init__()
            self.k = k

        def translate(self, x, *, direction="a2b"):
            for _ in range(self.k):
                x = torch.nn.functional.avg_pool2d(x, 2)
            return torch.nn.functional.interpolate(x, scale_factor=2**self.k)

    for k in (0, 1, 2, 5, 8):
        side, multiple = fitting_size(Halves(k), 1, "a2b")
        assert multiple == 2**k
        assert side % multiple == 0
    with pytest.raises(UserError, match="at its size"):
        fitting_size(Halves(9), 1, "a2b")


# ---- evaluate, export, outputs ---------------------------------------------------------------------------------------------------


def test_evaluation_keeps_the_figures_with_their_protocol(runs):
    run = runs("gaussian")
    found = genzoo.evaluate(run, seed=3)
    kept = json.loads((run.path / "metrics.json").read_text())
    nll = found["measures"]["NLL"]
    assert math.isfinite(nll["value"])
    assert nll["unit"] == "nats"
    assert "seed 3" in nll["protocol"]
    assert found["measures"]["bits/dim"]["value"] == pytest.approx(
        nll["value"] / math.log(2) / math.prod(genzoo.load(run.path).hparams["shape"])
    )
    assert nll in kept.values()
    assert genzoo.evaluate(run, seed=3)["measures"]["NLL"]["value"] == nll["value"]
    with pytest.raises(UserError, match="n=1 is not allowed"):
        genzoo.evaluate(run, n=1)


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_every_system_is_evaluated_exported_and_loaded_again(name, runs, tmp_path):
    run = runs(name)
    found = genzoo.evaluate(run, n=4)
    assert found["system"] == name
    able = capabilities(genzoo.load(run.path))
    assert ("NLL" in found["measures"]) == ("density" in able)
    folder = genzoo.export(run, tmp_path / "exported")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    copy, system = genzoo.load(folder), genzoo.load(run.path)
    assert loading.plain(copy.hparams) == loading.plain(system.hparams)
    for (key, a), b in zip(system.state_dict().items(), copy.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    if "samples" in able:
        assert torch.equal(genzoo.sample(copy, n=2, seed=4), genzoo.sample(run, n=2, seed=4))
    with pytest.raises(UserError, match="is not empty"):
        genzoo.export(run, folder)
    assert genzoo.export(run, folder, overwrite=True) == folder


def test_a_system_in_memory_is_exported_too(tmp_path):
    system = build("gaussian")
    loaded = genzoo.load(genzoo.export(system, tmp_path / "g"))
    assert torch.equal(genzoo.sample(loaded, n=2), genzoo.sample(system, n=2))


def test_wrong_runs_are_named(runs, tmp_path, monkeypatch):
    run = runs("gaussian")
    with pytest.raises(UserError, match=r"did you mean '.*gaussian'"):
        genzoo.sample(run.path.parent / "gausian")
    with pytest.raises(UserError, match="is not a run"):
        genzoo.sample(tmp_path)
    monkeypatch.chdir(run.path.parents[1])
    assert genzoo.sample("gaussian", n=1).shape[0] == 1, "the bare name of a run in runs/ will do"


def test_no_file_is_taken_from_anybody(tmp_path):
    path = tmp_path / "a.png"
    assert outputs.free(path) == path
    path.write_text("mine")
    (tmp_path / "a-2.png").write_text("mine too")
    assert outputs.free(path) == tmp_path / "a-3.png"
    assert outputs.free(path, overwrite=True) == path
    with pytest.raises(UserError, match=r"ends in \.png"):
        outputs.target(tmp_path, "a.tiff", "a.png", suffixes=(".png",), overwrite=False)
    x = torch.linspace(-1, 1, 12).view(1, 3, 2, 2)
    image_kind = kinds.get("image")
    assert np.array_equal(np.load(image_kind.write(tmp_path / "x.npy", x, {})), x.numpy())
    with Image.open(image_kind.write(tmp_path / "x.png", x, {})) as image:
        assert image.size == (48, 48)
