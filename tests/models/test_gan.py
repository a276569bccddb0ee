"""The GAN of 2014: its nets, its algorithm, its theory where both densities are known, and what a lost game does to the gradient."""

import math

import pytest
import torch
from torch import nn

from genzoo.data.sources.planar import draw
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.metrics.modes import mode_counts, ring_modes
from genzoo.models.adversarial.gan import GAN, MaxoutDiscriminator
from genzoo.naming.registry import create
from genzoo.nn.gan.maxout import Maxout
from tests.adversaries import Update, gen, play

TINY = GAN.tiny


def test_the_papers_nets():
    system = GAN()
    assert [m.out_features for m in system.G.modules() if isinstance(m, nn.Linear)] == [1200, 1200, 784]
    assert [(m.linear.out_features, m.pieces) for m in system.D.modules() if isinstance(m, Maxout)] == [(1200, 5)] * 2
    assert [m.p for m in system.D.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    paper = create("gan-paper", **TINY)
    assert isinstance(paper.optimizers()["g"], torch.optim.SGD)
    assert paper.optimizers()["g"].defaults["momentum"] == 0.5


def test_maxout_is_the_largest_of_its_pieces():
    layer, x = Maxout(3, 4, 5), torch.randn(6, 3)
    by_hand = torch.stack(
        [
            torch.stack([x @ layer.linear.weight[5 * i + j] + layer.linear.bias[5 * i + j] for j in range(5)], 1).amax(
                1
            )
            for i in range(4)
        ],
        1,
    )
    assert torch.allclose(layer(x), by_hand, atol=1e-6)
    a, b = torch.randn(2, 200, 3)
    assert (layer((a + b) / 2) <= (layer(a) + layer(b)) / 2 + 1e-6).all()  # convex in its input


def test_images_are_bounded_and_points_are_not():
    images = GAN(**TINY)
    with torch.no_grad():
        images.G.net[-1].bias.fill_(50.0)
        assert images.sample(2, generator=gen()).eq(1).all()
    points = GAN(shape=(2,), latent=4, width=8)
    with torch.no_grad():
        points.G.net[-1].bias.fill_(50.0)
    assert points.sample(2, generator=gen()).min() > 40


def test_the_prior():
    z = GAN(**TINY).sample_prior(4000, generator=gen())
    assert z.abs().max() <= 1
    assert z.std().item() == pytest.approx(3**-0.5, rel=0.02)
    assert GAN(**TINY, prior="normal").sample_prior(4000, generator=gen()).std().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("k", [1, 3])
def test_algorithm_1(k):
    """k steps of D before each of G; every step on noise of its own; each moves its player alone."""
    system, seen = GAN(**TINY, critic_steps=k), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    update, _ = play(system, steps=2 * k)
    assert update.calls == ([*["d"] * k, "g"]) * 2
    assert len(seen) == len(update.calls)
    assert len({tuple(z.flatten().tolist()) for z in seen}) == len(seen)
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}


