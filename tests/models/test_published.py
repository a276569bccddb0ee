"""What the programs of papers compute, stated again: nets with equal weights, losses of equal logits. docs/adversarial.md has the table."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.divergences import kl_standard_normal
from genzoo.models.adversarial.began import Encoder
from genzoo.models.adversarial.gan import GAN
from genzoo.models.adversarial.lapgan import Detail
from genzoo.models.adversarial.sngan import SNGAN, Discriminator, Synthesis
from genzoo.models.adversarial.video_gan import VideoGAN
from genzoo.models.adversarial.vision_aided_gan import smoothed_loss
from genzoo.models.conditional.gan_cls import GANCLS
from genzoo.models.conditional.stackgan import Refiner
from genzoo.naming.registry import create


def size(net):
    return sum(p.numel() for p in net.parameters())


def stirred(net, seed=0, spread=0.2):
    """Move every parameter, so that scales and biases count."""
    g = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.data.add_(spread * torch.randn(p.shape, generator=g))
    return net


class Recorder:
    """The trainer's update: keeps losses and moves nothing."""

    step, steps, progress = 0, 100, 0.0

    def __init__(self):
        self.losses = {}

    def __call__(self, name, loss):
        self.losses[name] = loss.item()


def same(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


# ---- SNGAN with projection (pfnet-research/sngan_projection) ---------------------------------------------------------------------


def test_sngan_on_cifar_has_the_programs_sizes():
    """4,304,387 and 1,055,104 with classes; ours has a bias at the last layer of D."""
    assert size(Synthesis((3, 32, 32), 128, 256, 10)) == 4_304_387
    assert size(Discriminator((3, 32, 32), 128, 10)) == 1_055_104 + 1


@torch.no_grad()
def test_sngans_generator_doubles_before_its_shortcut():
    """There the map is enlarged and then mixed by 1x1, here the other way round; norms have a scale and a shift for each class."""
    net = stirred(Synthesis((3, 32, 32), 6, 8, 4)).train()
    z, label = torch.randn(3, 6), torch.tensor([1, 3, 1])
    x = net.dense(z).view(3, 8, 4, 4)

    def normed(norm, x):
        x = F.batch_norm(x, None, None, training=True, eps=1e-5)
        scale, shift = norm.scale.weight.T[label], norm.shift.weight.T[label]  # tables of classes
        return F.relu(x * scale[:, :, None, None] + shift[:, :, None, None])

    def enlarged(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    for block in net.blocks:
        h = block.conv1(enlarged(normed(block.norm1, x)))
        x = block.conv2(normed(block.norm2, h)) + block.skip(enlarged(x))
    x = F.batch_norm(x, None, None, net.norm.weight, net.norm.bias, training=True)
    same(net(z, torch.eye(4)[label]), torch.tanh(net.out(F.relu(x))))


@torch.no_grad()
def test_sngans_discriminator_divides_by_largest_singular_values():
    net, images = stirred(Discriminator((3, 32, 32), 8, 4)), torch.rand(3, 3, 32, 32) * 2 - 1
    y, x = torch.eye(4)[[0, 2, 2]], images
    for _ in range(300):
        net.train()(images[:1], y[:1])  # the power iteration goes on at each use

    def weight(layer):
        w = layer.parametrizations.weight.original
        return w / torch.linalg.matrix_norm(w.flatten(1), 2)

    def conv(layer, x):
        return F.conv2d(x, weight(layer), layer.bias, padding=layer.padding)

    for i, block in enumerate(net.blocks):
        h = conv(block.conv2, F.relu(conv(block.conv1, F.relu(x) if i else x)))
        if i == 0:
            x = F.avg_pool2d(h, 2) + conv(block.skip, F.avg_pool2d(x, 2))
        elif i == 1:
            x = F.avg_pool2d(h, 2) + F.avg_pool2d(conv(block.skip, x), 2)
        else:
            x = h + x
    x = F.relu(x).sum((2, 3))
    expected = x @ weight(net.score).T + net.score.bias + (y @ weight(net.direction).T * x).sum(1, keepdim=True)
    same(net.eval()(images, y), expected.squeeze(1), 1e-4)


def test_sngan_minimizes_the_hinge_loss():
    torch.manual_seed(0)
    real, fake = torch.randn(7), torch.randn(7)
    expected = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx(expected.item())
    assert generator_loss("hinge", fake).item() == pytest.approx(-fake.mean().item())
    system = create("sngan-paper")
    assert (system.critic_steps, system.lr, system.betas, system.lr_scale(0.25)) == (5, 2e-4, (0.0, 0.9), 0.75)
    assert isinstance(system, SNGAN)


# ---- BEGAN (carpedm20/BEGAN-tensorflow) -------------------------------------------------------------------------------------------


@torch.no_grad()
def test_begans_encoder_is_the_programs_of_mirrored_images():
    """TensorFlow puts the zeros of a halving behind the image, here they stand before it: the same, with all turned round."""
    torch.manual_seed(0)
    net, x = stirred(Encoder((3, 32, 32), 5, 4, 8, 2, early=False)), torch.rand(2, 3, 32, 32) * 2 - 1
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.stride[0]) for m in convs] == [
        (4, 1), (4, 1), (4, 1), (4, 2), (8, 1), (8, 1), (8, 2), (12, 1), (12, 1),
    ]  # fmt: skip
    h = x
    for m in convs:
        ends = (0, 1, 0, 1) if m.stride[0] == 2 else (1, 1, 1, 1)
        h = F.elu(F.conv2d(F.pad(h, ends), m.weight.flip(2, 3), m.bias, m.stride))
    dense = net.net[-1]
    expected = F.linear(h.flip(2, 3).flatten(1), dense.weight, dense.bias)
    same(net(x.flip(2, 3)), expected)
    assert not torch.allclose(net(x), expected, atol=1e-2)


