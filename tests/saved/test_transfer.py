"""A training that begins with another model's weights: what is taken, what is said, what is refused, and that it resumes."""

import shutil
import signal
import tomllib

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.capabilities import Judges
from genzoo.core.errors import DamagedFile, TrainingStopped, UserError
from genzoo.naming import registry
from genzoo.runs.folder import newest_state, open_run
from genzoo.saved import checkpoint
from genzoo.saved.loading import load
from genzoo.saved.transfer import begin, hold, read_origin, take
from genzoo.testing import case_of
from genzoo.testing.data import batch_for
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from tests.conftest import data_for
from tests.training_help import assert_same_state, stop_at

TINY = {"width": 8, "latent": 8}
QUICK = {"device": "cpu", "precision": "fp32", "sample_every": 100, "log_every": 1, "batch": 4, "quiet": True}
JUDGES = [n for n in sorted(registry.entries()) if issubclass(registry.system_class(n), Judges)]


@pytest.fixture
def data(tmp_path):
    return data_for("dcgan", tmp_path / "data").data


@pytest.fixture
def source(tmp_path, data):
    """A run to begin with, whose averages differ from its weights."""
    return genzoo.train("dcgan", data, name="source", runs=str(tmp_path), steps=3, ema=0.9, seed=5, **TINY, **QUICK)


def first_state(run, step=0):
    """The tensors of a run's checkpoint after so many steps."""
    return checkpoint.read(run.path / "state" / f"step-{step:09d}.safetensors")[0]


def test_a_run_begins_with_the_averages_of_another(tmp_path, data, source):
    """Weights and averages alike, buffers too; moments, seed and data order are its own."""
    run = genzoo.train(
        "dcgan",
        data,
        from_=source,
        name="second",
        runs=str(tmp_path),
        steps=1,
        ema=0.9,
        save_every=1,
        **TINY,
        **QUICK,
    )
    averages = load(source.path).state_dict()
    begun = first_state(run)
    for name, t in averages.items():
        for part in ("ema", "params", "buffers"):
            if f"{part}.{name}" in begun:
                assert torch.equal(begun[f"{part}.{name}"], t), f"{part}.{name}"
    assert not [k for k in begun if k.startswith("optim.")]
    assert not all(torch.equal(first_state(source, 3)[f"params.{k}"], t) for k, t in averages.items() if "weight" in k)


@pytest.mark.parametrize("form", ["run", "export", "file", "model folder", "state", "name"])
def test_a_source_is_a_run_an_export_a_file_or_a_name(tmp_path, data, source, form, monkeypatch):
    given = {
        "run": source.path,
        "export": tmp_path / "exported",
        "file": source.model,
        "model folder": source.path / "model",
        "state": source.states()[0],
        "name": "source",
    }[form]
    genzoo.export(source.path, tmp_path / "exported")
    (tmp_path / "runs").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    origin = read_origin(str(given), registry.system_class("dcgan"))
    for name, t in load(source.path).state_dict().items():
        assert torch.equal(origin.system.state_dict()[name], t), name
    assert origin.step == 3


def test_a_state_without_averages_gives_its_weights(tmp_path, data):
    run = genzoo.train("dcgan", data, name="plain", runs=str(tmp_path), steps=2, ema=0, **TINY, **QUICK)
    origin = read_origin(str(run.states()[0]), registry.system_class("dcgan"))
    assert torch.equal(origin.system.G.project.weight, first_state(run, 2)["params.G.project.weight"])


