"""The trainer: exact resume, signals, ranks, folders, schedules."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from genzoo.core.errors import DamagedFile, TrainingStopped, UserError
from genzoo.data import DataSettings
from genzoo.naming import registry
from genzoo.runs.folder import held, newest_state, open_run
from genzoo.saved import checkpoint
from genzoo.saved.loading import load
from genzoo.training.loop import Trainer
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.training.update import Average, schedule
from tests.training_help import QUICK, TINY, Fragile, assert_same_state, same_tensors, state_of, stop_at


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
    step, *_ = newest_state(run, said.append)
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
import torch
torch.set_num_threads(1)
import torch.distributed as dist
from genzoo.training.loop import Trainer
from genzoo.training.settings import TrainSettings
from genzoo.training.start import train, resume
from genzoo.ranks.launch import leave
from genzoo.ranks.sums import everybody
from genzoo.data import DataSettings
import sys
data, runs = sys.argv[1:3]
worst = {}
original = Trainer.fit
def fit(self):
    original(self)
    every = [everybody(t.detach()[None]) for t in [*self.system.parameters(), *self.system.buffers(), torch.get_rng_state()]]
    worst[self.run.name] = max(float((t[0].double() - t[1].double()).abs().max()) for t in every)
Trainer.fit = fit
for name in ("two", "half"):
    settings = TrainSettings(steps=6, batch=6, save_every=3, name=name, runs=runs, device="cpu", precision="fp32",
                             sample_every=100, log_every=1, ema=0.9)
    run = train("dcgan", DataSettings(data=data, size=8), settings, {"width": 8, "latent": 8}, quiet=True)
dist.barrier()
if dist.get_rank() == 0:
    for path in (run.path / "state").glob("step-000000006*"):
        path.unlink()
dist.barrier()
resume(run.path, quiet=True)
assert worst == {"two": 0.0, "half": 0.0}, worst
leave()
"""


def test_two_ranks_agree_bit_for_bit_resume_exactly_and_go_on_as_one(tmp_path, data):
    """A run of two processes, cut in the middle, ends as the whole one does; and as one process does that goes on from there, up to rounding."""
    script = tmp_path / "ranks.py"
    script.write_text(textwrap.dedent(RANKS))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(script), data.data, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    two, half = open_run(tmp_path / "two"), open_run(tmp_path / "half")
    assert same_tensors(two, half)
    assert not list((two.path / "state").glob("*rank*")), "one file is the whole state"
    half.states()[0].unlink()
    resume(half.path, quiet=True)
    (_, a, _), (_, b, _) = state_of(two), state_of(half)
    for name, t in a.items():
        torch.testing.assert_close(b[name], t, rtol=1e-5, atol=1e-6)


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
