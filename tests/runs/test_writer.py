"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

import signal
import threading

import pytest
import torch

from genzoo.core.errors import DiskFull
from genzoo.data import DataSettings
from genzoo.runs import writer as module
from genzoo.runs.folder import Run, open_run, state_path
from genzoo.runs.writer import Writer
from genzoo.saved import checkpoint
from genzoo.training.loop import Trainer
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from tests.training_help import QUICK, TINY, assert_same_state


def living():
    """Tensors of every kind that a training has: laid out by channels, tied, a view, a part with holes, empty, of one value, of two bytes."""
    torch.manual_seed(0)
    filters = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    rows = torch.randn(6, 5)
    return {
        "filters": filters, "tied": filters, "rows": rows, "turned": rows.T, "holes": rows[:, ::2], "half": torch.randn(7).bfloat16(),
        "empty": torch.zeros(0, 3), "one": torch.tensor(3), "alike": rows.view(5, 6), "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }  # fmt: skip


@pytest.fixture
def gate(monkeypatch):
    """Lets nothing be written before it is opened."""
    opened, write = threading.Event(), checkpoint.write

    def late(*args):
        assert opened.wait(60)
        return write(*args)

    monkeypatch.setattr(module.checkpoint, "write", late)
    yield opened
    opened.set()


def test_what_is_written_is_what_was_there_when_it_was_asked_for(tmp_path, gate):
    """It is that of a file that is written at once; weights and lists may change at once, and buffers are used again."""
    tensors, meta = living(), {"list": [1]}
    writer = Writer(Run(tmp_path))
    for step in (1, 2):
        checkpoint_at_once = tmp_path / f"at-once-{step}"
        gate.set()
        checkpoint.write(checkpoint_at_once, tensors, {**meta, "list": list(meta["list"])})
        gate.clear()
        writer.save(step, tensors, meta, {"weights": tensors["filters"]}, {})
        assert writer.busy
        meta["list"].append(step)
        with torch.no_grad():
            for t in tensors.values():
                t.add_(1)
        gate.set()
        writer.wait()
        assert not writer.busy
        written = tmp_path / "state" / f"step-{step:09d}.safetensors"
        (found, said), (expected, told) = checkpoint.read(written), checkpoint.read(checkpoint_at_once)
        assert said == told
        assert found.keys() == expected.keys()
        assert all(torch.equal(t, expected[name]) and t.dtype == expected[name].dtype for name, t in found.items())
        assert not torch.equal(found["filters"], tensors["filters"]), "it has changed since"
        assert torch.equal(checkpoint.read(Run(tmp_path).model)[0]["weights"], found["filters"])


def test_a_copy_takes_no_more_memory_than_what_is_copied(tmp_path):
    """A model's tensors are among those of its state, and the layout changes in place."""
    net = torch.nn.Conv2d(64, 64, 3).to(memory_format=torch.channels_last)
    state = {f"params.{k}": v for k, v in net.named_parameters()}
    writer = Writer(Run(tmp_path))
    for step in range(3):
        writer.save(step, state, {}, net.state_dict(), {})
        writer.wait()
    kept = {b.untyped_storage().data_ptr(): b.untyped_storage().nbytes() for b in writer.copies.buffers.values()}
    assert sum(kept.values()) == sum(p.nbytes for p in net.parameters())


@pytest.fixture
def data(tmp_path):
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "data.npz", images=images)
    return DataSettings(data=str(tmp_path / "data.npz"), size=8)


def options(tmp_path, name, **more):
    return TrainSettings(**{**QUICK, "batch": 4, "steps": 30, "runs": str(tmp_path), "name": name, **more})


def test_steps_go_on_while_a_checkpoint_is_written_and_the_end_is_the_same(tmp_path, data, gate, monkeypatch):
    seen, one = [], Trainer._one

    def step(self, batch):
        seen.append((self.step, self.writer.busy))
        if self.step == 20:
            gate.set()
        return one(self, batch)

    monkeypatch.setattr(Trainer, "_one", step)
    late = train("dcgan", data, options(tmp_path, "late", save_every=25), TINY, quiet=True)
    assert all(busy for at, busy in seen if at <= 20), "the first checkpoint is not on the disk before step 20"
    assert late.states()[0].name == "step-000000030.safetensors"
    assert not list(late.path.glob("*/.*.part"))
    assert_same_state(late, train("dcgan", data, options(tmp_path, "whole", save_every=25), TINY, quiet=True))


def test_a_disk_that_fills_stops_the_training_at_once_though_no_save_is_due(tmp_path, data, monkeypatch):
    steps, one = [], Trainer._one

    def step(self, batch):
        steps.append(self.step)
        self.writer.close()  # what is being written comes to its end, good or bad
        return one(self, batch)

    def full(path, *_):
        raise DiskFull(f"no room to write {path}")

    monkeypatch.setattr(Trainer, "_one", step)
    with monkeypatch.context() as patch:
        patch.setattr(module.checkpoint, "write", full)
        with pytest.raises(DiskFull, match=r"no room to write .*step-000000000.* with 'genzoo resume"):
            train("dcgan", data, options(tmp_path, "full", save_every=1000), TINY, quiet=True)
    assert steps == [0]
    run = resume(tmp_path / "full", quiet=True)
    assert_same_state(run, train("dcgan", data, options(tmp_path, "whole", save_every=1000), TINY, quiet=True))


def test_ctrl_c_twice_waits_for_what_is_being_written(tmp_path, data, gate, monkeypatch):
    """The lock of the folder falls when nothing is written in it any more, and what was asked for is whole."""
    one = Trainer._one

    def step(self, batch):
        if self.step == 5:
            self.stop = signal.SIGINT
            threading.Timer(0.3, gate.set).start()
            signal.raise_signal(signal.SIGINT)
        return one(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one", step)
        with pytest.raises(KeyboardInterrupt):
            train("dcgan", data, options(tmp_path, "cut", save_every=1000), TINY, quiet=True)
    run = open_run(tmp_path / "cut")
    assert [p.name for p in run.states()] == ["step-000000000.safetensors"]
    assert run.model.exists()
    assert not list(run.path.glob("*/.*.part"))
    run = resume(run.path, quiet=True)
    assert_same_state(run, train("dcgan", data, options(tmp_path, "whole", save_every=1000), TINY, quiet=True))


def test_what_was_gathered_for_it_is_not_copied(tmp_path):
    whole = {"plain": torch.randn(4, 3), "turned": torch.randn(3, 4).T}
    expected = {name: t.clone() for name, t in whole.items()}
    writer = Writer(Run(tmp_path), given=lambda t: any(t is w for w in whole.values()))
    writer.save(1, {**whole, "live": torch.ones(2)}, {}, {"weights": torch.ones(2)}, {})
    writer.wait()
    assert set(writer.copies.buffers) == {"live", "model/weights"}
    written, _ = checkpoint.read(state_path(Run(tmp_path), 1))
    assert all(torch.equal(written[name], t) for name, t in expected.items())
