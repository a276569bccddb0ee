"""The models of the package genzoo-zoo: each is whole, does what its record says, and stands wherever a run is taken."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, UserError
from genzoo.foreign.zoo import ZOO
from genzoo.naming import registry
from genzoo.saved import zoo
from genzoo.saved.loading import model_file
from genzoo.use.zoo import shipped, write_zoo
from tools.zoo import MOST_BYTES, probe, table, values

ROOT = Path(__file__).parents[2]
MODELS = shipped()
OF_ALL = 6_000_000


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_one_that_was_recorded(name):
    model = MODELS[name]
    data = (model.folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == model.record["sha256"]
    assert len(data) == model.record["bytes"] <= MOST_BYTES
    system = genzoo.load(model.place)  # which checks the digest over every byte
    assert system.origin == model.place
    assert all(t.dtype != torch.float16 for t in system.state_dict().values())
    out = probe(system)
    assert torch.isfinite(out).all()
    found, recorded = values(out), model.record["probe"]
    assert found["shape"] == recorded["shape"]
    for key in ("mean", "std", "values"):
        assert found[key] == pytest.approx(recorded[key], abs=1e-4), key


def test_a_changed_weight_is_seen(tmp_path):
    """What the test above asks would fail if a weight were another one."""
    folder = tmp_path / "model"
    shutil.copytree(MODELS["dcgan-garments"].folder, folder)
    system = genzoo.load(folder)
    before = values(probe(system))
    with torch.no_grad():
        next(iter(system.G.parameters())).mul_(1.02)
    assert values(probe(system))["values"] != pytest.approx(before["values"], abs=1e-4)
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedFile, match="is damaged"):
        genzoo.load(folder)


def test_there_is_one_for_every_family_and_all_are_small():
    assert {m.record["family"] for m in MODELS.values()} == {e.family for e in registry.entries().values()}
    assert sum(m.record["bytes"] for m in MODELS.values()) <= OF_ALL
    files = [p for p in zoo.root().rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.suffix for p in files} <= {".py", ".json", ".md", ".png", ".safetensors"}
    assert all(p.stat().st_size < 200_000 for p in files if p.suffix == ".png")


def test_records_say_what_the_table_says():
    assert list(MODELS) == [name for name in table() if name in MODELS]
    for name, model in MODELS.items():
        entry = table()[name]
        assert all(model.record[key] == entry[key] for key in ("line", "data", "terms", "licence"))
        assert model.record["system"] == entry["train"]["system"]
        assert f"steps={entry['train'].get('steps')}" in model.record["command"] or "steps" not in entry["train"]
        card = (model.folder / "README.md").read_text(encoding="utf-8")
        assert all(model.record[key] in card for key in ("line", "licence", "terms", "measure", "command"))
    licences = (ROOT / "packages" / "zoo" / "LICENSES.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "packages" / "zoo" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, model in MODELS.items():
        assert re.search(rf"^\| {name} \|.*\| {re.escape(model.record['licence'])} \|", licences, re.MULTILINE), name
        assert model.record["licence"] in project["license"].split(" AND ")


def test_names_share_one_space():
    assert set(zoo.IMPORTED) == set(ZOO)
    assert not set(ZOO) & set(MODELS)
    with pytest.raises(UserError, match=r"there is no 'zoo:dcgan-garmets' — did you mean 'zoo:dcgan-garments'"):
        model_file("zoo:dcgan-garmets")
    with pytest.raises(UserError, match=r"'genzoo import zoo:faces' fetches it and makes a run of it, runs/faces"):
        genzoo.sample("zoo:faces")
    for wrong in ("dcgan-garments", "Zoo:dcgan-garments"):
        with pytest.raises(UserError, match="the trained model of this name is zoo:dcgan-garments"):
            genzoo.sample(wrong)
    for wrong in ("zoo:", "zoo:..", "zoo:../zoo", "zoo:dcgan-garments/model.safetensors"):
        with pytest.raises(UserError, match="there is no"):
            model_file(wrong)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda name: None)
    assert main(["sample", "zoo:dcgan-garments"]) == 2
    assert "pip install genzoo-zoo" in capsys.readouterr().err
    assert main(["zoo"]) == 0
    out = capsys.readouterr().out
    assert "pip install genzoo-zoo" in out
    assert "zoo:faces" in out
    assert main(["zoo", "out=zoo.html"]) == 2
    assert not Path("zoo.html").exists()


def test_the_list_and_one_model(capsys):
    assert main(["zoo"]) == 0
    page = capsys.readouterr().out
    for model in MODELS.values():
        assert all(model.record[key] in page for key in ("line", "licence", "terms", "measure"))
        assert main(["zoo", model.name]) == 0
        told = capsys.readouterr().out
        assert all(model.record[key] in told for key in ("protocol", "command", "moved"))
        assert "EXAMPLE" not in told
    assert main(["zoo", "dcgan-garmnets"]) == 2
    assert "did you mean 'dcgan-garments'" in capsys.readouterr().err


def test_results_go_to_the_working_folder_and_never_into_the_package(tmp_path, monkeypatch, capsys):
    before = {p: p.stat().st_mtime_ns for p in zoo.root().rglob("*") if p.is_file()}
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "zoo:dcgan-garments", "n=4"]) == 0
    assert main(["walk", "zoo:dcgan-garments", "rows=1", "steps=3"]) == 0
    assert main(["export", "zoo:dcgan-garments", "to=copy", "dtype=float16"]) == 0
    capsys.readouterr()
    assert {"sample.png", "copy"} <= {p.name for p in tmp_path.iterdir()}
    assert torch.equal(genzoo.sample("copy", n=2), genzoo.sample("zoo:dcgan-garments", n=2))
    assert main(["export", "copy", "to=whole"]) == 0  # float32 again, and it says nothing else
    assert Path("whole/model.safetensors").stat().st_size > 1.8 * Path("copy/model.safetensors").stat().st_size
    assert "half precision" not in Path("whole/README.md").read_text(encoding="utf-8")
    for wrong, said in (("to=a.onnx", "is of a folder"), ("to=b", "fp8")):
        assert main(["export", "copy", wrong, f"dtype={'fp8' if said == 'fp8' else 'float16'}"]) == 2
        assert said in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in zoo.root().rglob("*") if p.is_file()} == before


def test_a_training_begins_with_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "train dcgan data=garments width=32 latent=32 d_norm=none steps=1 batch=2 from=zoo:dcgan-garments name=mine"
    assert main(words.split()) == 0
    assert "zoo:dcgan-garments (dcgan after 8,000 steps)" in "".join(capsys.readouterr())
    assert main(["resume", "zoo:dcgan-garments"]) == 2
    assert "from=zoo:dcgan-garments" in capsys.readouterr().err


def test_importing_one_makes_a_run_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["import", "zoo:dcgan-garments"]) == 0
    assert "wrote runs/dcgan-garments" in capsys.readouterr().out
    run = "runs/dcgan-garments"
    assert torch.equal(genzoo.sample(run, n=2), genzoo.sample("zoo:dcgan-garments", n=2))
    config = json.loads(Path(run, "model/config.json").read_text(encoding="utf-8"))
    assert "stored" not in config  # its weights are whole again
    with pytest.raises(UserError, match="only name= and runs="):
        genzoo.import_run("zoo:dcgan-garments", "dcgan", quiet=True)


def test_the_page_shows_every_model(tmp_path):
    page = write_zoo(tmp_path / "zoo.html")
    text = page.read_text(encoding="utf-8")
    for model in MODELS.values():
        assert f"zoo/{model.name}.png" in text
        assert (tmp_path / "zoo" / f"{model.name}.png").stat().st_size > 500
        assert model.place in text
    assert write_zoo(tmp_path / "zoo.html").name == "zoo-2.html"
    with pytest.raises(UserError, match=r"ends in \.html"):
        write_zoo(tmp_path / "zoo.png")
