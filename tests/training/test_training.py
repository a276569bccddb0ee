"""The trainer: exact resume, health, signals, ranks, folders."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, TrainingStopped, UserError
from genzoo.core.system import System
from genzoo.data import DataSettings, open_data
from genzoo.naming import registry
from genzoo.runs.data import moved_to
from genzoo.runs.folder import held, newest_state, open_run
from genzoo.runs.meters import Meter
from genzoo.saved import checkpoint
from genzoo.saved.loading import load
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.training.update import Average, Updater, schedule
from genzoo.use.common.images import open_for
from tests.conftest import data_for

TINY = {"width": 8, "latent": 8}
QUICK = {"device": "cpu", "precision": "fp32", "sample_every": 100, "log_every": 1, "ema": 0.9}


@pytest.fixture
def data(tmp_path):
    return data_for("dcgan", tmp_path / "data")


def state_of(run):
    """Everything in the newest checkpoint but the clock."""
    (step, parts) = newest_state(run, 1)
    tensors, meta = parts[0]
    meta = {k: v for k, v in meta.items() if k not in ("seconds", "training")}
    return step, tensors, meta


def assert_same_state(a, b):
    (step_a, tensors_a, meta_a), (step_b, tensors_b, meta_b) = state_of(a), state_of(b)
    assert step_a == step_b
    assert meta_a == meta_b
    assert tensors_a.keys() == tensors_b.keys()
    for name, t in tensors_a.items():
        assert torch.equal(t, tensors_b[name]), name


def stop_at(monkeypatch, step, signum=signal.SIGTERM):
    """Make this process receive a signal when a trainer is in that step."""
    original = Trainer._one

    def one(self, batch):
        if self.step == step:
            os.kill(os.getpid(), signum)
        return original(self, batch)

    monkeypatch.setattr(Trainer, "_one", one)


def test_a_run_folder_has_what_it_promises(tmp_path, data):
    run = train("dcgan", data, TrainSettings(steps=4, batch=4, runs=str(tmp_path / "runs"), **QUICK), TINY, quiet=True)
    assert run.path == tmp_path / "runs" / "dcgan"
    for name in ("config.toml", "log.jsonl", "model/config.json", "model/model.safetensors", "README.md"):
        assert (run.path / name).exists(), name
    assert [p.name for p in sorted((run.path / "samples").iterdir())] == ["step_000000004.png"]
    assert [line["step"] for line in run.log()] == [1, 2, 3, 4]
    system = load(run.path)
    assert not system.training
    assert (system.name, system.trained["step"]) == ("dcgan", 4)
    again = train(
        "dcgan", data, TrainSettings(steps=1, batch=4, runs=str(tmp_path / "runs"), **QUICK), TINY, quiet=True
    )
    assert again.path.name == "dcgan-2"


@pytest.mark.parametrize(("cut", "signum", "code"), [(1, signal.SIGTERM, 143), (5, signal.SIGINT, 130)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, data, monkeypatch, cut, signum, code):
    settings = {"steps": 9, "batch": 5, "clip": 1.0, "warmup": 0.2, "decay": "cosine", **QUICK}
    whole = train("dcgan", data, TrainSettings(name="whole", runs=str(tmp_path), **settings), TINY, quiet=True)
    with monkeypatch.context() as patch:
        stop_at(patch, cut, signum)
        with pytest.raises(TrainingStopped, match=r"saved at step") as stopped:
            train("dcgan", data, TrainSettings(name="cut", runs=str(tmp_path), **settings), TINY, quiet=True)
    assert stopped.value.code == code
    run = resume(tmp_path / "cut", quiet=True)
    assert_same_state(whole, run)
    assert [line["step"] for line in run.log()] == list(range(1, 10))


TRAINING = """
import os, sys, time, torch
torch.set_num_threads(1)
from genzoo.data import DataSettings, open_data
from genzoo.training.settings import TrainSettings
from genzoo.training.start import train, resume
data, size, runs, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
if mode == "train":
    train("dcgan", DataSettings(data=data, size=size),
          TrainSettings(steps=40, batch=6, save_every=3, name="killed", runs=runs, device="cpu", precision="fp32", sample_every=20,
                        log_every=1, ema=0.9),
          {"width": 8, "latent": 8}, quiet=True)
