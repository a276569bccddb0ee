"""SNGAN: spectral norms, the projection, class-conditional norms, the paper's sizes and schedule."""

import math

import pytest
import torch
from torch import nn

from genzoo.core.errors import UserError
from genzoo.models.adversarial.sngan import SNGAN, ConditionalNorm, Discriminator, DownBlock, UpBlock
from genzoo.naming.registry import create
from tests.adversaries import gen, play

TINY = SNGAN.tiny


def test_the_papers_cifar_nets():
    """Tables 3 and 4: 4x4x256, three blocks up; two blocks down at 128, two flat; sum pooling."""
    system = create("sngan-paper", shape=(3, 32, 32))
    assert system.G.start == (256, 4, 4)
    assert [(b.conv1.in_channels, b.conv2.out_channels) for b in system.G.blocks] == [(256, 256)] * 3
    assert [(b.conv1.in_channels, b.conv2.out_channels, b.halve) for b in system.D.blocks] == [
        (3, 128, True), (128, 128, True), (128, 128, False), (128, 128, False),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm2d) for m in system.G.modules()) == 7
    assert not any(isinstance(m, nn.BatchNorm2d) for m in system.D.modules())
    told = create("sngan-paper", shape=(3, 32, 32), classes=10, conditional=True)
    generator, critic = (sum(p.numel() for p in m.parameters()) for m in (told.G, told.D))
    assert generator == 4_304_387  # as pfnet-research/sngan_projection's configuration for CIFAR-10
    assert critic == 1_055_104 + 1  # its last layer has no bias
    assert system.hparams["critic_steps"] == 5
    assert system.optimizers()["d"].defaults["betas"] == (0.0, 0.9)


def test_every_weight_of_d_has_spectral_norm_one():
    torch.manual_seed(0)
    system = SNGAN(**TINY, conditional=True)
    play(system, steps=20)
    system.eval()
    found = [m for m in system.D.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(found) >= 8
    for m in found:
        assert torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_the_rate_falls_linearly_to_the_last_step():
    system, steps = SNGAN(**TINY), 400
    rates = [system.lr_scale(s / steps) for s in range(steps)]
    assert rates[0] == 1
    assert rates[-1] == pytest.approx(1 / steps)  # small, and still a step
    assert rates == sorted(rates, reverse=True)


def test_critic_steps_and_fresh_noise():
    system, seen = SNGAN(**TINY), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    update, logs = play(system, steps=4)
    assert update.calls == ["d", "d", "g", "d", "d", "g"]
    assert len({tuple(z.flatten().tolist()) for z in seen}) == 6
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}
    assert "g_loss" in logs


def test_the_projection_is_an_inner_product_with_the_class():
    """D(x, y) − D(x, y') = <v(y) − v(y'), features>: linear in the features, and nothing of y elsewhere (eq. 3)."""
    torch.manual_seed(0)
    net = Discriminator((1, 8, 8), 8, 3).eval()
    x, eye = torch.randn(2, 1, 8, 8), torch.eye(3)
    h = x
    for block in net.blocks:
        h = block(h)
    h = h.relu().sum((2, 3))
    for a in range(3):
        expected = net.score(h)[:, 0] + h @ net.direction.weight[:, a]
        assert torch.allclose(net(x, eye[a].expand(2, 3)), expected, atol=1e-5)


def test_class_conditional_norm_by_hand():
    norm = ConditionalNorm(4, 3)
    with torch.no_grad():
        norm.scale.weight.copy_(torch.arange(12.0).view(4, 3))
        norm.shift.weight.copy_(-torch.arange(12.0).view(4, 3))
    x, y = torch.randn(64, 4, 5, 5) * 3 + 1, torch.eye(3)[torch.arange(64) % 3]
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    scale = norm.scale.weight[:, torch.arange(64) % 3].T[:, :, None, None]
    assert torch.allclose(norm(x, y), plain * scale - scale, atol=1e-3)
    fresh = ConditionalNorm(4, 3)
    assert torch.allclose(fresh(x, y), ConditionalNorm(4, 0)(x, None), atol=1e-5)  # starts as plain batch norm


