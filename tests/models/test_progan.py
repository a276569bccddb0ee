"""ProGAN: growth as a function of progress, fades without a jump, equalized rate, pixel norm, deviation over the batch."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.adversarial.progan import ProGAN
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear, minibatch_std, pixel_norm
from genzoo.nn.gan.growing import enlarge, growth, real_at
from tests.adversaries import Update, gen, play

SMALL = {"shape": (1, 16, 16), "latent": 4, "width": 4, "most": 8}


def test_parameters_at_1024_are_those_of_the_authors_program():
    """23,079,115 and 23,087,249 in tkarras/progressive_growing_of_gans; G's first bias is here one for each place, there for each map."""
    system = ProGAN(shape=(3, 1024, 1024), width=16)
    generator, critic = (sum(p.numel() for p in m.parameters()) for m in (system.G, system.D))
    assert generator == 23_079_115 + 15 * 512
    assert critic == 23_087_249


@pytest.mark.parametrize("levels", [0, 1, 3, 8])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_growth_is_monotone_and_ends_whole(levels, share):
    found = [growth(p / 1000, levels, share) for p in range(1000)]
    position = [level - 1 + fade for level, fade in found]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(position))
    assert all(0 <= level <= levels and 0 <= fade <= 1 for level, fade in found)
    assert found[0] == ((0, 1.0) if share and levels else (levels, 1.0))
    if share < 1:
        assert found[-1] == (levels, 1.0)
    if share and levels:
        assert {level for level, _ in found} == set(range(levels + 1))


def test_a_new_level_enters_without_a_jump():
    """At fade 0 the images and the scores are those of the level below; at 1 the old way counts no more."""
    torch.manual_seed(0)
    system = ProGAN(**SMALL)
    z, x = system._draw(4), torch.randn(4, 1, 16, 16)
    for level in (1, 2):
        low = system.G(z, level - 1, 1.0)
        assert torch.allclose(system.G(z, level, 0.0), enlarge(low), atol=1e-6)
        real = real_at(x, level, 1.0, 2)
        assert torch.allclose(system.D(real, level, 0.0), system.D(F.avg_pool2d(real, 2), level - 1, 1.0), atol=1e-5)
        assert torch.allclose(real_at(x, level, 0.0, 2), enlarge(real_at(x, level - 1, 1.0, 2)), atol=1e-6)
        half = system.G(z, level, 0.5)
        assert torch.allclose(half, (enlarge(low) + system.G(z, level, 1.0)) / 2, atol=1e-5)


def test_what_has_not_grown_does_not_move_and_samples_say_how_far_it_is():
    system = ProGAN(**SMALL)
    update, _ = play(system, steps=1, total=100)
    moved = update.moved["d"] | update.moved["g"]
    assert not any("blocks" in k or "pixels.1" in k or "pixels.2" in k for k in moved)
    coarse = system.sample(2, generator=gen())
    assert coarse.shape == (2, 1, 16, 16)
    assert torch.equal(coarse, enlarge(coarse[:, :, ::4, ::4], 4))  # four by four pixels, enlarged
    update = Update(system, 100)
    update.step = 99
    system.training_step({"image": torch.randn(4, 1, 16, 16)}, update)
    assert any("G.blocks.1" in k for k in update.moved["g"])
    assert not any("pixels.0" in k or "pixels.1" in k for k in update.moved["g"] | update.moved["d"])
    fine = system.sample(2, generator=gen())
    assert not torch.allclose(fine, enlarge(fine[:, :, ::2, ::2]))
    assert system.state_dict()["progress"].item() == pytest.approx(0.99)