else:
    resume(runs + "/killed", quiet=True)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_and_resume_equals_uninterrupted(tmp_path, data, kills):
    size = str(data.size[0] if isinstance(data.size, tuple) else data.size)
    settings = TrainSettings(
        steps=40, batch=6, save_every=3, name="whole", runs=str(tmp_path), **{**QUICK, "sample_every": 20}
    )
    whole = train("dcgan", DataSettings(data=data.data, size=int(size)), settings, TINY, quiet=True)
    mode, rng = "train", np.random.default_rng(kills)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(kills):
        child = subprocess.Popen([sys.executable, "-c", TRAINING, data.data, size, str(tmp_path), mode], env=env)
        folder = tmp_path / "killed" / "state"
        begun = time.monotonic()
        before = {p.name for p in folder.glob("step-*")} if folder.exists() else set()
        while (
            child.poll() is None and time.monotonic() - begun < 60
        ):  # wait for a new checkpoint, then for a random while
            if folder.exists() and {p.name for p in folder.glob("step-*")} - before:
                time.sleep(rng.random() * 0.1)
                break
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
        mode = "resume"
    subprocess.run([sys.executable, "-c", TRAINING, data.data, size, str(tmp_path), "resume"], check=True, env=env)
    assert_same_state(whole, open_run(tmp_path / "killed"))
    assert not list((tmp_path / "killed" / "state").glob(".*.part"))


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path, data, monkeypatch):
    settings = TrainSettings(steps=3, batch=4, name="early", runs=str(tmp_path), **QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("dcgan", data, settings, TINY, quiet=True)
    run = resume(tmp_path / "early", quiet=True)
    whole = train(
        "dcgan", data, TrainSettings(steps=3, batch=4, name="whole", runs=str(tmp_path), **QUICK), TINY, quiet=True
    )
    assert_same_state(whole, run)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, data, capsys):
    settings = TrainSettings(steps=6, batch=4, save_every=3, name="a", runs=str(tmp_path), **QUICK)
    run = train("dcgan", data, settings, TINY, quiet=True)
    whole = state_of(run)
    newest = run.states()[0]
    newest.write_bytes(newest.read_bytes()[:-9])
    said: list[str] = []
    step, _ = newest_state(run, 1, said.append)
    assert step == 3
    assert newest.name in said[0]
    resume(run.path, quiet=True)
    assert state_of(run)[0] == whole[0]
    assert all(torch.equal(t, whole[1][k]) for k, t in state_of(run)[1].items())
    for path in run.states():
        path.write_bytes(b"gone")
    with pytest.raises(DamagedFile, match=r"no checkpoint of .* is whole"):
        resume(run.path, quiet=True)


def test_full_disk_stops_with_the_last_checkpoint_whole(tmp_path, data, monkeypatch):
    settings = TrainSettings(steps=6, batch=4, save_every=2, name="full", runs=str(tmp_path), **QUICK)
    original = checkpoint.shutil.disk_usage

    def usage(path):
        later = list(Path(path).glob("step-*4.safetensors")) or list(Path(path).glob("step-*2.safetensors"))
        return type("U", (), {"free": 10})() if later else original(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "disk_usage", usage)
        with pytest.raises(checkpoint.DiskFull, match="genzoo resume"):
            train("dcgan", data, settings, TINY, quiet=True)
    run = resume(tmp_path / "full", quiet=True)
    whole = train(
        "dcgan",
        data,
        TrainSettings(steps=6, batch=4, save_every=2, name="whole", runs=str(tmp_path), **QUICK),
        TINY,
        quiet=True,
    )
    assert_same_state(whole, run)


def test_changed_data_is_refused(tmp_path, data):
    run = train("dcgan", data, TrainSettings(steps=2, batch=4, name="a", runs=str(tmp_path), **QUICK), TINY, quiet=True)
    np.savez(data.data, images=np.zeros((9, 8, 8), np.uint8))
    with pytest.raises(UserError, match=r"the data of .* have changed since .*put them back"):
        resume(run.path, steps=5, quiet=True)


def same_tensors(a, b):
    (step_a, tensors_a, _), (step_b, tensors_b, _) = state_of(a), state_of(b)
    assert (step_a, tensors_a.keys()) == (step_b, tensors_b.keys())
    return not [name for name, t in tensors_a.items() if not torch.equal(t, tensors_b[name])]


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


def test_two_processes_never_train_in_one_folder(tmp_path, data):
    run = train("dcgan", data, TrainSettings(steps=2, batch=4, name="a", runs=str(tmp_path), **QUICK), TINY, quiet=True)
    with held(run), pytest.raises(UserError, match=rf"another process \(pid {os.getpid()}\)"):
        resume(run.path, steps=5, quiet=True)
    with pytest.raises(UserError, match="a run named 'a' is in"):
        train("dcgan", data, TrainSettings(steps=2, batch=4, name="a", runs=str(tmp_path), **QUICK), TINY, quiet=True)


