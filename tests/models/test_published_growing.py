"""What the TensorFlow programs of ProGAN, StyleGAN and InfoGAN compute, stated again: whole nets with equal weights, and their losses."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genzoo.models.adversarial.infogan import InfoGAN
from genzoo.models.adversarial.progan import ProGAN
from genzoo.models.adversarial.stylegan import StyleGAN
from genzoo.nn.gan.growing import enlarge, real_at
from genzoo.nn.gan.upfirdn import conv_down, conv_up
from tests.models.test_published import Recorder, same, size, stirred

SQUARE = math.sqrt(2)


def act(x):
    return torch.maximum(x, 0.2 * x)


def conv(layer, x, gain=SQUARE):
    """A convolution of equalized rate: weights times gain / √fan-in, zeros around the map."""
    w = layer.weight * gain / math.sqrt(layer.weight[0].numel())
    return F.conv2d(x, w, layer.bias, padding=w.shape[-1] // 2)


def dense(layer, x, gain=SQUARE, rate=1.0):
    return x @ (layer.weight * gain * rate / math.sqrt(layer.weight.shape[1])).T + layer.bias * rate


def normed(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def with_deviation(x, group=4):
    y = x.view(group, -1, *x.shape[1:])
    spread = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, spread.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


def ended(net, x):
    """The last block of both programs' discriminators."""
    x = act(conv(net.last, with_deviation(x))).flatten(1)
    return dense(net.score, act(dense(net.dense, x)), 1.0)[:, 0]


@torch.no_grad()
@pytest.mark.parametrize("fade", [1.0, 0.3])
def test_progans_nets(fade):
    torch.manual_seed(0)
    system = ProGAN((3, 16, 16), latent=6, width=4, most=8)
    net, z = stirred(system.G), torch.randn(8, 6)
    x = normed(act(dense(net.dense, normed(z), SQUARE / 4).view(8, 8, 4, 4)))
    x = below = normed(act(conv(net.first, x)))
    for block in net.blocks:
        below, x = x, x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        for layer in block:
            x = normed(act(conv(layer, x)))
    fine, coarse = conv(net.pixels[2], x, 1.0), enlarge(conv(net.pixels[1], below, 1.0))
    same(system.G(z, 2, fade), coarse + (fine - coarse) * fade, 1e-4)  # pixel norm of four channels magnifies rounding

    net, image = stirred(system.D), torch.rand(8, 3, 16, 16) * 2 - 1
    x = act(conv(net.pixels[2], image))
    for k in (1, 0):
        x = F.avg_pool2d(act(conv(net.blocks[k][1], act(conv(net.blocks[k][0], x)))), 2)  # no `fused_scale`
        if k == 1:
            old = act(conv(net.pixels[1], F.avg_pool2d(image, 2)))
            x = old + (x - old) * fade
    same(system.D(image, 2, fade), ended(net, x))


@torch.no_grad()
def test_stylegans_resampling_convolutions_are_the_programs_away_from_the_border():
    """It repeats pixels, convolves and blurs with [1, 2, 1]; or blurs, convolves and takes means."""
    torch.manual_seed(0)
    x, w = torch.randn(2, 5, 10, 10), torch.randn(4, 5, 3, 3)
    k = torch.tensor([1.0, 2.0, 1.0]) / 4

    def blurred(x):
        return F.conv2d(x, (k[:, None] * k).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])

    up, down = blurred(F.conv2d(enlarge(x), w, padding=1)), F.avg_pool2d(F.conv2d(blurred(x), w, padding=1), 2)
    same(conv_up(x, w)[..., 2:-2, 2:-2], up[..., 2:-2, 2:-2])
    same(conv_down(x, w)[..., 1:-1, 1:-1], down[..., 1:-1, 1:-1])
    assert not torch.allclose(conv_up(x, w), up, atol=1e-2)
    assert not torch.allclose(conv_down(x, w), down, atol=1e-2)


@torch.no_grad()
def test_stylegans_nets():
    torch.manual_seed(0)
    system = StyleGAN((3, 16, 16), latent=6, width=4, most=8, depth=3)
    for net in (system.F, system.G, system.D):
        stirred(net)
    z = torch.randn(8, 6)
    w = normed(z)
    for layer in system.F.layers:
        w = act(dense(layer, w, rate=0.01))
    same(system.F(z, None), w)

    net, x = system.G, system.G.const.expand(8, -1, -1, -1)
    for k, block in enumerate(net.blocks):
        for i, layer in enumerate(block):
            if layer.conv is not None:
                weight = layer.conv.weight * SQUARE / math.sqrt(layer.conv.weight[0].numel())
                x = conv_up(x, weight) if k and not i else F.conv2d(x, weight, padding=1)
            x = act(x + layer.fixed * layer.strength[:, None, None] + layer.bias[:, None, None])
            x = x - x.mean((2, 3), keepdim=True)
            x = x / (x.square().mean((2, 3), keepdim=True) + 1e-8).sqrt()
            scale, shift = dense(layer.style, w, 1.0).view(8, 2, -1, 1, 1).unbind(1)
            x = x * (scale + 1) + shift
    same(net(w[:, None].expand(-1, 6, -1), lambda fixed, n: fixed, 2), conv(net.pixels[2], x, 1.0), 5e-5)

    net, image = system.D, torch.rand(8, 3, 16, 16) * 2 - 1
    x = act(conv(net.pixels[2], image))
    for k in (1, 0):
        first, second = net.blocks[k]
        x = conv_down(act(conv(first, x)), second.weight * SQUARE / math.sqrt(second.weight[0].numel()))
        x = act(x + second.bias[:, None, None])
    same(system.D(image, 2), ended(net, x))