def test_equalized_rate_by_hand():
    conv, dense = EqualConv2d(3, 5, 3, 1), EqualLinear(7, 2, gain=1.0)
    x, v = torch.randn(2, 3, 6, 6), torch.randn(4, 7)
    assert torch.allclose(conv(x), F.conv2d(x, conv.weight * math.sqrt(2 / 27), conv.bias, padding=1), atol=1e-6)
    assert torch.allclose(dense(v), v @ dense.weight.T / math.sqrt(7) + dense.bias, atol=1e-6)
    torch.manual_seed(0)
    wide = EqualConv2d(64, 256, 3, 1)
    assert wide.weight.std().item() == pytest.approx(1, rel=0.02)
    out = wide(torch.randn(4, 64, 16, 16))[:, :, 1:-1, 1:-1]
    assert out.square().mean().item() == pytest.approx(2, rel=0.05)  # the rectifier after it halves this


def test_pixel_norm():
    x = torch.randn(2, 8, 3, 3) * 7
    assert torch.allclose(pixel_norm(x).square().mean(1), torch.ones(2, 3, 3), atol=1e-5)
    assert torch.allclose(pixel_norm(3 * x), pixel_norm(x), atol=1e-5)
    system = ProGAN(**SMALL)
    z = system._draw(3)
    assert torch.allclose(system.decode(z), system.decode(5 * z), atol=1e-5)  # only the direction of z counts


def test_minibatch_deviation_by_hand():
    x = torch.randn(8, 3, 2, 2)
    out = minibatch_std(x)
    assert torch.equal(out[:, :3], x)
    for i in range(2):  # groups of four: examples i, i + 2, i + 4, i + 6
        members = x[i::2]
        assert torch.allclose(out[i::2, 3], members.std(0, correction=0).mean().expand(4, 2, 2), atol=1e-3)
    assert minibatch_std(x[:1].expand(4, 3, 2, 2))[:, 3].max() < 1e-3  # equal images: none
    assert minibatch_std(x[:7]).shape == (7, 4, 2, 2)


def test_the_loss_by_hand():
    """A critic that is flat: −E D(x) + E D(G) + λ (0 − 1)² + ε E D(x)²."""
    system = ProGAN(**SMALL)
    system.D.forward = lambda x, level, fade, batches=1: (
        x.flatten(1).sum(1) * 0 + 3.0 + 0 * sum(p.sum() for p in system.D.parameters())
    )
    logs = play(system)[1]
    assert logs["d_loss"].item() == pytest.approx(10 + 0.001 * 9, abs=1e-4)
    assert logs["g_loss"].item() == pytest.approx(-3)


def test_the_other_game_by_hand():
    """Scores 3 everywhere with a gradient of 2 a pixel: softplus(−3) + softplus(3) + every · γ/2 · 4 pixels, where the penalty is due."""
    system = ProGAN(**SMALL, objective="non-saturating", penalty_weight=0.5, penalty_every=3, drift=0.0, grow=0.0)
    pixels = 16 * 16
    system.D.forward = lambda x, level, fade, batches=1: (
        2 * (x - x.detach()).flatten(1).sum(1) + 3.0 + 0 * sum(p.sum() for p in system.D.parameters())
    )
    seen = {}

    class At:
        steps, progress = 8, 0.0

        def __init__(self, step):
            self.step = step

        def __call__(self, name, loss):
            seen[self.step, name] = loss.item()

    for step in range(4):
        system.training_step({"image": torch.zeros(4, 1, 16, 16)}, At(step))
    game = math.log1p(math.exp(-3)) + math.log1p(math.exp(3))
    due = game + 3 * 0.5 / 2 * 4 * pixels
    assert [seen[step, "d"] for step in range(4)] == pytest.approx([due, game, game, due], rel=1e-5)
    assert seen[0, "g"] == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (3, 40, 24)], ids=str)
def test_sizes(shape):
    system = ProGAN(shape=shape, latent=4, width=4, most=8)
    system.progress.fill_(1)
    assert system.sample(2, generator=gen()).shape == (2, *shape)
    assert system.D(torch.randn(2, *shape), system.levels, 1.0).shape == (2,)


def test_other_sizes_are_refused_with_the_next_possible_one():
    with pytest.raises(UserError, match="32x32"):
        ProGAN(shape=(1, 31, 31))
    with pytest.raises(UserError, match="8 to 1024"):
        ProGAN(shape=(1, 4, 32))
