"""Projected GAN as its program has it: fused mixing, tapered discriminators, FastGAN's generator, one mean over logits, G's step first."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.adversarial._fastgan import FastSynthesis, GatedLayer
from genzoo.models.adversarial._fused import FusedMixing, TaperedDiscriminator, nominal_sides
from genzoo.models.adversarial.projected_gan import ProjectedGAN
from tests.adversaries import Update, gen, play

TINY = ProjectedGAN.tiny
PAPER = ProjectedGAN.presets["projected-gan-paper"] | TINY


def size(net):
    return sum(p.numel() for p in net.parameters())


def layers(net):
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in net.modules()
        if isinstance(m, nn.Conv2d)
    ]


def test_coarse_maps_are_added_then_enlarged_with_their_corners_and_then_mixed():
    torch.manual_seed(0)
    mix = FusedMixing((3, 5, 6), 4)
    maps = [torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3), torch.randn(2, 6, 2, 2)]  # 2, and not 1.5
    got = mix(maps)
    assert mix.channels == (4, 4, 8)
    assert [tuple(g.shape[1:]) for g in got] == [(4, 16, 12), (4, 8, 6), (8, 4, 3)]

    def dense(name, i, x):
        weight, bias = getattr(mix, f"{name}_{i}")[:, :, 0, 0], getattr(mix, f"{name}_bias_{i}")
        return torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None]

    above = None
    for i, place in ((2, (4, 3)), (1, (8, 6)), (0, (16, 12))):
        x = dense("across", i, maps[i])
        x = x if above is None else x + above
        rows, columns = (torch.linspace(0, a - 1, b) for a, b in zip(x.shape[2:], place, strict=True))
        weigh = [
            (1 - (at[:, None] - torch.arange(n)).abs()).clamp(min=0)
            for at, n in zip((rows, columns), x.shape[2:], strict=True)
        ]  # corners lie upon corners
        above = dense("fuse", i, torch.einsum("yh,xw,bchw->bcyx", *weigh, x))
        torch.testing.assert_close(got[i], above, atol=1e-5, rtol=1e-5)
    assert not list(mix.parameters())
    assert mix.across_2.abs().max() <= 6**-0.5, "within 1/√fan-in"
    assert mix.across_bias_2.abs().max() > 0


def test_discriminators_have_the_programs_layers():
    """Four of EfficientNet's maps: 10,331,328 parameters, and 16 logits each of 224 pixels."""
    sides = nominal_sides(224, (4, 8, 16, 32), doubled=True)
    assert sides == [128, 64, 32, 16]
    nets = [TaperedDiscriminator(c, 64, s, batch_norm=True) for c, s in zip((64, 64, 128, 256), sides, strict=True)]
    assert sum(map(size, nets)) == 10_331_328
    assert layers(nets[0]) == [(64, 64, 4, 2), (64, 128, 4, 2), (128, 256, 4, 2), (256, 512, 4, 2), (512, 1, 4, 1)]
    assert layers(nets[3]) == [(256, 512, 4, 2), (512, 1, 4, 1)]
    for c, net, side in zip((64, 64, 128, 256), nets, (112, 56, 28, 14), strict=True):
        assert net.eval()(torch.zeros(1, c, side, side)).shape == (1, 1, 4, 4)
    assert [m.bias is None for m in nets[3] if isinstance(m, nn.Conv2d)] == [False, True]
    with pytest.raises(UserError, match="smallest map has a side of 2: give a larger resolution, or judges=even"):
        TaperedDiscriminator(8, 4, 2, batch_norm=True)


def test_fastgan_has_the_programs_size_at_256_pixels():
    assert size(FastSynthesis((3, 256, 256), 256, 8)) == 1_397_515
    assert size(FastSynthesis((3, 256, 256), 256, 8, lite=True)) == 1_294_127
    assert size(FastSynthesis((3, 256, 256), 256, 8, labels=1000, lite=True)) == 1_693_487


@torch.no_grad()
@pytest.mark.parametrize("labels", [0, 3])
@pytest.mark.parametrize("lite", [False, True])
def test_fastgans_generator_by_hand(lite, labels):
    """At 64 pixels: doublings of repeated pixels, gates, noise, and the map of 4 pixels that weighs that of 64."""
    torch.manual_seed(0)
    net, z, y = FastSynthesis((3, 64, 64), 6, 8, labels=labels, lite=lite), torch.randn(2, 6), torch.eye(3)[[2, 0]]
    given_z = torch.cat([z, y], 1) if labels else z
    for p in net.parameters():
        p.add_(0.1 * torch.randn_like(p))
    for _ in range(30):
        net(given_z)  # the power iterations go on at each use
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1), m.running_var.uniform_(0.5, 1.5)
    net.eval()
    given = net.embed.weight[[2, 0]] if labels else None

    def normed(norm, x):
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
        x = (x - mean) / (var + 1e-5).sqrt()
        return x if norm.weight is None else x * norm.weight[:, None, None] + norm.bias[:, None, None]

    def gated(x):
        a, b = x.chunk(2, 1)
        return a * b.sigmoid()

    unit = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    maps = [gated(normed(net.norm, torch.einsum("bi,iohw->bohw", unit, net.first.weight)))]
    for k, block in enumerate(net.doublings):
        x = maps[-1].repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert len(block) == (1 if lite else 2)
        for layer in block:
            x = F.conv2d(x, layer.conv.weight, padding=1)
            x = x if lite else x + layer.strength * layer.fixed
            x = normed(layer.norm.norm, x)
            if labels:
                x = x * (1 + layer.norm.scale(given))[:, :, None, None] + layer.norm.shift(given)[:, :, None, None]
            x = gated(x)
        if k >= 3:
            weigh = net.excite[str(k + 1)].net
            h = F.conv2d(F.adaptive_avg_pool2d(maps[k - 3], 4), weigh[1].weight)
            h = F.conv2d(h * h.sigmoid(), weigh[3].weight)
            x = x * h.sigmoid()
        maps.append(x)
    expected = F.conv2d(x, net.out.weight, net.out.bias, padding=1)
    got = net(given_z)
    assert (got - expected).abs().max() <= 2e-5 * expected.abs().max()
    assert [m.shape[1] for m in maps] == [128, 64, 32, 16, 16]
    assert set(net.excite) == {"4"}


