"""Losses that are not finite: they reach nothing, and a run that has them stops saved, with advice."""

from __future__ import annotations

import pytest
import torch

from genzoo.core.errors import TrainingStopped
from genzoo.runs.folder import open_run
from genzoo.runs.meters import Meter
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import train
from genzoo.training.update import Updater
from tests.training_help import QUICK, TINY, Fragile, state_of


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
