"""Vision-aided GAN: the probe is right where the answer is known, experts are added at their time by its verdict, and the losses are the paper's."""

from __future__ import annotations

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.losses.adversarial import discriminator_loss
from genzoo.models.adversarial.vision_aided_gan import VisionAidedGAN, probe_accuracy, smoothed_loss
from tests.adversaries import Update, gen, play

TINY = VisionAidedGAN.tiny


def test_the_probe_knows_what_can_be_told_apart():
    g = torch.Generator().manual_seed(0)
    noise = lambda n=2000, d=3: torch.randn(n, d, generator=g)  # noqa: E731
    assert float(probe_accuracy(noise(), noise())) == pytest.approx(
        0.5, abs=0.04
    )  # held out: it cannot learn noise by heart
    wide = float(probe_accuracy(noise(60, 400), noise(60, 400)))
    assert wide == pytest.approx(0.5, abs=0.2), "more features than rows: fitted rows would be told apart perfectly"
    shift = torch.tensor([2.0, 0.0, 0.0])
    found = float(probe_accuracy(noise(8000) + shift, noise(8000)))
    assert found == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=0.015)  # Φ(1), the best possible
    scaled = float(probe_accuracy((noise(8000) + shift) * 1e3 + 5e4, noise(8000) * 1e3 + 5e4))
    assert scaled == pytest.approx(found, abs=0.02), "units do not matter"
    assert float(probe_accuracy(noise(), 3 * noise())) < 0.6, "a linear probe sees no difference of spread"
    constant = torch.ones(20, 2)
    assert float(probe_accuracy(constant, constant)) == pytest.approx(0.5, abs=0.01)


def test_one_sided_smoothing():
    a, b = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 0.5])
    torch.testing.assert_close(smoothed_loss(a, b, 1.0), discriminator_loss("non-saturating", a, b))
    best = math.log(0.8 / 0.2)  # the logit at which a smoothed real image costs least
    grid = torch.linspace(-4, 6, 2001)
    costs = torch.stack([smoothed_loss(x[None], torch.tensor([-50.0]), 0.8) for x in grid])
    assert grid[costs.argmin()].item() == pytest.approx(best, abs=0.01)


class Told(Update):
    """An update that remembers what the players minimized."""

    def __init__(self, system, steps):
        super().__init__(system, steps)
        self.losses = []

    def __call__(self, name, loss):
        self.losses.append((self.step, name, float(loss.detach())))
        super().__call__(name, loss)


def test_experts_are_added_one_by_one_at_their_time():
    torch.manual_seed(0)
    system = VisionAidedGAN(**TINY | {"start": 0.3, "interval": 0.4, "probe": 8})
    update, team, logged = Told(system, 10), [], []
    for step in range(10):
        update.step = step
        logs = system.train().training_step({"image": torch.rand(4, 1, 16, 16) * 2 - 1}, update)
        team.append(int((system.chosen >= 0).sum()))
        logged.append(sorted(k for k in logs if k.startswith("lenet")))
    assert team == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert [len(names) for names in logged] == team
    assert sorted(system.chosen.tolist()) == [0, 1]
    first = int(system.chosen[0])
    assert system.accuracies[0].argmax() == first
    assert system.accuracies[1, first] == -1, "who is in the team is not probed again"
    assert 0 <= float(system.accuracies[1, 1 - first]) <= 1
    heads = {n.split(".")[1] for n in update.moved["d"] if n.startswith("C.")}
    assert heads == {"0", "1"}
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D", "C"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}


def test_the_one_whose_features_tell_best_is_chosen(monkeypatch):
    """Of two experts one is blind: whichever place it has in the bank, the other one is chosen."""
    for blind in (0, 1):
        torch.manual_seed(0)
        system = VisionAidedGAN(**TINY | {"added": 1, "probe": 64})
        sees = type(system.F[0]).pooled

        def pooled(self, x, blind=system.F[blind], sees=sees):
            found = sees(self, x)
            return torch.zeros_like(found) if self is blind else found

        with monkeypatch.context() as patch:
            patch.setattr(type(system.F[0]), "pooled", pooled)
            bright = torch.ones(32, 1, 16, 16) * 0.9
            play(
                system,
                steps=4,
                total=100,
                data=lambda bright=bright: {"image": bright + 0.05 * torch.randn_like(bright)},
            )
        assert system.chosen.tolist() == [1 - blind]
        assert float(system.accuracies[0, 1 - blind]) == 1.0
        assert float(system.accuracies[0, blind]) == pytest.approx(0.5)


def test_before_the_first_choice_it_is_the_ordinary_game():
    torch.manual_seed(0)
    system, seen = VisionAidedGAN(**TINY | {"start": 0.9, "interval": 0.05, "penalty_weight": 0.0}), []
    update = Told(system, 100)
    real = torch.rand(4, 1, 16, 16) * 2 - 1
    torch.manual_seed(1)
    fake = system.G(system._draw(4)).detach()
    seen = discriminator_loss("non-saturating", system.D(real), system.D(fake)).item()
    torch.manual_seed(1)
    system.training_step({"image": real}, update)
    assert update.losses[0][2] == pytest.approx(seen, rel=1e-5)
    assert not [n for n in update.moved["d"] if n.startswith("C.")]


def test_the_experts_loss_is_weighed_and_reaches_the_generator():
    """With equal randomness the loss is linear in the weight, in both players' steps."""
    found = []
    for weight in (0.0, 1.0, 2.0):
        torch.manual_seed(0)
        system = VisionAidedGAN(**TINY | {"expert_weight": weight, "lr": 1e-9, "augment": ()})
        system.chosen[:] = torch.tensor([0, 1])
        update = Told(system, 100)
        update.step = 50
        torch.manual_seed(1)
        system.training_step({"image": torch.rand(4, 1, 16, 16) * 2 - 1}, update)
        found.append([loss for _, _, loss in update.losses])
    for zero, one, two in zip(*found, strict=True):
        assert one - zero > 0.1
        assert two - one == pytest.approx(one - zero, rel=1e-3)


def test_what_a_choice_needs_is_resumed_but_not_shipped():
    system = VisionAidedGAN(**TINY)
    play(system, steps=1)
    buffers = dict(system.named_buffers())
    assert buffers["seen_0"].abs().sum() > 0
    state = system.state_dict()
    assert "seen_0" not in state
    assert {"chosen", "accuracies", "F.0.digest", "F.1.digest"} <= set(state)
    assert not [k for k in state if "conv1" in k], "no weight of an expert"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"experts": ("vgg16",), "added": 2}, "at least as many"),
        ({"experts": ("vgg16", "vgg16"), "added": 1}, "different experts"),
        ({"start": 0.9, "interval": 0.2}, "after the end"),
        ({"shape": (4, 32, 32)}, "1 or 3 channels"),
        ({"shape": (1, 32, 2000)}, "from 8 to 1024"),
        ({"experts": "vgg17"}, "experts"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(keys, said):
    with pytest.raises(UserError, match=said):
        VisionAidedGAN(**keys)


def test_every_missing_expert_is_said_before_the_first_step(monkeypatch):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    system = VisionAidedGAN(shape=(3, 32, 32), width=8)
    assert system.eval().sample(1, generator=gen()).shape == (1, 3, 32, 32)
    with pytest.raises(UserError, match="weights of efficientnet-lite0 are missing"):
        system.optimizers()
