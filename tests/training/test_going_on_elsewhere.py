"""Going on with a run whose data have moved, on another device, or by other words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import TrainingStopped, UserError
from genzoo.data import DataSettings, open_data
from genzoo.runs.data import moved_to
from genzoo.runs.folder import open_run
from genzoo.saved import checkpoint
from genzoo.saved.loading import load
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.use.common.images import open_for
from tests.training_help import QUICK, TINY, same_tensors, state_of, stop_at


@pytest.fixture
def cut(tmp_path, data, monkeypatch):
    """A run that was stopped half-way, and the same one that was not."""
    settings = {"steps": 6, "batch": 4, "runs": str(tmp_path / "runs"), **QUICK, "device": "auto"}
    whole = train("dcgan", data, TrainSettings(name="whole", **settings), TINY, quiet=True)
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(TrainingStopped):
            train("dcgan", data, TrainSettings(name="cut", **settings), TINY, quiet=True)
    return open_run(tmp_path / "runs" / "cut"), whole


def test_data_that_moved_are_taken_up_where_they_are_now(tmp_path, data, cut):
    run, whole = cut
    moved = tmp_path / "elsewhere" / "set.npz"
    moved.parent.mkdir()
    Path(data.data).rename(moved)
    with pytest.raises(UserError, match=r"the data of .*cut are not where they were .*genzoo resume .*cut data=PATH"):
        resume(run.path, quiet=True)
    with pytest.raises(UserError, match="there is no set and no path"):
        resume(run.path, data=str(tmp_path / "nowhere"), quiet=True)
    assert same_tensors(resume(run.path, data=str(moved), quiet=True), whole)
    assert resume(run.path, quiet=True).log() == run.log(), "and it is known from then on"
    assert load(run.path).trained["data"]["data"] == str(moved)
    assert open_for(load(run.path)).digest


def test_a_finished_run_is_told_where_its_data_are(tmp_path, data):
    settings = TrainSettings(
        steps=2, batch=4, name="a", runs=str(tmp_path), measure="swd", measure_n=10, measure_every=1, **QUICK
    )
    run = train("dcgan", data, settings, TINY, quiet=True)
    before = state_of(run)[1], load(run.path).state_dict(), load(run.path / "best").state_dict()
    moved = tmp_path / "set.npz"
    Path(data.data).rename(moved)
    with pytest.raises(UserError, match=r"data=.*are not where they were|not there any more"):
        genzoo.evaluate(run, measures="swd", n=10)
    resume(run.path, data=str(moved), quiet=True)
    after = state_of(run)[1], load(run.path).state_dict(), load(run.path / "best").state_dict()
    for a, b in zip(before, after, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(t, b[k]) for k, t in a.items())
    assert load(run.path / "best").trained["data"]["data"] == str(moved)
    assert "SWD x 1000" in genzoo.evaluate(run, measures="swd", n=10)["measures"]


def test_other_data_in_place_of_those_that_moved_are_refused(tmp_path, data, cut):
    run, whole = cut
    other, config = tmp_path / "other.npz", (run.path / "config.toml").read_bytes()
    for images in (np.zeros((24, 8, 8), np.uint8), np.zeros((24, 4, 4, 3), np.uint8)):
        np.savez(other, images=images)
        with pytest.raises(UserError, match=r"data=.*other\.npz does not hold what .*cut was trained on \(digest"):
            resume(run.path, data=str(other), quiet=True)
    assert (run.path / "config.toml").read_bytes() == config, "a refusal changes nothing"
    assert same_tensors(resume(run.path, quiet=True), whole)


def test_points_that_moved_are_the_same_by_their_content(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    run = train(
        "gan",
        DataSettings(str(tmp_path / "a.npy")),
        TrainSettings(steps=2, batch=4, runs=str(tmp_path), **QUICK),
        quiet=True,
    )
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    assert resume(run.path, data=str(tmp_path / "b.npy"), steps=3, quiet=True).log()[-1]["step"] == 3
    np.save(tmp_path / "b.npy", np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32))
    with pytest.raises(UserError, match="have changed"):
        resume(run.path, quiet=True)


def test_a_checkpoint_with_the_digest_of_an_earlier_version_goes_on(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    about = DataSettings(str(tmp_path / "a.npy"))
    run = train("gan", about, TrainSettings(steps=2, batch=4, runs=str(tmp_path), **QUICK), quiet=True)
    (state, *_) = run.states()
    tensors, meta = checkpoint.read(state)
    checkpoint.write(state, tensors, {**meta, "data_digest": open_data(about, quiet=True).former})
    assert resume(run.path, steps=3, quiet=True).log()[-1]["step"] == 3


def test_captions_among_the_data_move_with_them(tmp_path):
    about = DataSettings("old/set", captions="old/set/words/c.csv")
    assert moved_to(about, "new") == DataSettings("new", captions="new/words/c.csv")
    assert moved_to(DataSettings("old/set", captions="c.csv"), "new").captions == "c.csv"


def test_a_device_that_is_not_here_is_named_with_what_to_type(tmp_path, data, cut, monkeypatch):
    run, whole = cut
    config = run.path / "config.toml"
    config.write_text(re.sub(r'device = "auto"', 'device = "cuda:7"', config.read_text()))
    with pytest.raises(UserError, match=r"device=cuda:7 .*this machine has cpu.*genzoo resume .*cut device=cpu'"):
        resume(run.path, quiet=True)
    with pytest.raises(UserError, match="device=tpu"):
        resume(run.path, device="tpu", quiet=True)
    assert 'device = "cuda:7"' in config.read_text()
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(TrainingStopped):
            resume(run.path, device="cpu", quiet=True)
    assert 'device = "cpu"' in config.read_text()
    assert same_tensors(resume(run.path, quiet=True), whole), "it was the same device all along"


def test_what_was_begun_on_another_device_is_said_and_has_its_own_noise(tmp_path, data, cut, capsys):
    """A state of a GPU: its generator is not here, and the CPU's is not the one that made the noise."""
    run, _ = cut
    (state, *_) = run.states()
    tensors, meta = checkpoint.read(state)
    checkpoint.write(state, tensors, {**meta, "device": "cuda"})
    resume(run.path, device="cpu")
    assert "was on cuda until step 3; on cpu it goes on from there, but not to the bit" in capsys.readouterr().err


