"""Systems as arguments of systems: paths and objects, checkpoints that stand alone, data prepared once."""

import json
import shutil
import tomllib

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.settings import json_schema
from genzoo.core import schema
from genzoo.core.capabilities import Tokenizes
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.naming import registry
from genzoo.runs.folder import newest_state
from genzoo.saved import loading
from genzoo.training.prepare import prepared
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import train

TINY = {"codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1}
PRIOR = {"width": 16, "depth": 1, "heads": 2, "batch": 4, "precision": "fp32", "quiet": True}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz", images=rng.integers(0, 256, (24, 8, 8), dtype=np.uint8), labels=rng.integers(0, 3, 24)
    )
    return str(tmp_path / "data.npz")


@pytest.fixture
def first(tmp_path, data):
    """A trained tokenizer's run."""
    return genzoo.train(
        "vqvae", data, steps=3, batch=4, precision="fp32", runs=str(tmp_path / "runs"), quiet=True, **TINY
    )


def draw(system):
    return system.sample(3, generator=torch.Generator().manual_seed(0))


def test_the_second_stage_stands_alone(tmp_path, data, first):
    run = genzoo.train("token-prior", data, tokenizer=str(first.path), steps=4, runs=str(tmp_path / "runs"), **PRIOR)
    config = tomllib.loads((run.path / "config.toml").read_text())
    assert config["system"]["tokenizer"] == str(first.path)
    described = json.loads((run.path / "model" / "config.json").read_text())["hparams"]["tokenizer"]
    assert described["system"] == "vqvae"
    assert described["hparams"]["codes"] == 8
    assert "vqvae from" in (run.path / "README.md").read_text()
    before = draw(genzoo.load(run.path))
    weights = genzoo.load(first.path).state_dict()
    genzoo.export(run, tmp_path / "out")
    shutil.rmtree(first.path)
    for place in (run.path, tmp_path / "out"):
        system = genzoo.load(place)
        assert torch.equal(draw(system), before)
        assert all(torch.equal(v, weights[k]) for k, v in system.tokenizer.state_dict().items())
    again = genzoo.resume(run, steps=6, quiet=True)
    assert again.log()[-1]["step"] == 6
    with pytest.raises(UserError, match="no model at"):
        genzoo.train("token-prior", data, tokenizer=str(first.path), steps=1, runs=str(tmp_path / "runs"), **PRIOR)


def test_resumed_without_the_tokenizers_run_equals_uninterrupted(tmp_path, data, first):
    keys = {"tokenizer": str(first.path), "steps": 4, "runs": str(tmp_path / "runs"), "save_every": 2, **PRIOR}
    whole = genzoo.train("token-prior", data, name="whole", **keys)
    cut = genzoo.train("token-prior", data, name="cut", **keys)
    newest = max((cut.path / "state").glob("step-*.safetensors"))
    newest.unlink()
    shutil.rmtree(first.path)
    genzoo.resume(cut, quiet=True)
    a, b = newest_state(whole)[1], newest_state(cut)[1]
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a), [k for k in a if not torch.equal(a[k], b[k])]


def test_an_object_a_run_a_path_and_a_name_below_runs_are_the_same(tmp_path, data, first, monkeypatch):
    monkeypatch.chdir(tmp_path)
    systems = [
        genzoo.create("token-prior", shape=(1, 8, 8), tokenizer=t, width=16, depth=1, heads=2)
        for t in (genzoo.load(first.path), first, str(first.path), first.path, first.path.name)
    ]
    found = {loading.digest(s.tokenizer) for s in systems}
    assert len(found) == 1
    assert found == {systems[0].prepared_by()}


def test_a_tokenizer_made_in_python_can_be_trained_on_and_resumed(tmp_path, data):
    torch.manual_seed(5)
    inner = genzoo.create("vqvae", shape=(1, 8, 8), **TINY)
    weights = {k: v.clone() for k, v in inner.state_dict().items()}
    run = genzoo.train("token-prior", data, tokenizer=inner, steps=2, runs=str(tmp_path / "runs"), **PRIOR)
    assert tomllib.loads((run.path / "config.toml").read_text())["system"]["tokenizer"]["system"] == "vqvae"
    genzoo.resume(run, steps=3, quiet=True)
    system = genzoo.load(run.path)
    assert all(torch.equal(v, weights[k]) for k, v in system.tokenizer.state_dict().items())


