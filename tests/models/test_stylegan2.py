"""StyleGAN2: modulated convolutions by their definition, mixing, truncation, path lengths, lazy penalties, the class's mapping, ADA."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.losses.penalties import path_lengths, r1_penalty
from genzoo.metrics.drawing import generators_for
from genzoo.models.adversarial._modulated import ModulatedConv2d
from genzoo.models.adversarial.stylegan2 import StyleGAN2
from genzoo.nn.gan.equalized import EqualConv2d
from genzoo.nn.gan.styles import fresh_noise
from tests.adversaries import Update, gen, play
from tests.conftest import build
from tests.models.test_stylegan import SMALL, count, still


def shared(system):
    """Share of the first maps' power that all examples have in common."""
    with torch.no_grad():
        w = system._styles(500, None, 6)
        x = system.G.const.expand(500, -1, -1, -1)
        x = system.G.blocks[0][0].conv(x, w[:, 0])
    return (x.mean(0).square().mean() / x.square().mean()).item()


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_is_a_convolution_with_each_examples_own_weights(up, demodulate):
    torch.manual_seed(0)
    conv = ModulatedConv2d(3, 5, 3, 4, up=up, demodulate=demodulate)
    x, w = torch.randn(2, 3, 6, 6), torch.randn(2, 4)
    s = w @ conv.style.weight.T / math.sqrt(4) + conv.style.bias
    assert torch.equal(conv.style.bias, torch.ones(3))  # a style of zeros leaves the weights as they are
    for i in range(2):
        own = conv.weight / math.sqrt(27) * s[i][None, :, None, None]
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        plain = EqualConv2d(3, 5, 3, 1, resample="up" if up else "none", bias=False)
        plain.weight.data, plain.scale = own.detach(), 1.0
        assert torch.allclose(conv(x, w, 1.5)[i], 1.5 * plain(x[i : i + 1])[0], atol=1e-5)


def test_demodulation_brings_outputs_to_deviation_one_whatever_the_style():
    torch.manual_seed(0)
    conv = ModulatedConv2d(64, 128, 3, 8)
    out = conv(torch.randn(4, 64, 16, 16), 20 * torch.randn(4, 8))[:, :, 1:-1, 1:-1]
    assert torch.allclose(out.std((1, 2, 3)), torch.ones(4), atol=0.05)


def test_all_pixels_of_stylegan2_add_up():
    """The image is the sum over sizes of that size's pixels, doubled as often as it takes."""
    system = StyleGAN2(**SMALL)
    w = torch.randn(2, 6, 4)
    whole = system.G(w, still)
    total = 0
    for k in range(3):
        kept = [p.weight.data.clone() for p in system.G.pixels]
        for j, p in enumerate(system.G.pixels):
            p.weight.data *= j == k
        total = total + system.G(w, still)
        for p, v in zip(system.G.pixels, kept, strict=True):
            p.weight.data = v
    assert torch.allclose(whole, total, atol=1e-5)


def test_centred_styles_leave_nothing_in_common_at_the_start():
    """s = 1 + Aw, w behind a rectifier: about 1/5 of w's power is its mean's, so (1 + 1/5) / (1 + 1) is common to all; centred, nothing."""
    settings = {**SMALL, "width": 32, "most": 128, "latent": 256, "depth": 1}
    for centred, low, high in ((False, 0.5, 0.75), (True, 0.0, 0.01)):
        torch.manual_seed(0)
        system = StyleGAN2(**{**settings, "centred": centred})
        assert low < shared(system) < high
        styles = [layer.conv.style for layer in itertools.chain(*system.G.blocks)] + [p.style for p in system.G.pixels]
        assert all(torch.equal(s.bias, torch.full_like(s.bias, 0.0 if centred else 1.0)) for s in styles)
    again = StyleGAN2(**{**settings, "centred": True})
    again.load_state_dict(system.state_dict())
    z = torch.randn(3, 256)
    assert torch.equal(again.F(z, None), system.F(z, None))  # the centre is kept with the weights
    told = StyleGAN2(**{**settings, "centred": True, "conditional": True, "classes": 3})
    w = torch.cat([told.sample_prior(500, generator=gen(), label=k) for k in range(3)])
    assert w.mean(0).abs().max() < 0.3 < w.std()