def test_began_follows_the_balance_of_both_errors():
    torch.manual_seed(0)
    system = create("began-paper", shape=(1, 8, 8), width=4, latent=4)
    system.k.fill_(0.4)
    update = Recorder()
    logs = system.training_step({"image": torch.rand(4, 1, 8, 8) * 2 - 1}, update)
    real, fake = logs["real_error"].item(), logs["fake_error"].item()
    assert update.losses["g"] == pytest.approx(fake)
    assert system.k.item() == pytest.approx(min(max(0.4 + 0.001 * (0.5 * real - fake), 0), 1), rel=1e-6)
    assert logs["m"].item() == pytest.approx(real + abs(0.5 * real - fake), rel=1e-5)


# ---- video GAN (cvondrick/videogan) ----------------------------------------------------------------------------------------------


def test_video_gan_has_the_programs_sizes():
    """Theirs have 16,245,383 and 11,057,858: biases before batch norm, which it takes away, and a second logit of D."""
    system, before_norm, second = VideoGAN(), 2 * (512 + 256 + 128 + 64), 512 * 2 * 4 * 4 + 1
    assert size(system.G) == 16_245_383 - before_norm
    assert size(system.D) == 11_057_858 - (128 + 256 + 512) - second


@torch.no_grad()
def test_video_gans_judge_of_two_logits_is_one_of_their_difference():
    torch.manual_seed(0)
    system = VideoGAN((3, 32, 64, 64), latent=6, width=4)
    first, last = system.D.blocks[0][0], nn.Conv3d(32, 2, (2, 4, 4))
    assert (first.kernel_size, first.stride, first.padding) == ((4, 4, 4), (2, 2, 2), (1, 1, 1))
    system.D.score.weight.copy_((last.weight[0] - last.weight[1]).flatten()[None])
    system.D.score.bias.copy_(last.bias[:1] - last.bias[1:])
    h = x = torch.rand(2, 3, 32, 64, 64) * 2 - 1
    for block in system.D.blocks:
        h = block(h)
    logits = last(h).flatten(1)
    for kind, label in ((-1, 0), (1, 1)):
        expected = F.cross_entropy(logits, torch.full((2,), label))
        assert F.softplus(kind * system.D(x)).mean().item() == pytest.approx(expected.item(), rel=1e-5)


# ---- GAN (goodfeli/adversarial) ---------------------------------------------------------------------------------------------------