def test_a_mistake_leaves_no_folder_behind(tmp_path, data):
    settings = TrainSettings(steps=2, batch=4, runs=str(tmp_path / "runs"), **QUICK)
    for name, source, system in (
        ("dcgan", data, {"width": 0}),
        ("dcgna", data, {}),
        ("dcgan", DataSettings(data=str(tmp_path / "nowhere")), {}),
    ):
        with pytest.raises(UserError):
            train(name, source, settings, system, quiet=True)
    with pytest.raises(UserError, match="device=tpu"):
        train("dcgan", data, TrainSettings(device="tpu", runs=str(tmp_path / "runs")), TINY, quiet=True)
    assert not (tmp_path / "runs").exists()


# ---- health ------------------------------------------------------------------------------------------------------------------------


class Fragile(System):
    """Two players and a batch-norm; the loss of either can be poisoned."""

    def __init__(self, shape: tuple[int, int, int] = (1, 4, 4)) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(16, 1), nn.Linear(16, 1), nn.BatchNorm1d(16)

    def optimizers(self):
        return {"a": torch.optim.Adam(self.a.parameters(), 0.1), "b": torch.optim.RMSprop(self.b.parameters(), 0.1)}

    def training_step(self, batch, update):
        x = self.norm(batch["image"].flatten(1))
        update("a", self.a(x).square().mean() * batch["poison_a"])
        update("b", self.b(x.detach()).square().mean() * batch["poison_b"])
        return {"loss": x.mean().detach()}


@pytest.mark.parametrize("device_check", [False, True])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_never_reaches_weights_moments_or_buffers(poison, device_check):
    torch.manual_seed(0)
    system = Fragile()
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    update.waits = device_check  # the path of an accelerator, where the check stays a tensor
    ones = {"poison_a": torch.tensor(1.0), "poison_b": torch.tensor(1.0)}
    image = torch.randn(8, 1, 4, 4)

    def go(**extra):
        update.begin(0, 10)
        system.training_step({"image": image, **ones, **extra}, update)
        update.end()

    go()
    before = {k: v.clone() for k, v in system.state_dict().items()}
    moments = [v.clone() for s in update.optimizers["a"].state.values() for v in s.values()]
    go(poison_a=torch.tensor(poison))
    after = system.state_dict()
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert all(k.startswith("b.") for k in changed), changed
    assert changed, "the healthy player still learns"
    assert all(
        torch.equal(x, v)
        for x, v in zip(moments, [v for s in update.optimizers["a"].state.values() for v in s.values()], strict=True)
    )
    assert update.counts() == {"a": 1, "b": 0}
    go(image=image * poison)
    assert all(torch.isfinite(v).all() for v in system.state_dict().values())
    assert update.counts() == {"a": 2, "b": 1}
    assert int(update.in_a_row) == 2
    go()
    assert int(update.in_a_row) == 0


def test_under_autocast_a_network_is_used_with_the_weights_that_it_has_after_its_update():
    """Autocast keeps low-precision copies of weights for the whole step; an update has to make them void."""
    torch.manual_seed(0)
    system, runtime = Fragile(), Runtime(torch.device("cpu"), "bf16")
    update = Updater(system, runtime)
    update.begin(0, 10)
    x = torch.randn(8, 16)
    with runtime.autocast():
        before = system.a(x)
        update("a", before.float().square().mean())
        after = system.a(x)
    with runtime.autocast():
        fresh = system.a(x)
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh)


def test_a_run_without_finite_losses_stops_saved_with_advice(tmp_path, data, monkeypatch):
    original = Updater.__call__

    def poisoned(self, name, loss):
        original(self, name, loss * float("nan") if self.step >= 3 and name == "d" else loss)

    monkeypatch.setattr(Updater, "__call__", poisoned)
    with pytest.raises(TrainingStopped, match=r"d \(25 times\).*Try a lower lr") as stopped:
        train(
            "dcgan", data, TrainSettings(steps=100, batch=4, name="sick", runs=str(tmp_path), **QUICK), TINY, quiet=True
        )
    assert stopped.value.code == 1
    step, tensors, _ = state_of(open_run(tmp_path / "sick"))
    assert step == 28
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())


def test_the_meter_averages_what_is_finite():
    meter = Meter()
    for value in (1.0, float("nan"), 3.0):
        meter.add({"loss": torch.tensor(value)})
    meter.add({"other": torch.tensor(5.0)})
    assert meter.read() == {"loss": 2.0, "other": 5.0}
    assert meter.read() == {}


# ---- schedules, averages, ranks ----------------------------------------------------------------------------------------------------


def test_schedules_are_functions_of_progress():
    assert [schedule(p, 0.5, "none") for p in (0, 0.25, 0.5, 0.9)] == [0, 0.5, 1, 1]
    assert schedule(0.75, 0.5, "linear") == pytest.approx(0.5)
    assert schedule(0.5, 0.0, "cosine") == pytest.approx(0.5)
    assert schedule(1.0, 0.0, "cosine") == pytest.approx(0.0)