def test_dropout_acts_in_training_only():
    net = MaxoutDiscriminator((1, 8, 8), 8, 2, 0.5, 0.2)
    x = torch.randn(1, 1, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_the_best_discriminator_and_its_value():
    """Proposition 1 and theorem 1 on two discrete laws: D* = p / (p + q), and V = −2 log 2 + 2 JSD."""
    p, q = torch.tensor([0.5, 0.3, 0.2, 0.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    logits = torch.zeros(4, requires_grad=True)

    def loss():
        # the weighted mean of the loss over the four values: each enters as often as its probability says
        real = torch.stack([discriminator_loss("minimax", a[None], torch.tensor([-1e4])) for a in logits])
        fake = torch.stack([discriminator_loss("minimax", torch.tensor([1e4]), a[None]) for a in logits])
        return (p * real).sum() + (q * fake).sum()

    optimizer = torch.optim.LBFGS([logits], lr=0.5, max_iter=200)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert torch.allclose(logits.sigmoid(), p / (p + q), atol=2e-3)
    m = (p + q) / 2
    jsd = (torch.special.xlogy(p, p / m).sum() + torch.special.xlogy(q, q / m).sum()) / 2
    assert -loss().item() == pytest.approx(-2 * math.log(2) + 2 * jsd.item(), abs=2e-3)


def test_when_the_discriminator_wins_only_minimax_loses_its_gradient():
    """Section 3, on the nets themselves: D is trained alone until it rejects every sample."""
    torch.manual_seed(0)
    system = GAN(**TINY, lr=1e-2, dropout=0.0, input_dropout=0.0)
    real, z = torch.ones(32, 1, 8, 8) * 0.9, system._draw(32)
    update = Update(system)

    def norm(objective):
        loss = generator_loss(objective, system.D(system.G(z)))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(system.G.parameters()))]).norm().item()

    level = {o: norm(o) for o in ("minimax", "non-saturating")}
    assert level["minimax"] == pytest.approx(level["non-saturating"], rel=0.5)  # both half of D's slope where D = 1/2
    for _ in range(100):
        update("d", discriminator_loss("minimax", system.D(real), system.D(system.G(z).detach())))
    confidence = system.D(system.G(z)).sigmoid().mean().item()
    assert confidence < 1e-3
    assert norm("minimax") < 10 * confidence * norm("non-saturating")
    assert norm("non-saturating") > level["non-saturating"] / 2


def test_it_finds_modes_of_the_ring():
    """After 400 steps samples lie around several modes; an untrained generator's lie around none."""
    torch.manual_seed(0)
    system = create("gan-points", shape=(2,), width=64, units=32)
    data = torch.from_numpy(draw("ring", 4096, seed=0, split="train"))

    def near():
        return mode_counts(system.eval().sample(1000, generator=gen()), ring_modes(), 0.1)  # 3 sigma: 0.3 of radius 1

    assert near()["modes"] == 0
    play(system, steps=400, data=lambda: {"points": data[torch.randint(len(data), (64,))]})
    assert near()["modes"] >= 4
    assert near()["high_quality"] > 0.4


def test_remedies_are_off_by_default_and_change_no_draw():
    """The same weights and losses as before they were arguments: the default step draws what it drew."""
    torch.manual_seed(0)
    system = GAN(**TINY)
    _, logs = play(system, steps=3)
    torch.manual_seed(0)
    same = GAN(**TINY, instance_noise=0.0, spectral_norm=False, penalty="none", penalty_weight=5.0)
    _, again = play(same, steps=3)
    assert all(torch.equal(p, q) for p, q in zip(system.parameters(), same.parameters(), strict=True))
    assert logs["d_loss"] == again["d_loss"]


@pytest.mark.parametrize(
    "remedy",
    [
        {"penalty": "r1"},
        {"penalty": "wgan-gp"},
        {"penalty": "dragan"},
        {"spectral_norm": True},
        {"instance_noise": 0.3},
    ],
    ids=str,
)
def test_every_remedy_trains_on_points_and_is_there(remedy):
    torch.manual_seed(0)
    points = {"shape": (2,), "latent": 2, "width": 8, "units": 8, "pieces": 2, "dropout": 0.0, "input_dropout": 0.0}
    data = lambda: {"points": torch.randn(16, 2)}  # noqa: E731
    losses = []
    for keys in ({}, remedy):
        torch.manual_seed(0)
        system, seen = GAN(**points, **keys), []
        system.D.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].detach()))
        torch.manual_seed(1)
        update, logs = play(system, steps=1, data=data)
        losses.append(float(logs["d_loss"]))
    assert update.calls == ["d", "g"]
    assert losses[0] != losses[1]
    if "spectral_norm" in remedy:
        play(system, steps=20, data=data)
        for m in system.D.modules():
            if isinstance(m, nn.Linear):
                assert torch.linalg.matrix_norm(m.weight, 2).item() == pytest.approx(1, abs=0.1)
    if "instance_noise" in remedy:
        torch.manual_seed(1)
        assert (seen[0] - torch.randn(16, 2)).std().item() == pytest.approx(0.3, rel=0.4)