def test_noise_is_new_in_training_and_held_afterwards():
    torch.manual_seed(0)
    net = FastSynthesis((1, 16, 16), 4, 4)
    for m in net.modules():
        if isinstance(m, GatedLayer):
            m.strength.data.fill_(1.0)
    z = torch.randn(3, 4)
    assert not torch.equal(net(z), net(z))
    net.eval()
    assert torch.equal(net(z), net(z))


def test_every_layer_of_fastgan_has_spectral_norm():
    torch.manual_seed(0)
    net = FastSynthesis((3, 64, 64), 6, 4, labels=2).train()
    z = torch.randn(2, 8)
    for _ in range(100):
        net(z)
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            w = m.weight.transpose(0, 1) if isinstance(m, nn.ConvTranspose2d) else m.weight
            assert torch.linalg.matrix_norm(w.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_one_mean_over_all_logits_and_g_first():
    torch.manual_seed(0)
    system = ProjectedGAN(
        **PAPER | {"augment": ()}
    ).eval()  # eval: no power iteration, so that scores can be taken again
    for m in system.G.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.weight.data.fill_(4.0)  # so that images differ
    real, losses, order, made = torch.rand(4, 1, 16, 16) * 2 - 1, {}, [], []
    system.G.register_forward_hook(lambda _, given, out: made.append(out.detach()))

    def logits(x):
        return torch.cat([s.flatten() for s in system.judge(system.maps(x))])

    class Spy(Update):
        def __call__(self, name, loss):
            order.append(name)
            losses[name] = loss.detach()

    logs = system.training_step({"image": real}, Spy(system))
    first, second = made
    assert order == ["g", "d"]
    spread = logits(first).abs().max().item()
    assert losses["g"].item() == pytest.approx(-logits(first).mean().item(), abs=1e-5 * spread)
    expected = (1 - logits(real)).relu().mean() + (1 + logits(second)).relu().mean()
    assert losses["d"].item() == pytest.approx(expected.item(), abs=1e-5 * spread)
    assert abs(logits(first).mean() - logits(second).mean()).item() > 1e-3 * spread
    torch.testing.assert_close(logs["d_loss"], losses["d"])
    plain = ProjectedGAN(**TINY)
    two = [torch.tensor([[[[0.5, -2.0]]]]), torch.tensor([[[[3.0]]]])]
    assert plain._fooled(two).item() == pytest.approx(0.75 - 3.0)
    assert system._fooled(two).item() == pytest.approx(-0.5)
    assert plain._told_apart(two, two).item() == pytest.approx((0.5 + 3) / 2 + 1.5 / 2 + 0 + 4)
    assert system._told_apart(two, two).item() == pytest.approx((0.5 + 3 + 0) / 3 + (1.5 + 0 + 4) / 3)


@pytest.mark.parametrize(
    "keys",
    [{}, {"conditional": True, "classes": 3}, {"mixing": "none"}, {"judges": "even"}, {"generator": "fastgan-lite"}, {"redraw": False}],
)  # fmt: skip
def test_every_part_trains_alone_and_samples(keys):
    torch.manual_seed(0)
    system = ProjectedGAN(**PAPER | keys)

    def data():
        return {"image": torch.rand(6, 1, 16, 16) * 2 - 1, "label": torch.arange(6) % 3}

    update, logs = play(system, data=data, steps=2)
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}
    assert all(torch.isfinite(v) for v in logs.values())
    x = system.eval().sample(3, generator=gen(0))
    assert x.shape == (3, 1, 16, 16)
    assert x.abs().max() <= 1
    if "conditional" in keys:
        a, b = (system.sample(2, generator=gen(3), label=k) for k in (0, 2))
        assert not torch.equal(a, b)


def test_sizes_that_are_no_multiples_are_cropped():
    system = ProjectedGAN(**PAPER | {"shape": (3, 20, 33)}).eval()
    assert system.sample(2, generator=gen(0)).shape == (2, 3, 20, 33)
    assert [tuple(m.shape[2:]) for m in system.maps(torch.zeros(1, 3, 20, 33))] == [(28, 46), (14, 23)]