def test_what_was_taken_is_said_and_kept(tmp_path, data, source, capsys):
    """On the command line: from= and no other word; in config.toml, in the checkpoint and in the card."""
    root = str(tmp_path)
    words = [
        f"data={data}",
        f"from={source.path}",
        f"runs={root}",
        "name=other",
        "steps=1",
        "batch=4",
        "device=cpu",
        "latent=12",
        "width=8",
    ]
    assert main(["train", "wgan-gp", *words]) == 0
    said = capsys.readouterr().err
    assert f"beginning with {source.path} (dcgan after 3 steps): " in said
    assert "new: G.project.weight (" in said
    run = open_run(tmp_path / "other")
    kept = tomllib.loads((run.path / "config.toml").read_text())
    assert kept["training"]["from"] == str(source.path)
    assert (kept["taken"]["system"], kept["taken"]["step"]) == ("dcgan", 3)
    assert kept["taken"]["new"] > 0 < kept["taken"]["taken"]
    assert load(run.path).trained["taken"] == kept["taken"]
    card = (run.path / "README.md").read_text()
    assert f"It began with weights of `{source.path}` (dcgan after 3 steps, digest {kept['taken']['digest']})" in card
    again = genzoo.train("wgan-gp", data, config=run.path / "config.toml", name="again", steps=1, quiet=True)
    assert torch.equal(first_state(again)["params.G.project.weight"], first_state(run)["params.G.project.weight"])
    assert tomllib.loads((again.path / "config.toml").read_text())["taken"] == kept["taken"]


def test_classes_size_and_channels_may_differ():
    """What agrees is taken; a layer's statistics go with its weights, and a layer that is new keeps its own."""
    small, large = (
        case_of("sngan").build(shape=(1, 8, 8)),
        case_of("sngan").build(shape=(3, 16, 16), classes=4, conditional=True),
    )
    before = {k: t.clone() for k, t in large.state_dict().items()}
    taken = take(large, small)
    assert 0 < len(taken.names) < len(before)
    assert not set(taken.names) & set(taken.new)
    for name, t in large.state_dict().items():
        assert torch.equal(t, small.state_dict()[name] if name in taken.names else before[name]), name
    deep, flat = case_of("dcgan").build(shape=(1, 16, 16)), case_of("dcgan").build()
    with torch.no_grad():
        deep.G.net[0].num_batches_tracked.fill_(3)
    new = take(flat, deep).new
    assert new["G.net.0.running_mean"] == "8, there 16"
    assert new["G.net.0.num_batches_tracked"] == "its layer is new"
    assert flat.G.net[0].num_batches_tracked == 0


def test_a_mark_of_a_start_from_the_data_is_taken_with_all_that_is_below_it():
    """A network with new layers starts from the data again; one that was taken whole does not."""
    source, same, other = (
        case_of("pixelcnnpp").ready(),
        case_of("pixelcnnpp").build(),
        case_of("pixelcnnpp").build(shape=(3, 8, 8)),
    )
    (mark,) = (k for k in source.state_dict() if k.endswith("initialised"))
    assert not take(same, source).new
    assert bool(same.state_dict()[mark])
    assert take(other, source).new[mark] == "its layer is new"
    assert not bool(other.state_dict()[mark])


def test_what_was_seen_of_other_data_and_inner_systems_are_not_taken(tmp_path):
    """Captions that were heard name words of another vocabulary; a tokenizer is the person's."""
    a, b = (case_of("gan-cls").ready() for _ in range(2))
    a.text.heard.fill_(5)
    assert "text.heard" not in take(b, a).names
    assert not torch.equal(a.text.heard, b.text.heard)
    a, b = (case_of("token-prior").ready() for _ in range(2))
    with torch.no_grad():
        for p in a.parameters():
            p.add_(1)
    before = {k: v.clone() for k, v in b.tokenizer.state_dict().items()}
    names = take(b, a).names
    assert names
    assert not [n for n in names if n.startswith("tokenizer.")]
    assert all(torch.equal(v, b.tokenizer.state_dict()[k]) for k, v in before.items())


def test_a_run_that_began_with_another_resumes_bit_for_bit_without_it(tmp_path, data, source, monkeypatch):
    keys = {"from_": str(source.path), "freeze": 1, "steps": 6, "ema": 0.9, "save_every": 2, **TINY, **QUICK}
    whole = genzoo.train("dcgan", data, name="whole", runs=str(tmp_path), **keys)
    with monkeypatch.context() as patch:
        stop_at(patch, 3, signal.SIGTERM)
        with pytest.raises(TrainingStopped):
            genzoo.train("dcgan", data, name="cut", runs=str(tmp_path), **keys)
    shutil.rmtree(source.path)
    run = genzoo.resume(tmp_path / "cut", quiet=True)
    assert_same_state(whole, run)
    assert open_run(tmp_path / "cut").described()["taken"] == open_run(tmp_path / "whole").described()["taken"]


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path, data, source):
    keys = {"from_": str(source.path), "steps": 2, **TINY, **QUICK}
    run = genzoo.train("dcgan", data, name="killed", runs=str(tmp_path), **keys)
    before = newest_state(run)[1]
    shutil.rmtree(run.path / "state")
    genzoo.resume(run.path, quiet=True)
    after = newest_state(run)[1]
    assert all(torch.equal(t, after[k]) for k, t in before.items())
    shutil.rmtree(run.path / "state")
    genzoo.resume(source.path, steps=5, quiet=True)  # another model now
    with pytest.raises(UserError, match="not the model any more"):
        genzoo.resume(run.path, quiet=True)
    shutil.rmtree(source.path)
    with pytest.raises(UserError, match=r"from=.*no model"):
        genzoo.resume(run.path, quiet=True)


