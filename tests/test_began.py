"""BEGAN: the balance k by hand and within [0, 1], the measure M, and who moves whom."""

import pytest
import torch
from torch import nn

from genzoo.core.registry import create
from genzoo.models.adversarial.began import BEGAN
from tests.adversaries import Update, gen, play

TINY = BEGAN.tiny


def with_errors(system, real, fake):
    """Let D's errors be fixed numbers (that still depend on the weights, with gradient zero)."""

    def error(x):
        anchor = 0 * sum(p.sum() for p in system.D.parameters()) + 0 * x.sum()
        return anchor + (real if (x == 1).all() else fake)

    system.error = error
    return system


def step(system, n=1, total=10):
    return play(system, steps=n, total=total, data=lambda: {"image": torch.ones(4, 1, 8, 8)})


@pytest.mark.parametrize(("real", "fake"), [(0.4, 0.1), (0.4, 0.3), (0.1, 0.9)])
def test_k_and_m_by_hand(real, fake):
    """k <- clip(k + λ (γ L(x) − L(G(z))), 0, 1) and M = L(x) + |γ L(x) − L(G(z))|, in both directions."""
    system = with_errors(BEGAN(**TINY, gamma=0.5, gain=0.1), real, fake)
    system.k.fill_(0.3)
    _, logs = step(system)
    assert logs["k"].item() == pytest.approx(0.3 + 0.1 * (0.5 * real - fake), abs=1e-6)
    assert logs["m"].item() == pytest.approx(real + abs(0.5 * real - fake), abs=1e-6)
    assert logs["real_error"].item() == pytest.approx(real)
    assert logs["fake_error"].item() == pytest.approx(fake)


@pytest.mark.parametrize(("real", "fake", "end"), [(1.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
def test_k_stays_between_0_and_1(real, fake, end):
    """Without the clip k would run to 5 or to -9 (compare_gan's first version has none)."""
    system = with_errors(BEGAN(**TINY, gain=1.0), real, fake)
    for _ in range(10):
        _, logs = step(system)
        assert 0 <= logs["k"] <= 1
    assert logs["k"] == end


def test_k_starts_at_0_and_is_saved():
    system = BEGAN(**TINY)
    assert system.k == 0
    assert "k" in system.state_dict()


def test_the_discriminators_loss_weighs_generated_images_by_k():
    """With k = 0 the generated images do not enter at all; with k = 1 D is rewarded for their error."""
    torch.manual_seed(0)
    system, x = BEGAN(**TINY), torch.rand(4, 1, 8, 8)
    got = {}

    class Spy(Update):
        def __call__(self, name, loss):
            got[name] = loss.item()

    for k in (0.0, 0.5, 1.0):
        system.k.fill_(k)
        torch.manual_seed(1)
        logs = system.training_step({"image": x}, Spy(system))
        torch.manual_seed(1)
        on_fake = system.error(system.G(system._draw(4)).detach())
        assert got["d"] == pytest.approx((logs["real_error"] - k * on_fake).item(), abs=1e-6)
        assert got["g"] == pytest.approx(logs["fake_error"].item(), abs=1e-6)


def test_each_loss_moves_only_its_player_and_noise_is_drawn_for_each():
    system, seen = BEGAN(**TINY), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    system.k.fill_(0.5)
    update, _ = play(system)
    assert update.calls == ["d", "g"]
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}
    assert not torch.equal(*seen)


def test_the_nets():
    system = create("began-paper", shape=(3, 64, 64))
    assert system.D[0].net[-1].out_features == system.G.dense.in_features == 64
    assert all(m.kernel_size == (3, 3) for m in system.modules() if isinstance(m, nn.Conv2d))
    assert [m.out_channels for m in system.D[0].net if isinstance(m, nn.Conv2d) and m.stride == (2, 2)] == [
        256,
        384,
        512,
        640,
    ]
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.Dropout, nn.ConvTranspose2d)) for m in system.modules())
    generator, decoder = (sum(p.numel() for p in m.parameters()) for m in (system.G, system.D[1]))
    assert generator == decoder


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14), (2, 31, 45)], ids=str)
def test_any_size(shape):
    system = BEGAN(shape=shape, latent=4, width=4)
    x = system.sample(2, generator=gen())
    assert x.shape == (2, *shape)
    assert system.D(x).shape == x.shape
    assert x.abs().max() <= 1


def test_m_falls_on_a_pattern():
    torch.manual_seed(0)
    system = BEGAN(**TINY, lr=2e-3)
    pattern = torch.where(torch.arange(8) < 3, 0.7, -0.7).expand(1, 1, 8, 8)
    ms = [
        play(system, data=lambda: {"image": pattern + 0.05 * torch.randn(16, 1, 8, 8)})[1]["m"].item() for _ in range(5)
    ]
    update = Update(system)
    for _ in range(150):
        logs = system.training_step({"image": pattern + 0.05 * torch.randn(16, 1, 8, 8)}, update)
    assert logs["m"] < 0.5 * min(ms)