def test_gan_has_the_programs_sizes_for_mnist():
    system = create("gan-paper")
    assert isinstance(system, GAN)
    assert size(system.G) == 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    assert size(system.D) == 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1


# ---- LAPGAN (facebook/eyescream) --------------------------------------------------------------------------------------------------


def test_lapgans_detail_is_drawn_by_fewer_weights_than_the_programs():
    def weights(*kernels):
        widths = (3 + 1, 64, 64, 3)
        return sum((a * k * k + 1) * b for k, a, b in zip(kernels, widths, widths[1:], strict=False))

    assert size(Detail(3, 64)) == weights(5, 5, 5) == 113_731
    assert weights(7, 7, 5) == 218_179


# ---- vision-aided GAN (nupurkmr9/vision-aided-gan) --------------------------------------------------------------------------------


def test_heads_are_told_four_fifths_of_real_images_alone():
    torch.manual_seed(0)
    real, fake = torch.randn(4, 3, 3), torch.randn(4, 3, 3)
    expected = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.8))
    expected = expected + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    assert smoothed_loss(real, fake, 0.8).item() == pytest.approx(expected.item(), rel=1e-6)


# ---- text to image (reedscot/icml2016, hanzhanggit/StackGAN-Pytorch) --------------------------------------------------------------


def test_the_conditions_divergence_is_that_of_a_mean_and_a_log_variance():
    torch.manual_seed(0)
    mean, log_var = torch.randn(5, 12), torch.randn(5, 12)
    expected = -0.5 * (1 + log_var - mean**2 - log_var.exp()).mean()
    assert kl_standard_normal(mean, log_var / 2).mean().item() == pytest.approx(expected.item(), rel=1e-6)


def test_stage_two_has_the_programs_layers_up_to_the_sketchs_size():
    """Kernels, strides and channels of its encoder, joint layer, residual blocks and first two doublings, for 64 features."""
    net = Refiner((3, 64, 64), 4, 128, 64, 4, skip=False)
    found = [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in net.modules()
        if isinstance(m, nn.Conv2d)
    ]
    blocks = [(256, 256, 3, 1)] * 8
    assert found[:14] == [
        (3, 64, 3, 1), (64, 128, 4, 2), (128, 256, 4, 2), (256 + 128, 256, 3, 1), *blocks, (256, 128, 3, 1), (128, 64, 3, 1),
    ]  # fmt: skip


def test_gan_cls_minimizes_what_its_program_does():
    """D: real + 1/2 wrong + 1/2 generated. G, with weight w of in-between sentences: 2/3 (mean + w/2 mean in between)."""
    torch.manual_seed(0)
    words = tuple("abcdefgh")
    system = GANCLS(
        (1, 8, 8), vocabulary=words, latent=4, width=4, dim=6, compressed=5, length=2, r1=0.0, interpolate=0.5
    )
    caption, real = torch.arange(1, 9).view(4, 2), torch.rand(4, 1, 8, 8) * 2 - 1
    seen, update = [], Recorder()
    system.D.register_forward_hook(lambda _, given, out: seen.append(out.detach()))
    match, matched = system.D.match, []
    system.D.match = lambda *a: matched.append(match(*a)) or matched[-1]
    system.training_step({"image": real, "caption": caption}, update)
    on_real, on_fake, on_wrong = (t.detach() for t in matched[:3])
    ones, zeros = torch.ones(4), torch.zeros(4)
    bce = F.binary_cross_entropy_with_logits
    expected = bce(on_real, ones) + 0.5 * bce(on_wrong, zeros) + 0.5 * bce(on_fake, zeros)
    assert update.losses["d"] == pytest.approx(expected.item(), rel=1e-5)
    plain, between = seen[-2:]
    both, weights = torch.cat([plain, between[:2]]), torch.tensor([1.0] * 4 + [1.0] * 2)
    theirs = bce(both, torch.ones(6), weights)  # divided by 6 outputs, whatever they weigh
    ours = bce(plain, ones) + 0.5 * bce(between[:2], torch.ones(2))
    assert theirs.item() == pytest.approx(2 / 3 * ours.item(), rel=1e-6)
    assert update.losses["g"] == pytest.approx((bce(plain, ones) + 0.5 * bce(between, ones)).item(), rel=1e-5)