def test_mixing_crosses_over_once_and_as_often_as_asked():
    torch.manual_seed(0)
    system = StyleGAN2(**{**SMALL, "mixing": 0.7})
    w = system._styles(400, None, 6).detach()
    change = (w[:, 1:] != w[:, :-1]).any(2).sum(1)
    assert set(change.tolist()) == {0, 1}
    assert change.float().mean().item() == pytest.approx(0.7, abs=0.08)
    where = (w[:, 1:] != w[:, :-1]).any(2).float().sum(0)
    assert (where > 0.7 * 400 / 5 * 0.6).all()  # every crossover is drawn
    assert not (StyleGAN2(**{**SMALL, "mixing": 0.0})._styles(50, None, 6).diff(dim=1)).any()


def test_the_running_mean_of_w():
    torch.manual_seed(0)
    system = StyleGAN2(**{**SMALL, "mixing": 0.0, "mean_decay": 0.9})
    expected = torch.zeros(4)
    for _ in range(3):
        w = system._styles(8, None, 6)[:, 0].detach()
        expected = 0.9 * expected + 0.1 * w.mean(0)
    assert torch.allclose(system.mean, expected, atol=1e-6)


def test_truncation_toward_the_mean_of_a_class():
    torch.manual_seed(0)
    system = StyleGAN2(**{**StyleGAN2.tiny, "classes": 3, "conditional": True}).eval()
    z = torch.randn(20_000, system.latent_size, generator=gen())
    centre = torch.stack([system.F(z, torch.eye(3)[[k]].expand(len(z), -1)).mean(0) for k in range(3)]).detach()
    for k in range(3):
        (far,), (near,), (half,) = (
            system.sample_prior(1, generator=gen(5), label=k, truncation=t, toward="class") for t in (1.0, 0.0, 0.5)
        )
        assert torch.allclose(near, centre[k], atol=0.05), "by other draws of z"
        assert torch.allclose(half, (near + far) / 2, atol=1e-5)
    drawn = system.sample(6, generator=gen(), truncation=0.0, toward="class")
    assert 1 < len({tuple(x.flatten()[:3].tolist()) for x in drawn}) <= 6, "each class has its own mean image"
    with pytest.raises(UserError, match="toward=class needs a system that was trained with labels"):
        StyleGAN2(**StyleGAN2.tiny).sample(1, generator=gen(), toward="class")


def test_truncation_by_hand():
    system = StyleGAN2(**SMALL)
    system.mean.normal_()
    w = system.sample_prior(3, generator=gen())
    half = system.sample_prior(3, generator=gen(), truncation=0.5)
    assert torch.allclose(half, system.mean + 0.5 * (w - system.mean), atol=1e-6)
    low = system.sample_prior(3, generator=gen(), truncation=0.5, cutoff=2)
    assert torch.equal(low[:, :2], half[:, None].expand(-1, 2, -1))
    assert torch.equal(low[:, 2:], w[:, None].expand(-1, 4, -1))
    same = system.sample(4, generator=gen(), truncation=0.0)
    assert torch.allclose(same, same[:1].expand_as(same), atol=1e-5)  # the mean image (noise starts at strength 0)
    assert torch.allclose(system.sample(3, generator=gen()), system.sample(3, generator=gen(), truncation=1.0))


def test_decoding_is_deterministic_and_samples_have_noise_of_their_own():
    system = StyleGAN2(**SMALL)
    for name, p in system.G.named_parameters():
        if name.endswith("strength"):
            p.data.fill_(1.0)
    w = system.sample_prior(2, generator=gen())
    assert torch.equal(system.decode(w), system.decode(w))
    assert not torch.allclose(system.sample(2, generator=gen()), system.decode(w))


