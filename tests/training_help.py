"""What the tests of the trainer share: small settings, states that are compared, a signal in the middle of a step."""

from __future__ import annotations

import os
import signal

import torch
from torch import nn

from genzoo.core.system import System
from genzoo.runs.folder import newest_state
from genzoo.training.loop import Trainer

TINY = {"width": 8, "latent": 8}
QUICK = {"device": "cpu", "precision": "fp32", "sample_every": 100, "log_every": 1, "ema": 0.9}


def state_of(run):
    """Everything in the newest checkpoint but the clock."""
    step, tensors, meta = newest_state(run)
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


def same_tensors(a, b):
    (step_a, tensors_a, _), (step_b, tensors_b, _) = state_of(a), state_of(b)
    assert (step_a, tensors_a.keys()) == (step_b, tensors_b.keys())
    return not [name for name, t in tensors_a.items() if not torch.equal(t, tensors_b[name])]


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