def test_the_average_is_the_textbook_recursion():
    torch.manual_seed(0)
    system = Fragile()
    average = Average(system, 0.5)
    expected = system.a.weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            system.a.weight.add_(1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * system.a.weight.detach()
    assert torch.allclose(average.system.a.weight, expected)
    assert not average.system.a.weight.requires_grad


def test_a_linear_fall_is_small_and_not_zero_at_the_last_step():
    steps = 250
    rates = [schedule(s / steps, 0.1, "linear") for s in range(steps)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 / (0.9 * steps))
    assert all(a > b for a, b in itertools.pairwise(rates[25:]))


@pytest.mark.parametrize("batch", [16, 64])
def test_the_half_life_of_the_average_in_images(batch):
    """Decay d per step forgets half in ln ½ / ln d steps: d = ½^(batch / H) has a half-life of H images at every batch."""
    half_life = 3200
    system = Fragile()
    average = Average(system, 0.5 ** (batch / half_life))
    with torch.no_grad():
        start = average.system.a.weight.clone()
        system.a.weight.add_(1.0)
    late = 10**6  # past the start, where the average forgets faster
    for step in range(half_life // batch):
        average.update(late + step)
    assert torch.allclose(average.system.a.weight, start + 0.5, atol=1e-5)


def test_the_average_copies_running_statistics():
    """Averaging them once more would lag behind the weights."""
    system = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    average = Average(system, 0.9)
    system(torch.randn(64, 3) + 5)
    average.update(10**6)
    assert torch.equal(average.system[0].running_mean, system[0].running_mean)
    assert average.system[0].num_batches_tracked == 1


RANKS = """
import os, sys, time, torch
torch.set_num_threads(1)
import torch.distributed as dist
from genzoo.training.loop import Trainer
from genzoo.training.settings import TrainSettings
from genzoo.training.start import train, resume
from genzoo.training.runtime import leave
from genzoo.training.update import shared_buffers
from genzoo.data import DataSettings, open_data
data, runs = sys.argv[1:3]
worst = {}
original = Trainer.fit
def fit(self):
    original(self)
    differences = [0.0]
    for t in [*self.system.parameters(), *shared_buffers(self.system)]:
        mean = t.detach().clone()
        self.runtime.mean([mean])
        differences.append(float((mean - t).abs().max()))
    worst[self.run.name] = max(differences)
Trainer.fit = fit
from genzoo.saved import checkpoint
from genzoo.runs import folder
# one rank clears up while the other one writes
module, slow, seconds = {"0": (folder, "sweep", 0.1), "1": (checkpoint, "_seal", 0.3)}[os.environ["RANK"]]
quick = getattr(module, slow)
setattr(module, slow, lambda path: (time.sleep(seconds), quick(path))[1])
for name in ("two", "half"):
    settings = TrainSettings(steps=6, batch=6, save_every=3, name=name, runs=runs, device="cpu", precision="fp32",
                             sample_every=100, log_every=1, ema=0.9)
    run = train("dcgan", DataSettings(data=data, size=8), settings, {"width": 8, "latent": 8}, quiet=True)
if dist.get_rank() == 0:
    for path in (run.path / "state").glob("step-000000006*"):
        path.unlink()
dist.barrier()
resume(run.path, quiet=True)
assert len(worst) == 2 and all(v == 0.0 for v in worst.values()), worst
leave()
"""


def test_two_ranks_agree_bit_for_bit_and_resume_exactly(tmp_path, data):
    script = tmp_path / "ranks.py"
    script.write_text(textwrap.dedent(RANKS))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        data.data,
        str(tmp_path),
        "dcgan",
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (newest_state(open_run(tmp_path / name), 2) for name in ("two", "half"))
    assert a is not None
    assert b is not None
    for (tensors_a, _), (tensors_b, _) in zip(a[1], b[1], strict=True):
        assert all(torch.equal(t, tensors_b[k]) for k, t in tensors_a.items())
    assert not torch.equal(a[1][0][0]["rng.cpu"], a[1][1][0]["rng.cpu"]), "each rank draws its own noise"


def test_the_registry_needs_no_torch():
    code = (
        "import sys; from genzoo.naming import registry; assert registry.entries(); "
        "assert 'torch' not in sys.modules; print(len(registry.names()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(registry.names())


def test_config_toml_reads_back_as_the_same_settings(tmp_path, data):
    run = train(
        "wgan-gp", data, TrainSettings(steps=1, batch=4, name="a", runs=str(tmp_path), **QUICK), TINY, quiet=True
    )
    import tomllib

    config = tomllib.loads((run.path / "config.toml").read_text())
    assert config["name"] == "wgan-gp"
    meta = json.loads((run.path / "model" / "config.json").read_text())
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in config["system"].items()} == {
        k: "none" if v is None else tuple(v) if isinstance(v, list) else v for k, v in meta["hparams"].items()
    }