def test_one_walks_straight_in_w_and_on_arcs_elsewhere():
    system = StyleGAN2(**SMALL).eval()
    straight = genzoo.walk(system, rows=2, steps=3)
    assert torch.equal(straight, genzoo.walk(system, rows=2, steps=3, path="linear"))
    w = system.sample_prior(2, generator=generators_for(system, 0, 2))
    assert torch.allclose(straight[0, 1], system.decode((w[:1] + w[1:]) / 2)[0], atol=1e-5)
    other = build("dcgan").eval()
    assert torch.equal(genzoo.walk(other, rows=2, steps=3), genzoo.walk(other, rows=2, steps=3, path="spherical"))


def test_path_length_of_a_linear_generator_by_hand():
    """For G(w) = Aw the length is ‖Aᵀy‖: with A of orthogonal columns of length a its square is a² · |y projected|²."""
    torch.manual_seed(0)
    a = torch.linalg.qr(torch.randn(64, 5))[0] * 3
    w = torch.randn(4000, 2, 5).requires_grad_()
    images = (w.sum(1) @ a.T).view(-1, 1, 8, 8)
    lengths = path_lengths(images, w)
    # Each layer's gradient is Aᵀy, so the average over layers changes nothing; y has variance 1/64.
    assert lengths.square().mean().item() == pytest.approx(9 * 5 / 64, rel=0.05)
    scale = torch.tensor(2.0, requires_grad=True)
    lengths = path_lengths(images * scale, w)
    (gradient,) = torch.autograd.grad(lengths.square().mean(), scale)
    assert gradient.item() == pytest.approx(2 * 2 * 9 * 5 / 64, rel=0.05)


def test_path_penalty_and_its_running_mean():
    torch.manual_seed(0)
    system = StyleGAN2(**SMALL)
    system.length.fill_(0.5)
    w = system._styles(3, None, 6)
    images = system.G(w, fresh_noise)
    torch.manual_seed(1)
    lengths = path_lengths(images, w)
    torch.manual_seed(1)
    mean, penalty = system._path_penalty(images, w)
    a = 0.99 * 0.5 + 0.01 * lengths.mean()
    assert system.length.item() == pytest.approx(a.item(), rel=1e-5)
    assert mean.item() == pytest.approx(lengths.mean().item(), rel=1e-5)
    assert penalty.item() == pytest.approx((lengths - a).square().mean().item(), rel=1e-4)
    penalty.backward(inputs=[system.G.const, system.F.layers[0].weight])
    assert system.G.const.grad.abs().sum() > 0
    other = StyleGAN2(**SMALL)
    w = other._styles(3, None, 6)
    first, _ = other._path_penalty(other.G(w, fresh_noise), w)
    assert other.length.item() == pytest.approx(first.item())  # and not a hundredth of it


def test_the_losses_by_hand():
    system = StyleGAN2(**{**SMALL, "path": 0.0, "r1": 0.0})
    zero = lambda: 0 * sum(p.sum() for p in system.D.parameters())  # noqa: E731
    system.D.forward = lambda x, y, batches: 0 * x.flatten(1).sum(1) + 3.0 + zero()
    _, logs = play(system)
    assert logs["d_loss"].item() == pytest.approx(math.log1p(math.exp(-3)) + math.log1p(math.exp(3)), abs=1e-5)
    assert logs["g_loss"].item() == pytest.approx(math.log1p(math.exp(-3)), abs=1e-5)


def test_r1_is_half_gamma_times_the_squared_gradient():
    direction = torch.randn(1, 16, 16)
    penalty = r1_penalty(lambda x: (x * direction).flatten(1).sum(1), torch.randn(4, 1, 16, 16), 3.0)
    assert penalty.item() == pytest.approx(1.5 * direction.square().sum().item(), rel=1e-5)