def test_a_level_is_penalized_by_its_own_pixels_and_theirs_by_the_full_sizes():
    """The gradient for an image of the full size has a norm smaller by the factor of the sides, which `full_size` divides by."""
    torch.manual_seed(0)
    system = ProGAN((3, 32, 32), latent=6, width=4, most=8)
    full = torch.rand(4, 3, 32, 32, requires_grad=True)
    small = real_at(full, 1, 1.0, 3)
    (own,) = torch.autograd.grad(system.D(small, 1).sum(), small, retain_graph=True)
    (theirs,) = torch.autograd.grad(system.D(small, 1).sum(), full)
    assert torch.allclose(own.flatten(1).norm(dim=1), 4 * theirs.flatten(1).norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("full_size", [False, True])
def test_full_size_is_r1_for_images_of_the_full_size(full_size):
    torch.manual_seed(0)
    system = StyleGAN((3, 32, 32), latent=6, width=4, most=8, depth=2, r1=3.0, grow=1.0, full_size=full_size)
    full, update = torch.rand(4, 3, 32, 32, requires_grad=True), Recorder()
    logs = system.training_step({"image": full}, update)  # at 8 pixels: level 1 of 3
    small = real_at(full, 1, 1.0, 3)
    (gradient,) = torch.autograd.grad(system.D(small, 1).sum(), full if full_size else small)
    assert logs["r1"].item() == pytest.approx(1.5 * gradient.square().sum().item() / 4, rel=1e-4)


@pytest.mark.parametrize("full_size", [False, True])
def test_full_size_is_wgan_gps_norm_for_images_of_the_full_size(full_size):
    torch.manual_seed(0)
    system = ProGAN((3, 32, 32), latent=6, width=4, most=8, grow=1.0, full_size=full_size, drift=0.0)
    stirred(system.D)
    full, update = torch.rand(1, 3, 32, 32, requires_grad=True), Recorder()
    system.G.forward = lambda z, level, fade: real_at(
        full, level, fade, 3
    )  # then what lies between the two is the image itself
    system.training_step({"image": full}, update)  # at 4 pixels: level 0 of 3
    small = real_at(full, 0, 1.0, 3)
    (gradient,) = torch.autograd.grad(system.D(small, 0).sum(), full if full_size else small)
    assert update.losses["d"] == pytest.approx(10 * (gradient.norm().item() - 1) ** 2, rel=1e-4)


def test_infogans_bound_is_the_programs_but_for_what_has_no_gradient():
    """There the entropy of a number is that of a normal law at the drawn value; here ln 2 for the uniform law."""
    torch.manual_seed(0)
    system = InfoGAN((1, 8, 8), noise=4, categories=5, numbers=2, width=4)
    logits, mean = torch.randn(6, 5), torch.randn(6, 2)
    code = torch.cat([torch.eye(5)[[0, 1, 2, 3, 4, 0]], torch.rand(6, 2) * 2 - 1], 1)
    category, numbers = system.bound((logits, mean), code)
    theirs = (code[:, :5] * logits.softmax(1).log()).sum(1).mean() + math.log(5)
    assert category.item() == pytest.approx(theirs.item(), rel=1e-5)
    c = code[:, 5:]

    def log_normal(x, mean):
        return (-0.5 * math.log(2 * math.pi) - 0.5 * (x - mean) ** 2).sum(1).mean()

    constant = 2 * (math.log(2) - 0.5 * math.log(2 * math.pi)) - 0.5 * c.square().sum(1).mean()
    assert numbers.item() == pytest.approx((log_normal(c, mean) - log_normal(c, 0 * c) + constant).item(), rel=1e-5)


def test_infogans_nets_have_the_programs_layers():
    """6,652,481 and 6,692,431 there: biases before batch norm, a norm for each of 6,272 values, and two idle outputs of Q."""
    system = InfoGAN((1, 28, 28), **InfoGAN.presets["infogan-paper"])
    each = 2 * (7 * 7 * 128 - 128)
    assert size(system.G) == 6_652_481 - (1024 + 7 * 7 * 128 + 64) - each
    assert size(system.D) + size(system.Q) == 6_692_431 - (128 + 1024) - 2 * 129