def test_what_cannot_be_taken_is_refused_in_a_sentence(tmp_path, data, source):
    def refused(system, said, **keys):
        with pytest.raises(UserError, match=said) as error:
            genzoo.train(system, data, runs=str(tmp_path / "none"), steps=1, quiet=True, **keys)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "none").exists()

    path = str(source.path)
    refused("vae", "that is a dcgan, and a vae is to be trained", from_=path)
    refused("gmm", "gmm is fitted to all of its data at once", from_=path)
    refused("dcgan", f"from={tmp_path}/sorce: there is no model.*did you mean 'source'", from_=str(tmp_path / "sorce"))
    refused("dcgan", r"too little agrees with this dcgan.*tensors.*new: ", from_=path, width=12, latent=9, kernel=5)
    refused("dcgan", "freeze=2 keeps layers of the model that a training begins with; give from=RUN", freeze=2)
    refused("dcgan", r"freeze=2: the discriminator has 2 layers.*at most 1", from_=path, freeze=2, **TINY)
    refused("dcgan", r"freeze=0 is not allowed; give integer, at least 1", from_=path, freeze=0)
    vae = genzoo.train("vae", data, name="vae", runs=str(tmp_path), steps=1, batch=4, latent=2, quiet=True)
    refused("vae", "vae has no discriminator", from_=str(vae.path), freeze=1, latent=2)
    wider = genzoo.train(
        "dcgan", data, name="wider", runs=str(tmp_path), steps=1, width=16, latent=8, batch=4, quiet=True
    )
    system = case_of("dcgan").build()
    origin = read_origin(str(wider.path), type(system))
    with torch.no_grad():  # of the same form as the tiny one, but for the first layer of D
        origin.system.G = case_of("dcgan").build().G
    with pytest.raises(
        UserError, match=r"freeze=1 keeps 'D\.blocks\.0\.0\.weight' as it is, which is new \(8x1x4x4, there 16x1x4x4\)"
    ):
        begin(system, origin, 1)
    file = source.model
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DamagedFile, match=r"from=.*damaged"):
        genzoo.train("dcgan", data, from_=path, runs=str(tmp_path / "none"), steps=1, quiet=True)
    (tmp_path / "theirs.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    refused("dcgan", "from=.*zip archive", from_=str(tmp_path / "theirs.pt"))


@pytest.mark.parametrize("name", JUDGES)
def test_the_first_layers_of_a_discriminator_stay_as_they_are(name):
    """All the others learn, in every system that names its layers; the first has the pixels."""
    system = case_of(name).build()
    layers = system.judging()
    assert all(isinstance(m, torch.nn.Module) for m in layers)
    first = {id(p) for p in layers[0].parameters()}
    assert first
    assert len({id(p) for m in layers for p in m.parameters()}) == sum(len([*m.parameters()]) for m in layers)
    hold(system, 1)
    kept = {k: p.clone() for k, p in system.named_parameters() if id(p) in first}
    before = {k: p.clone() for k, p in system.D.named_parameters()}
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    for step in range(2):
        update.begin(step, 2)
        system.train().training_step(batch_for(system, seed=step), update)
        update.end()
    now = dict(system.named_parameters())
    assert all(torch.equal(now[k], p) for k, p in kept.items())
    assert any(not torch.equal(p, before[k]) for k, p in system.D.named_parameters())
    assert all(np.isfinite(p.detach().numpy()).all() for p in system.parameters())