def test_half_precision_goes_on_in_single_on_a_cpu(tmp_path, data, cut, capsys):
    run, whole = cut
    config = run.path / "config.toml"
    config.write_text(re.sub(r'precision = "fp32"', 'precision = "fp16"', config.read_text()))
    with pytest.raises(UserError, match="fp16 is not for the CPU"):
        resume(run.path, quiet=True)
    assert same_tensors(resume(run.path, device="cpu"), whole)
    assert "goes on in fp32" in capsys.readouterr().err
    assert 'precision = "fp32"' in config.read_text()


def test_the_command_line_and_python_take_the_same_keys(tmp_path, data, cut, capsys):
    run, whole = cut
    Path(data.data).rename(tmp_path / "b.npz")
    assert main(["resume", str(run.path), "device=cpu", f"data={tmp_path / 'b.npz'}"]) == 0
    assert same_tensors(genzoo.resume(run, device="cpu", data=tmp_path / "b.npz", quiet=True), whole)


def test_a_run_of_several_processes_of_an_earlier_version_goes_on_and_says_so(tmp_path, cut, capsys):
    """Each of them had written a file of its own, with noise of its own."""
    run, whole = cut
    newest = run.states()[0]
    tensors, meta = checkpoint.read(newest)
    checkpoint.write(newest, tensors, {**meta, "world": 2})
    newest.with_name(newest.name.replace(".safetensors", ".rank1.safetensors")).write_bytes(b"of the other process")
    again = resume(run.path)
    told = capsys.readouterr().err
    assert "was trained until step 3 by 2 processes of an earlier version, each with noise of its own" in told
    assert same_tensors(whole, again), "the first process's noise is one process's"