def test_lazy_penalties_come_when_they_are_due_as_updates_of_their_own():
    system = StyleGAN2(**{**SMALL, "r1_every": 3, "path_every": 2})
    update, _ = play(system, steps=4)
    assert update.calls == ["d", "d", "g", "g", "d", "g", "d", "g", "g", "d", "d", "g"]


def test_a_lazy_penalty_weighs_what_its_interval_is():
    losses = {}
    for every in (2, 4):
        torch.manual_seed(0)
        system = StyleGAN2(**{**SMALL, "r1_every": every, "path": 0.0})
        seen = []
        update = Update(system)
        act = lambda name, loss, seen=seen, update=update: (seen.append(loss.item()), update(name, loss))  # noqa: E731
        act.step, act.progress = 0, 0.0
        torch.manual_seed(1)
        system.training_step({"image": torch.rand(4, 1, 16, 16)}, act)
        losses[every] = seen
    # the first update of D is the same but for Adam's corrected rate, so R1 right after it is close
    assert losses[4][1] == pytest.approx(2 * losses[2][1], rel=0.2)


def test_adam_is_corrected_for_the_extra_steps():
    groups = {k: o.param_groups[0] for k, o in StyleGAN2(**SMALL).optimizers().items()}
    d, g = 16 / 17, 8 / 9
    assert groups["d"]["lr"] == pytest.approx(2e-3 * d)
    assert groups["d"]["betas"] == pytest.approx((0.0, 0.99**d))
    assert groups["g"]["lr"] == pytest.approx(2e-3 * g)
    assert groups["g"]["betas"] == pytest.approx((0.0, 0.99**g))


def test_the_class_is_mapped_in_eight_layers_before_stylegan2s_d_is_multiplied_with_it():
    """As NVlabs/stylegan2-ada-pytorch's D, whose parameters at this size are 327,072; an embedding alone in checkpoints from before it."""
    told = {"width": 32, "most": 64, "conditional": True}
    system = StyleGAN2(shape=(3, 32, 32), classes=10, **told)
    assert count(system.D) == 327_072
    assert count(system.D.mapping) == 8 * (64 * 64 + 64)
    before = StyleGAN2(shape=(3, 32, 32), classes=10, class_depth=0, **told)
    assert count(before.D) == 327_072 - 8 * (64 * 64 + 64)
    assert not any("mapping" in name for name in before.state_dict())

    y = torch.eye(10)[:4]
    c = system.D.embed(y)
    c = c / c.square().mean(1, keepdim=True).sqrt()
    for layer in system.D.mapping:  # N(0, 1) scaled by √2 / √64, biases 0, leaky rectifier
        c = F.leaky_relu(c @ layer.weight.T * 0.01 * math.sqrt(2 / 64), 0.2)
    x = torch.randn(4, 3, 32, 32)
    features = []
    system.D.score.register_forward_hook(lambda module, given, out: features.append(out))
    score = system.D(x, y)
    torch.testing.assert_close(score, (features[0] * c).sum(1) / 8, atol=1e-4, rtol=1e-4)


def test_ada_is_seen_by_d_only_and_its_probability_is_kept_with_the_run():
    torch.manual_seed(0)
    system = build("stylegan2-ada", ada_images=64)
    system.D.forward = (lambda original: lambda x, *rest: original(x, *rest) + 9.0)(
        system.D.forward
    )  # D says "real" always
    update, logs = play(system, steps=8, batch=4)
    assert logs["ada_r"].item() == 1.0
    assert logs["ada_p"].item() == pytest.approx(2 * 16 / 64)  # two moves of 16 images each
    assert {"augment.p", "augment.signs", "augment.seen"} <= set(system.state_dict())
    assert not any("augment" in name for name in update.moved["d"] | update.moved["g"])
    assert torch.isfinite(logs["d_loss"])
    plain = build("stylegan2")
    plain.load_state_dict({k: v for k, v in system.state_dict().items() if not k.startswith("augment")})
    assert torch.equal(plain.sample(2, generator=gen()), system.sample(2, generator=gen()))