def test_what_cannot_tokenize_is_refused_with_what_can(tmp_path):
    with pytest.raises(
        UserError, match=r"gaussian is not a system that tokenizes; train one of .*vqgan, vqvae, vqvae2"
    ):
        genzoo.create("token-prior", tokenizer=genzoo.create("gaussian", shape=(1, 8, 8)))
    with pytest.raises(UserError, match="no model at"):
        genzoo.create("token-prior", tokenizer=str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="int is not"):
        genzoo.create("token-prior", tokenizer=3)
    with pytest.raises(UserError, match="described by"):
        genzoo.create("token-prior", tokenizer={})


def test_a_form_says_what_to_give():
    cls = registry.system_class("token-prior")
    setting = schema.settings(cls)["tokenizer"]
    assert setting.allowed == "a run that tokenizes or none"
    assert schema.capability_of(setting.annotation) is Tokenizes
    assert json_schema(cls)["properties"]["tokenizer"]["type"] == "string"
    assert schema.capability_of(schema.settings(cls)["width"].annotation) is None


def test_codes_are_computed_once_and_are_those_of_the_images(tmp_path, data, first, monkeypatch):
    system = genzoo.create("token-prior", shape=(1, 8, 8), tokenizer=str(first.path), width=16, depth=1, heads=2)
    dataset = open_data(DataSettings(data), quiet=True)
    runtime = Runtime(torch.device("cpu"), "bf16")
    once = prepared(system, dataset, runtime, quiet=True)
    images = torch.from_numpy(np.array(dataset.fields["image"])).float() / 127.5 - 1
    assert set(once.fields) == {"codes"} | ({"label"} & set(dataset.fields))
    assert np.array_equal(once.fields["codes"], system.tokenizer.tokenize(images).numpy())
    assert once.digest == dataset.digest
    calls = []
    monkeypatch.setattr(type(system), "prepare", lambda self, batch: calls.append(1))
    again = prepared(system, dataset, runtime, quiet=True)
    assert not calls
    assert np.array_equal(again.fields["codes"], once.fields["codes"])
    for changed in ({"flip": True}, {"crop": 6}, {"binarize": "dynamic"}):
        other = open_data(DataSettings(data, **changed), quiet=True)
        assert prepared(system, other, runtime, quiet=True) is other


def test_another_tokenizer_has_other_codes(tmp_path, data, first):
    system = genzoo.create("token-prior", shape=(1, 8, 8), tokenizer=str(first.path), width=16, depth=1, heads=2)
    dataset, runtime = open_data(DataSettings(data), quiet=True), Runtime(torch.device("cpu"), "fp32")
    before, digest = prepared(system, dataset, runtime, quiet=True).fields["codes"], system.prepared_by()
    with torch.no_grad():
        system.tokenizer.quantiser.codebook.copy_(system.tokenizer.quantiser.codebook.flip(0))
    assert system.prepared_by() != digest
    after = prepared(system, dataset, runtime, quiet=True).fields["codes"]
    assert np.array_equal(7 - before, after)


def test_augmented_data_are_tokenized_at_every_step(tmp_path, data, first):
    run = genzoo.train(
        "token-prior", data, tokenizer=str(first.path), flip=True, steps=2, runs=str(tmp_path / "runs"), **PRIOR
    )
    assert run.log()[-1]["bits_per_code"] > 0


def test_a_model_of_several_levels_is_learned_by_the_same_prior(tmp_path, data):
    runs = str(tmp_path / "runs")
    inner = genzoo.train("vqvae2", data, steps=2, batch=4, runs=runs, quiet=True, **TINY)
    run = genzoo.train("token-prior", data, tokenizer=str(inner.path), steps=2, runs=runs, **PRIOR)
    assert {"bits_level_1", "bits_level_2"} <= set(run.log()[-1])
    assert genzoo.sample(run, n=2, label=1, top_k=3).shape == (2, 1, 8, 8)


def test_data_of_another_shape_is_refused_before_anything_is_written(tmp_path, data, first):
    with pytest.raises(UserError, match="1x8x8"):
        train(
            "token-prior",
            DataSettings(data, size=16),
            TrainSettings(runs=str(tmp_path / "none")),
            {"tokenizer": str(first.path)},
            quiet=True,
        )
    assert not (tmp_path / "none").exists()


def test_a_described_tokenizer_trains_the_same_every_time(tmp_path, data):
    described = {"system": "vqvae", "hparams": {**TINY, "shape": (1, 8, 8)}}
    runs = []
    for k in range(2):
        torch.manual_seed(k)  # what the person has drawn before does not matter
        runs.append(
            genzoo.train("token-prior", data, tokenizer=described, steps=2, name=f"{k}", runs=str(tmp_path), **PRIOR)
        )
    a, b = (genzoo.load(run.path).state_dict() for run in runs)
    assert all(torch.equal(a[k], b[k]) for k in a)