def test_blocks_equal_the_papers_order_of_operations():
    """1x1 convolution and doubling (or pooling) commute, so the cheaper order gives the same numbers."""
    torch.manual_seed(0)
    x, up = torch.randn(2, 4, 6, 6), UpBlock(4, 6, 0)
    double = lambda v: v.repeat_interleave(2, 2).repeat_interleave(2, 3)  # noqa: E731
    h = up.conv2(up.norm2(up.conv1(double(up.norm1(x, None).relu())), None).relu())
    assert torch.allclose(up(x, None), h + up.skip(double(x)), atol=1e-5)
    down = DownBlock(4, 6, halve=True).eval()
    pool = nn.AvgPool2d(2)
    assert torch.allclose(down(x), pool(down.conv2(down.conv1(x.relu()).relu())) + pool(down.skip(x)), atol=1e-5)
    first = DownBlock(4, 6, halve=True, first=True).eval()
    assert torch.allclose(first(x), pool(first.conv2(first.conv1(x).relu())) + pool(first.skip(x)), atol=1e-5)


def test_d_is_lipschitz_where_plain_d_is_not():
    """Slopes between random pairs stay bounded by a constant of the net, however large its raw weights become."""
    torch.manual_seed(0)
    net, slopes = Discriminator((1, 8, 8), 8, 0), []
    a, b = torch.randn(2, 64, 1, 8, 8)
    for factor in (1.0, 100.0):
        with torch.no_grad():
            for m in net.modules():
                if hasattr(m, "parametrizations"):
                    m.parametrizations.weight.original.mul_(factor)
        net.eval()
        slopes.append(((net(a, None) - net(b, None)).abs() / (a - b).flatten(1).norm(dim=1)).max().item())
    assert slopes[1] == pytest.approx(slopes[0], rel=0.3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 14), (3, 64, 64)], ids=str)
def test_any_size(shape):
    system = SNGAN(shape=shape, latent=4, width=8).eval()
    x = system.sample(2, generator=gen())
    assert x.shape == (2, *shape)
    assert x.abs().max() <= 1
    assert system.D(x, None).shape == (2,)


def test_labels_only_where_conditional():
    plain, conditional = SNGAN(**TINY), create("sngan-projection", **TINY, classes=3)
    assert (plain.labels, conditional.labels) == (0, 3)
    with pytest.raises(UserError, match="without labels"):
        plain.sample(1, generator=gen(), label=0)
    with pytest.raises(UserError, match="subfolders"):
        SNGAN(**TINY, conditional=True, classes=0)
    with torch.no_grad():
        conditional.G.blocks[0].norm1.shift.weight.normal_()
    conditional.eval()
    z = torch.randn(1, 4)
    one, two = (conditional.decode(torch.cat([z, torch.eye(3)[k : k + 1]], 1)) for k in (0, 1))
    assert not torch.allclose(one, two)


def test_glorot_gains():
    torch.manual_seed(0)
    block = UpBlock(64, 64, 0)
    assert block.conv1.weight.std().item() == pytest.approx(math.sqrt(2) * math.sqrt(2 / (9 * 128)), rel=0.05)
    assert block.skip.weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.05)


def test_hinge_at_the_start():
    """An untrained D of a zeroed score gives 2, the value of indifference."""
    system = SNGAN(**TINY)
    with torch.no_grad():
        system.D.score.bias.zero_()
        for m in system.D.modules():
            if isinstance(m, nn.Conv2d) and m.bias is not None:
                m.bias.zero_()
    system.D.forward = lambda x, y: 0 * sum(p.sum() for p in system.D.parameters()) + 0 * x.flatten(1).sum(1)
    assert play(system)[1]["d_loss"].item() == pytest.approx(2, abs=1e-5)
