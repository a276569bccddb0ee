"""Promises of how a system learns."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from genzoo.core import schema
from genzoo.core.capabilities import Fits, Samples, capabilities
from genzoo.runs.folder import Run, newest_state
from genzoo.saved.loading import load
from genzoo.testing.case import CPU, Case, Skip, gen, promise
from genzoo.testing.data import batch_for
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.training.update import Updater


@promise()
def no_parameter_has_two_owners_and_owned_parameters_are_its_own(case: Case) -> None:
    """Gives every trainable parameter to one optimizer, and no other one."""
    system = case.build()
    owned = [p for o in system.optimizers().values() for g in o.param_groups for p in g["params"]]
    assert len({id(p) for p in owned}) == len(owned)
    assert {id(p) for p in owned} <= {id(p) for p in system.parameters()}
    if isinstance(system, Fits):
        assert not owned
    else:
        assert {id(p) for p in owned} == {id(p) for p in system.parameters() if p.requires_grad}


@promise()
def each_update_moves_only_what_its_optimizer_owns_and_each_optimizer_moves_something(case: Case) -> None:
    """Moves in each update only what its optimizer owns, and with each optimizer something."""
    torch.manual_seed(0)
    system = case.build()
    if isinstance(system, Fits):
        raise Skip("learns without optimizers")
    update, names, moved = Updater(system, CPU), {p: n for n, p in system.named_parameters()}, set[str]()

    class Watched:
        step, steps, progress = 0, 20, 0.0

        def __call__(self, player: str, loss: Tensor) -> None:
            before = {n: p.detach().clone() for n, p in system.named_parameters()}
            update(player, loss)
            changed = {n for n, p in system.named_parameters() if not torch.equal(p, before[n])}
            assert changed <= {names[p] for p in update.owned[player]}
            moved.update({player} if changed else set())
            assert all(p.grad is None for p in system.parameters())

    watched = Watched()
    for step in range(12):
        update.begin(step, 20)
        watched.step, watched.progress = step, step / 20
        logs = system.train().training_step(batch_for(system, seed=step), watched)
        assert all(
            not v.requires_grad and v.ndim == 0 and torch.isfinite(v)
            for v in logs.values()
            if torch.is_tensor(v) and v is not logs.get("loss")
        )
    assert moved == set(system.optimizers())


@promise(presets=False)
def learns_in_bf16_with_float32_weights(case: Case) -> None:
    """Learns in bf16, its weights staying finite and float32."""
    torch.manual_seed(0)
    system = case.build()
    if isinstance(system, Fits):
        raise Skip("learns without networks")
    half = Runtime(torch.device("cpu"), "bf16")
    update = Updater(system, half)
    for step in range(3):
        update.begin(step, 3)
        with half.autocast():
            logs = system.train().training_step(batch_for(system, seed=step), update)
        update.end()
    assert all(torch.isfinite(v) for v in logs.values())
    assert sum(update.counts().values()) == 0
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in system.parameters())


@promise(presets=False)
def whole_numbers_serve_where_numbers_are_asked_for(case: Case) -> None:
    """Takes whole numbers where numbers are asked for.

    Adam takes its decays as floats only: beta1=0 from Python is 0.0 by the time it gets there.
    """
    decays = [k for k, v in case.build().hparams.items() if "beta" in k and isinstance(v, float)]
    system = case.build(**dict.fromkeys(decays, 0))
    assert all(isinstance(system.hparams[k], float) for k in decays)
    system.optimizers()


@promise()
def an_exact_likelihood_of_images_has_no_statistics_over_the_batch(case: Case) -> None:
    """Has no statistics over the batch where it says that its likelihood is exact.

    In training they would tell a pixel of those after it, by way of the other images.
    """
    system = case.build()
    if not str(getattr(system, "likelihood", "")).startswith("exact"):
        raise Skip("gives no exact likelihood")
    assert not [m for m in system.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@promise()
def learning_rate_scale_is_finite_and_not_negative(case: Case) -> None:
    """Scales its learning rate by a finite number that is not negative."""
    system = case.build()
    assert all(0 <= system.lr_scale(p / 50) <= 1.5 for p in range(50))


@promise(presets=False)
def trains_from_one_line_stops_and_resumes_bit_for_bit(case: Case) -> None:
    """Trains by one line, and once killed goes on to the same weights, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        _resumes(case, Path(folder))


def _resumes(case: Case, folder: Path) -> None:
    cls, data = case.cls, case.data(folder / "data")
    tiny = {k: v for k, v in cls.tiny.items() if k not in schema.FROM_DATA}
    settings: dict[str, Any] = {
        "batch": 4,
        "runs": str(folder),
        "device": "cpu",
        "precision": "fp32",
        "sample_every": 1000,
        "ema": 0.5,
        "seed": 3,
    }
    if "fits" not in capabilities(cls):
        settings["steps"] = 5
    whole = train(cls, data, TrainSettings(name="whole", **settings), tiny, quiet=True)
    original = Trainer._one

    def one(self: Trainer, batch: Any) -> Any:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    with mock.patch.object(Trainer, "_one", one):
        try:
            train(cls, data, TrainSettings(name="cut", **settings), tiny, quiet=True)
        except RuntimeError as stopped:
            assert "SIGTERM" in str(stopped)
    cut = resume(folder / "cut", quiet=True)
    (step_a, a), (step_b, b) = (_state_of(run) for run in (whole, cut))
    assert step_a == step_b
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a), [k for k in a if not torch.equal(a[k], b[k])]
    first, second = load(whole.path), load(cut.path)
    if isinstance(first, Samples) and isinstance(second, Samples):
        assert torch.equal(first.sample(2, generator=gen()), second.sample(2, generator=gen()))


def _state_of(run: Run) -> tuple[int, dict[str, torch.Tensor]]:
    """Return the last step of a run on one device, and all that its state holds."""
    found = newest_state(run)
    assert found is not None
    step, tensors, _ = found
    return step, tensors
