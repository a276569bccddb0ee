"""From a file to a run that every verb takes; or a message that lists what does not fit, and nothing written."""

from __future__ import annotations

import argparse
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from tests.foreign import nets
from tests.foreign.nets import Weights


@pytest.fixture
def generator():
    w = Weights()
    with torch.no_grad():
        nets.dcgan_generator(w, torch.randn(1, 6), 4, 1)
    return w


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_verb_takes_it(here, generator, capsys):
    torch.save(dict(generator), here / "netG.pth")
    assert main(["import", "netG.pth", "as=dcgan", "name=faces"]) == 0
    out, err = capsys.readouterr()
    assert out == "wrote runs/faces\n"
    assert "netG.pth: the DCGAN example of PyTorch, as a dcgan" in err
    assert "new: D: no weights in the files" in err
    with torch.no_grad():
        z = torch.randn(2, 6, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(genzoo.load("runs/faces").decode(z), nets.dcgan_generator(generator, z, 4, 1), atol=1e-5)
    assert genzoo.sample("runs/faces", n=2, seed=3).shape == (2, 1, 64, 64)
    assert main(["sample", "runs/faces", "n=4"]) == 0
    assert main(["walk", "runs/faces", "steps=2"]) == 0
    assert main(["figures", "runs/faces"]) in (0, 2)
    assert main(["export", "runs/faces", "to=out"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/faces"]) == 2
    assert "give data=" in capsys.readouterr().err
    assert main(["resume", "runs/faces"]) == 2
    assert "imported from another program and holds no training" in capsys.readouterr().err
    said = genzoo.load("out").trained["imported"]
    assert said["upstream"] == "dcgan-example"
    assert said["new"] == ["D"]
    assert len(said["files"]["netG.pth"]) == 64
    assert json.loads((here / "runs/faces/model/config.json").read_text())["imported"] == said
    card = (here / "runs/faces/README.md").read_text()
    assert "BSD-3-Clause" in card
    assert "have learned nothing: D" in card


def test_its_settings_train_another_one(here, generator, capsys):
    torch.save(dict(generator), here / "netG.pth")
    run = genzoo.import_run("netG.pth", quiet=True)
    again = genzoo.train("dcgan", "digits", config=run.path / "config.toml", size=64, steps=1, batch=2, quiet=True)
    assert genzoo.load(again).hparams == genzoo.load(run).hparams
    assert not capsys.readouterr().err


def test_all_that_does_not_fit_is_listed_and_nothing_is_written(here, generator):
    broken = dict(generator)
    broken["main.3.weight"] = broken["main.3.weight"][:, :3]
    del broken["main.4.bias"]
    broken["main.20.weight"] = torch.ones(2, 5)
    torch.save(broken, here / "netG.pth")
    with pytest.raises(UserError) as caught:
        genzoo.import_run("netG.pth", "dcgan")
    assert str(caught.value) == (
        "this is no dcgan (shape=(1, 64, 64), latent=6, width=4) of the DCGAN example of PyTorch; nothing was written:\n"
        "  netG.pth lacks main.4.bias\n"
        "  netG.pth has more: main.20.weight 2x5\n"
        "  main.3.weight becomes G.net.2.weight: 32x3x4x4, not 32x16x4x4"
    )
    assert not (here / "runs").exists()


def test_what_a_person_says_against_the_file_does_not_fit(here, generator):
    torch.save(dict(generator), here / "netG.pth")
    with pytest.raises(UserError, match=r"(?s)width=8.*nothing was written.*and 9 more") as caught:
        genzoo.import_run("netG.pth", width=8)
    assert len(str(caught.value).splitlines()) == 14
    with pytest.raises(UserError, match="dcgan has no setting 'widht' — did you mean 'width'"):
        genzoo.import_run("netG.pth", widht=8)
    with pytest.raises(UserError, match="new=E is no part of a dcgan"):
        genzoo.import_run("netG.pth", new=["E"])
    assert not (here / "runs").exists()


def test_weights_that_are_no_numbers_are_refused(here, generator):
    generator["main.0.weight"][0] = torch.nan
    torch.save(dict(generator), here / "netG.pth")
    with pytest.raises(UserError, match=r"not numbers"):
        genzoo.import_run("netG.pth")
    assert not (here / "runs").exists()


class Generator(nn.Module):
    """A network that is pickled whole, with its class."""

    def __init__(self, weights):
        super().__init__()
        self.main = nn.Module()
        for name, value in weights.items():
            _, at, kind = name.split(".")
            if at not in dict(self.main.named_children()):
                self.main.add_module(at, nn.Module())
            self.main.get_submodule(at).register_buffer(kind, value)


@pytest.mark.parametrize(
    "write",
    [
        lambda w, path: torch.save({"netG_state_dict": w, "args": argparse.Namespace(), "epoch": 3}, path),
        lambda w, path: torch.save({"model": {"ema": {f"module.{k}": v for k, v in w.items()}}}, path),
        lambda w, path: torch.save({k: v.half() if v.is_floating_point() else v for k, v in w.items()}, path),
        lambda w, path: torch.save({f"module._orig_mod.{k}": v for k, v in w.items()}, path),
        lambda w, path: torch.save({k: nn.Parameter(v) for k, v in w.items() if v.is_floating_point()}, path),
        lambda w, path: torch.save(Generator(w), path),
        lambda w, path: torch.save(w, path, _use_new_zipfile_serialization=False),
        lambda w, path: save_file(w, path.with_suffix(".safetensors")),
    ],
    ids=["beside others", "deep inside", "half", "compiled", "parameters", "whole module", "old form", "safetensors"],
)
def test_the_forms_in_which_weights_are_found(here, generator, write):
    write(dict(generator), here / "a.pth")
    system = genzoo.load(genzoo.import_run(next(here.iterdir()), quiet=True))
    assert torch.allclose(system.state_dict()["G.net.2.weight"], generator["main.3.weight"], atol=1e-2)
    assert system.state_dict()["G.net.2.weight"].dtype == torch.float32


def test_a_folder_of_checkpoints(here, generator):
    (here / "checkpoints").mkdir()
    torch.save(dict(generator), here / "checkpoints" / "netG.pth")
    torch.save({"lr": torch.tensor(1.0)}, here / "checkpoints" / "schedule.pth")
    (here / "checkpoints" / "loss_log.txt").write_text("epoch 1")
    assert genzoo.load(genzoo.import_run("checkpoints", quiet=True)).trained["imported"]["pieces"] == ["netG.pth"]
    shutil.rmtree(here / "checkpoints")
    (here / "checkpoints").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        genzoo.import_run("checkpoints")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n\x1a\n", "cannot be read as HDF5: damaged"),
        (b"<!DOCTYPE html>", "is a web page, perhaps of a download that failed"),
        (b"version https://git-lfs.github.com", "is a Git LFS pointer"),
        (b"hello", "of a form that is not known"),
        (b"", "is empty"),
        (b"PK\x03\x04 and no archive", "cannot be read"),
        (b"\x80\x02]q\x00.", "holds no tensors by name"),
    ],
)
def test_other_files_are_named(here, content, said):
    (here / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=said):
        genzoo.import_run("a.pth")


def test_mistakes_are_said(here, generator, capsys):
    torch.save(dict(generator), here / "netG.pth")
    with pytest.raises(UserError, match=r"there is no file 'netH.pth' — did you mean 'netG.pth'"):
        genzoo.import_run("netH.pth")
    with pytest.raises(
        UserError, match="checkpoints of no other program become a vae; there are some for cgan, colorizer"
    ):
        genzoo.import_run("netG.pth", "vae")
    with pytest.raises(UserError, match="there is no program 'dcgan-exmaple' — did you mean 'dcgan-example'"):
        genzoo.import_run("netG.pth", upstream="dcgan-exmaple")
    with pytest.raises(
        UserError, match=r"netG.pth holds \d+ tensors \(main.0.weight 6x32x4x4.*none of these programs: cyclegan"
    ):
        genzoo.import_run("netG.pth", "cyclegan")
    genzoo.import_run("netG.pth", name="a", quiet=True)
    with pytest.raises(UserError, match="a run named 'a' is in runs"):
        genzoo.import_run("netG.pth", name="a")
    assert main(["import"]) == 0
    assert "dcgan-example" in capsys.readouterr().out


def test_a_preset_names_its_system(here, generator):
    torch.save(dict(generator), here / "netG.pth")
    assert genzoo.load(genzoo.import_run("netG.pth", "wgan-gp", quiet=True)).name == "dcgan"
