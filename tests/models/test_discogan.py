"""DiscoGAN: its three models by hand, who steps when, and what the second round trip is for."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.translation.discogan import DiscoGAN, discriminator, generator
from genzoo.naming.registry import create
from tests.models.test_cyclegan import Update, batch

TINY = dict(DiscoGAN.tiny)


def test_nets_have_the_papers_layers():
    net = generator(3, 64, 4)
    assert [m.out_channels for m in net if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512]
    assert [m.out_channels for m in net if isinstance(m, nn.ConvTranspose2d)] == [256, 128, 64, 3]
    assert [m.num_features for m in net if isinstance(m, nn.BatchNorm2d)] == [128, 256, 512, 256, 128, 64]
    judge = discriminator((3, 64, 96), 8, 4)
    assert judge(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 1, 1)
    assert isinstance(judge[1], nn.LeakyReLU), "no norm after the first convolution"
    assert sum(isinstance(m, nn.BatchNorm2d) for m in judge) == 3


def test_networks_have_as_many_parameters_as_the_authors():
    """Theirs have no bias in the first and last layers."""
    maps = 3 * 64 + 64 * 128 + 128 * 256 + 256 * 512
    count = [
        sum(p.numel() for p in net.parameters()) for net in (generator(3, 64, 4), discriminator((3, 64, 64), 64, 4))
    ]
    assert count[0] - 64 - 3 == 16 * 2 * maps + 2 * (128 + 256 + 512 + 256 + 128 + 64)
    assert count[1] - 64 - 1 == 16 * (maps + 512) + 2 * (128 + 256 + 512)


@pytest.mark.parametrize("name", ["discogan", "discogan-one-way", "discogan-no-cycle"])
def test_objective_by_hand(name):
    torch.manual_seed(0)
    system, data = create(name, **TINY, g_steps=1, lr=1e-12, weight_decay=0.0).train(), batch()
    a, b = data["a"], data["b"]
    with torch.no_grad():
        fake_b, fake_a = system.a2b(a), system.b2a(b)
        g = -(system.D_b(fake_b).sigmoid().log().mean() + system.D_a(fake_a).sigmoid().log().mean())
        if name != "discogan-no-cycle":
            g = g + (system.b2a(fake_b) - a).square().mean()
        if name == "discogan":
            g = g + (system.a2b(fake_a) - b).square().mean()
        d = 0.0
        for net, real, fake in ((system.D_a, a, fake_a), (system.D_b, b, fake_b)):
            d = d - net(real).sigmoid().log().mean() - (1 - net(fake).sigmoid()).log().mean()
    update = Update(system)
    logs = system.training_step(data, update)
    assert [n for n, _ in update.calls] == ["g", "d"]
    assert update.calls[0][1] == pytest.approx(g.item(), rel=1e-4)
    assert update.calls[1][1] == pytest.approx(d.item(), rel=1e-4)
    terms = {"discogan": {"home_a", "home_b"}, "discogan-one-way": {"home_a"}, "discogan-no-cycle": set()}[name]
    assert set(logs) == {"g_loss", "d_loss", "g_a2b", "g_b2a"} | terms


def test_discriminators_step_after_every_second_step_of_the_generators():
    system = DiscoGAN(**TINY)
    update = Update(system)
    for update.step in range(4):
        system.training_step(batch(), update)
    assert [n for n, _ in update.calls] == ["g", "g", "d", "g", "g", "d"]


def test_weights_decay():
    groups = DiscoGAN(**TINY).optimizers()["g"].param_groups
    assert groups[0]["weight_decay"] == 1e-4
    assert groups[0]["betas"] == (0.5, 0.999)


def test_two_way_reconstruction_keeps_images_of_a_apart():
    """The paper's point: with the one-way loss alone, B to A to B is nobody's business, and does not come home."""
    home = {}
    for name in ("discogan", "discogan-one-way"):
        torch.manual_seed(0)
        system = create(name, **{**TINY, "width": 8}, lr=2e-3, reconstruction=10.0)
        update = Update(system)
        for update.step in range(80):
            data = {side: F.interpolate(torch.rand(4, 3, 2, 2) * 2 - 1, (8, 8)) for side in "ab"}
            system.training_step(data, update)
        b = data["b"]
        home[name] = F.mse_loss(system.a2b(system.b2a(b)), b).item()
    assert home["discogan"] < 0.7 * home["discogan-one-way"]


def test_directions_and_sizes():
    system = DiscoGAN(**TINY).eval()
    x = torch.rand(1, 3, 8, 16) * 2 - 1
    assert system.translate(x).shape == system.translate(x, direction="b2a").shape == x.shape
    with pytest.raises(UserError, match="a2b or b2a"):
        system.translate(x, direction="there")
    with pytest.raises(UserError, match="multiples of 4"):
        system.translate(torch.zeros(1, 3, 9, 8))
    with pytest.raises(UserError, match="multiples of 16, from 32"):
        DiscoGAN(shape=(3, 24, 32), width=4)
