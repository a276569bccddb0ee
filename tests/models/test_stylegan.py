"""StyleGAN and StyleGAN2: parameter counts of the papers, styles by their definitions, mixing, truncation, lazy penalties."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.core.registry import system_class
from genzoo.losses.penalties import path_lengths, r1_penalty
from genzoo.models.adversarial.stylegan import StyleGAN
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear
from genzoo.nn.gan.growing import enlarge, growth, real_at
from genzoo.nn.gan.modulated import ModulatedConv2d, StyledLayer
from genzoo.training.choices import complete
from genzoo.training.settings import TrainSettings
from tests.adversaries import Update, gen, play
from tests.conftest import build

SMALL = {"shape": (1, 16, 16), "latent": 4, "width": 4, "most": 8, "depth": 2}
TWO = {**SMALL, **StyleGAN.presets["stylegan2"]}


def still(fixed, n):
    return fixed


def count(module):
    return sum(p.numel() for p in module.parameters())


# ---- the papers' nets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "generator", "discriminator"),
    [("stylegan-ffhq", 26_219_627, 23_087_249), ("stylegan2-ffhq", 30_370_060, 29_012_513)],
)
def test_parameters_of_the_papers_nets_at_1024(preset, generator, discriminator):
    """As the authors' programs print them: generators with their mapping."""
    system = StyleGAN(shape=(3, 1024, 1024), **StyleGAN.presets[preset])
    assert count(system.F) == 8 * (512 * 512 + 512)
    assert count(system.F) + count(system.G) == generator
    assert count(system.D) == discriminator
    assert system.layers == 18


@pytest.mark.parametrize("style", ["adain", "modulated"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (5, 40, 24)], ids=str)
def test_sizes_and_channels(style, shape):
    system = StyleGAN(**{**SMALL, "shape": shape, "style": style, "grow": 0.0})
    assert system.sample(2, generator=gen()).shape == (2, *shape)
    assert system.D(torch.randn(2, *shape), system.levels).shape == (2,)
    assert StyleGAN(**{**SMALL, "shape": shape, "style": style, "grow": 0.0, "ada": True}).augment(
        torch.randn(2, *shape)
    ).shape == (2, *shape)


def test_other_sizes_and_impossible_choices_are_refused_in_words():
    with pytest.raises(UserError, match="32x32"):
        StyleGAN(shape=(1, 31, 31))
    with pytest.raises(UserError, match="8 to 1024"):
        StyleGAN(shape=(1, 4, 32))
    with pytest.raises(UserError, match="grow=0"):
        StyleGAN(**{**SMALL, "style": "modulated"})
    with pytest.raises(UserError, match="labels"):
        StyleGAN(**SMALL, conditional=True, classes=0)


# ---- blocks by their definitions -----------------------------------------------------------------------------------------------------


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


def test_adain_gives_every_channel_the_styles_mean_and_deviation():
    torch.manual_seed(0)
    layer = StyledLayer(3, 6, 4, (8, 8), style="adain")
    layer.strength.data.normal_()
    w = torch.randn(2, 4)
    out = layer(torch.randn(2, 3, 8, 8), w, still)
    scale, shift = layer.style(w).chunk(2, 1)
    assert torch.allclose(out.mean((2, 3)), shift, atol=1e-5)
    assert torch.allclose(out.std((2, 3), correction=0), (1 + scale).abs(), atol=1e-4)


@pytest.mark.parametrize("style", ["adain", "modulated"])
def test_noise_enters_by_its_strength_before_the_rectifier(style):
    layer = StyledLayer(3, 6, 4, (8, 8), style=style)
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    fresh = lambda fixed, n: torch.randn(n, *fixed.shape[1:])  # noqa: E731
    assert torch.equal(layer(x, w, still), layer(x, w, fresh))  # strength starts at 0
    layer.strength.data.fill_(0.5)
    assert not torch.allclose(layer(x, w, still), layer(x, w, fresh))
    if style == "modulated":
        by_hand = layer.conv(x, w) * math.sqrt(2) + 0.5 * layer.fixed + layer.bias[:, None, None]
        assert torch.allclose(layer(x, w, still), F.leaky_relu(by_hand, 0.2), atol=1e-5)


@pytest.mark.parametrize("settings", [SMALL, TWO], ids=["stylegan", "stylegan2"])
def test_without_noise_an_image_depends_on_its_styles_alone(settings):
    torch.manual_seed(0)
    for noise, same in ((True, False), (False, True)):
        system = StyleGAN(**settings, noise=noise)
        for name, p in system.named_parameters():
            if name.endswith("strength"):
                p.data.fill_(0.5)
        update, _ = play(system, steps=1)
        assert any(name.endswith("strength") for name in update.moved["g"]) is noise
        w = system.sample_prior(3, generator=gen())
        level = system._grown(float(system.progress))
        a, b = (system.G(w[:, None].expand(-1, system.layers, -1), system._fresh, *level) for _ in range(2))
        assert torch.allclose(a, b) is same


def test_the_mapping_normalizes_z_and_learns_slowly():
    system = StyleGAN(**SMALL)
    z = torch.randn(3, 4)
    assert torch.allclose(system.F(z, None), system.F(7 * z, None), atol=1e-5)
    slow, fast = EqualLinear(16, 8, rate=0.01), EqualLinear(16, 8)
    slow.weight.data, slow.bias.data = fast.weight / 0.01, torch.ones(8)
    x = torch.randn(4, 16)
    before = slow(x).detach()
    assert torch.allclose(before, fast(x) + 0.01, atol=1e-5)
    for layer in (slow, fast):
        layer.weight.data += 0.1  # what Adam does to every weight
    assert torch.allclose(slow(x) - before, 0.01 * (fast(x) - before + 0.01), atol=1e-4)
    assert torch.allclose(EqualLinear(16, 8, rate=0.01, bias=1.0)(torch.zeros(1, 16)), torch.ones(1, 8))


def test_all_pixels_of_stylegan2_add_up():
    """The image is the sum over sizes of that size's pixels, doubled as often as it takes."""
    from genzoo.nn.gan.upfirdn import double

    system = StyleGAN(**TWO)
    w = torch.randn(2, 6, 4)
    whole = system.G(w, still, 2)
    total = 0
    for k in range(3):
        kept = [p.weight.data.clone() for p in system.G.pixels]
        for j, p in enumerate(system.G.pixels):
            p.weight.data *= j == k
        total = total + system.G(w, still, 2)
        for p, v in zip(system.G.pixels, kept, strict=True):
            p.weight.data = v
    assert torch.allclose(whole, total, atol=1e-5)
    small = system.G(w, still, 1)
    last = system.G.pixels[2].weight.data
    system.G.pixels[2].weight.data = torch.zeros_like(last)
    assert torch.allclose(system.G(w, still, 2), double(small), atol=1e-5)


# ---- growing ---------------------------------------------------------------------------------------------------------------------------


def test_a_new_level_enters_without_a_jump():
    system = StyleGAN(**{**SMALL, "shape": (1, 32, 32)})
    w, x = torch.randn(4, 8, 4), torch.randn(4, 1, 32, 32)
    for level in (2, 3):
        low = system.G(w, still, level - 1)
        assert torch.allclose(system.G(w, still, level, 0.0), enlarge(low), atol=1e-5)
        real = real_at(x, level, 1.0, 3)
        assert torch.allclose(system.D(real, level, 0.0), system.D(F.avg_pool2d(real, 2), level - 1), atol=1e-5)
        half = system.G(w, still, level, 0.5)
        assert torch.allclose(half, (enlarge(low) + system.G(w, still, level)) / 2, atol=1e-5)


def test_growth_starts_with_one_doubling_and_only_grown_parts_move():
    system = StyleGAN(**{**SMALL, "shape": (1, 32, 32)})
    update, _ = play(system, steps=1, total=100)
    moved = update.moved["d"] | update.moved["g"]
    assert "G.pixels.1.weight" in moved
    assert not any(f"{part}.{k}." in name for name in moved for part in ("G.blocks", "G.pixels") for k in (2, 3))
    coarse = system.sample(2, generator=gen())
    assert torch.equal(coarse, enlarge(coarse[:, :, ::4, ::4], 4))
    assert [system._grown(p / 10)[0] for p in range(10)] == [growth(p / 10, 2, 0.6)[0] + 1 for p in range(10)]
    assert system._grown(0.99) == (3, 1.0)


# ---- the start --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["adain", "modulated"])
def test_no_layer_starts_with_exploding_gradients(style):
    """Instance norm of a constant of ones divides by the square root of its epsilon: gradients times 1e4, which Adam then remembers."""
    torch.manual_seed(0)
    system = StyleGAN(**{**SMALL, "style": style, "grow": 0.0, "width": 8, "most": 16, "latent": 16})
    loss = F.softplus(-system.D(system.G(system._styles(16, None, 2), system._fresh, 2), 2)).mean()
    parts = [*system.G.parameters()]
    sizes = [g.norm().item() for g in torch.autograd.grad(loss, parts, allow_unused=True) if g is not None]
    assert 1e-4 < max(sizes) < 10


def shared(system):
    """Share of the first maps' power that all examples have in common."""
    with torch.no_grad():
        w = system._styles(500, None, 2)
        x = system.G.const.expand(500, -1, -1, -1)
        x = system.G.blocks[0][0].conv(x, w[:, 0])
    return (x.mean(0).square().mean() / x.square().mean()).item()


def test_centred_styles_leave_nothing_in_common_at_the_start():
    """s = 1 + Aw, w behind a rectifier: about 1/5 of w's power is its mean's, so (1 + 1/5) / (1 + 1) is common to all; centred, nothing."""
    settings = {**TWO, "width": 32, "most": 128, "latent": 256, "depth": 1}
    for centred, low, high in ((False, 0.5, 0.75), (True, 0.0, 0.01)):
        torch.manual_seed(0)
        system = StyleGAN(**{**settings, "centred": centred})
        assert low < shared(system) < high
        styles = [layer.conv.style for layer in itertools.chain(*system.G.blocks)] + [p.style for p in system.G.pixels]
        assert all(torch.equal(s.bias, torch.full_like(s.bias, 0.0 if centred else 1.0)) for s in styles)
    again = StyleGAN(**{**settings, "centred": True})
    again.load_state_dict(system.state_dict())
    z = torch.randn(3, 256)
    assert torch.equal(again.F(z, None), system.F(z, None))  # the centre is kept with the weights
    told = StyleGAN(**{**settings, "centred": True, "conditional": True, "classes": 3})
    w = torch.cat([told.sample_prior(500, generator=gen(), label=k) for k in range(3)])
    assert w.mean(0).abs().max() < 0.3 < w.std()
    torch.manual_seed(0)
    paper, zero = (StyledLayer(3, 6, 4, (8, 8), style="adain", around=around) for around in (1.0, 0.0))
    zero.load_state_dict(paper.state_dict())
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    normed = F.instance_norm(F.leaky_relu(paper.conv(x), 0.2), eps=1e-8)
    assert torch.allclose(paper(x, w, still) - zero(x, w, still), normed, atol=1e-5)


# ---- styles ------------------------------------------------------------------------------------------------------------------------------


def test_mixing_crosses_over_once_and_as_often_as_asked():
    torch.manual_seed(0)
    system = StyleGAN(**{**TWO, "mixing": 0.7})
    w = system._styles(400, None, 2).detach()
    change = (w[:, 1:] != w[:, :-1]).any(2).sum(1)
    assert set(change.tolist()) == {0, 1}
    assert change.float().mean().item() == pytest.approx(0.7, abs=0.08)
    where = (w[:, 1:] != w[:, :-1]).any(2).float().sum(0)
    assert (where > 0.7 * 400 / 5 * 0.6).all()  # every crossover is drawn
    assert not (StyleGAN(**{**TWO, "mixing": 0.0})._styles(50, None, 2).diff(dim=1)).any()
    # while it grows, the crossover is within the layers that are there
    short = StyleGAN(**{**SMALL, "mixing": 1.0})._styles(100, None, 1)
    assert ((short[:, 1:4] != short[:, :3]).any(2).sum(1) == 1).all()


def test_the_running_mean_of_w():
    torch.manual_seed(0)
    system = StyleGAN(**{**TWO, "mixing": 0.0, "mean_decay": 0.9})
    expected = torch.zeros(4)
    for _ in range(3):
        w = system._styles(8, None, 2)[:, 0].detach()
        expected = 0.9 * expected + 0.1 * w.mean(0)
    assert torch.allclose(system.mean, expected, atol=1e-6)


def test_truncation_by_hand():
    system = StyleGAN(**TWO)
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


@pytest.mark.parametrize("settings", [SMALL, TWO], ids=["stylegan", "stylegan2"])
def test_the_mixing_table(settings):
    system = StyleGAN(**settings)
    system.progress.fill_(1)
    table = system.mix(2, 3, generator=gen(), first=2, last=4).unflatten(0, (3, 4))
    assert torch.equal(table[0, 0], torch.ones(1, 16, 16))
    w = system.sample_prior(5, generator=gen())
    assert torch.allclose(table[1:, 0], system.decode(w[:2]), atol=1e-5)
    assert torch.allclose(table[0, 1:], system.decode(w[2:]), atol=1e-5)
    for i, j in itertools.product(range(2), range(3)):
        mixed = torch.cat([w[2 + j].expand(2, -1), w[i].expand(2, -1), w[2 + j].expand(2, -1)])
        assert torch.allclose(table[1 + i, 1 + j], system.decode(mixed[None])[0], atol=1e-5)
    whole = system.mix(2, 3, generator=gen()).unflatten(0, (3, 4))
    assert torch.allclose(whole[1:, 1:], whole[1:, :1].expand(-1, 3, -1, -1, -1), atol=1e-5)
    with pytest.raises(UserError, match="there are 6"):
        system.mix(2, 2, generator=gen(), first=6)


def test_decoding_is_deterministic_and_samples_have_noise_of_their_own():
    system = StyleGAN(**TWO)
    for name, p in system.G.named_parameters():
        if name.endswith("strength"):
            p.data.fill_(1.0)
    w = system.sample_prior(2, generator=gen())
    assert torch.equal(system.decode(w), system.decode(w))
    assert not torch.allclose(system.sample(2, generator=gen()), system.decode(w))


def test_one_walks_straight_in_w_and_on_arcs_elsewhere():
    system = StyleGAN(**TWO).eval()
    straight = genzoo.walk(system, rows=2, steps=3)
    assert torch.equal(straight, genzoo.walk(system, rows=2, steps=3, path="linear"))
    w = system.sample_prior(2, generator=gen())
    assert torch.allclose(straight[0, 1], system.decode((w[:1] + w[1:]) / 2)[0], atol=1e-5)
    other = build("dcgan").eval()
    assert torch.equal(genzoo.walk(other, rows=2, steps=3), genzoo.walk(other, rows=2, steps=3, path="spherical"))


# ---- penalties and optimizers -----------------------------------------------------------------------------------------------------------


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
    system = StyleGAN(**TWO)
    system.length.fill_(0.5)
    w = system._styles(3, None, 2)
    images = system.G(w, system._fresh, 2)
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
    fresh = StyleGAN(**TWO)
    w = fresh._styles(3, None, 2)
    first, _ = fresh._path_penalty(fresh.G(w, fresh._fresh, 2), w)
    assert fresh.length.item() == pytest.approx(first.item())  # and not a hundredth of it


def test_the_losses_by_hand():
    system = StyleGAN(**{**TWO, "path": 0.0, "r1": 0.0})
    zero = lambda: 0 * sum(p.sum() for p in system.D.parameters())  # noqa: E731
    system.D.forward = lambda x, level, fade, y, batches: 0 * x.flatten(1).sum(1) + 3.0 + zero()
    _, logs = play(system)
    assert logs["d_loss"].item() == pytest.approx(math.log1p(math.exp(-3)) + math.log1p(math.exp(3)), abs=1e-5)
    assert logs["g_loss"].item() == pytest.approx(math.log1p(math.exp(-3)), abs=1e-5)


def test_r1_is_half_gamma_times_the_squared_gradient():
    direction = torch.randn(1, 16, 16)
    penalty = r1_penalty(lambda x: (x * direction).flatten(1).sum(1), torch.randn(4, 1, 16, 16), 3.0)
    assert penalty.item() == pytest.approx(1.5 * direction.square().sum().item(), rel=1e-5)


def test_lazy_penalties_come_when_they_are_due_as_updates_of_their_own():
    system = StyleGAN(**{**TWO, "r1_every": 3, "path_every": 2})
    update, _ = play(system, steps=4)
    assert update.calls == ["d", "d", "g", "g", "d", "g", "d", "g", "g", "d", "d", "g"]
    assert StyleGAN(**SMALL).r1_every == 1
    update, logs = play(StyleGAN(**SMALL), steps=2)
    assert update.calls == ["d", "g"] * 2
    assert "r1" in logs
    update, logs = play(StyleGAN(**{**SMALL, "r1": 0.0}), steps=2)
    assert "r1" not in logs


def test_a_lazy_penalty_weighs_what_its_interval_is():
    losses = {}
    for every in (2, 4):
        torch.manual_seed(0)
        system = StyleGAN(**{**TWO, "r1_every": every, "path": 0.0})
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
    groups = {k: o.param_groups[0] for k, o in StyleGAN(**TWO).optimizers().items()}
    d, g = 16 / 17, 8 / 9
    assert groups["d"]["lr"] == pytest.approx(2e-3 * d)
    assert groups["d"]["betas"] == pytest.approx((0.0, 0.99**d))
    assert groups["g"]["lr"] == pytest.approx(2e-3 * g)
    assert groups["g"]["betas"] == pytest.approx((0.0, 0.99**g))
    plain = StyleGAN(**SMALL).optimizers()["d"].param_groups[0]
    assert (plain["lr"], plain["betas"]) == (1e-3, (0.0, 0.99))


def test_averaged_weights_have_a_half_life_in_images():
    chosen = complete(StyleGAN, TrainSettings(batch=32))
    assert chosen.ema_images == 10_000
    assert chosen.ema ** (10_000 / 32) == pytest.approx(0.5)
    assert complete(StyleGAN, chosen) == chosen  # what a run's config.toml gives back
    assert complete(StyleGAN, TrainSettings(ema=0.9)).ema_images is None
    other = complete(system_class("dcgan"), TrainSettings(ema_images=640))
    assert other.ema**10 == pytest.approx(0.5)
    with pytest.raises(UserError, match="one of the two"):
        complete(StyleGAN, TrainSettings(ema=0.9, ema_images=100))


# ---- classes and ADA ---------------------------------------------------------------------------------------------------------------------


def test_the_class_is_mapped_in_eight_layers_before_stylegan2s_d_is_multiplied_with_it():
    """As NVlabs/stylegan2-ada-pytorch's D, whose parameters at this size are 327,072; an embedding alone where a checkpoint has no more."""
    told = {**StyleGAN.presets["stylegan2"], "width": 32, "most": 64, "conditional": True}
    system = StyleGAN(shape=(3, 32, 32), classes=10, **told)
    assert count(system.D) == 327_072
    assert count(system.D.mapping) == 8 * (64 * 64 + 64)
    before = StyleGAN(shape=(3, 32, 32), classes=10, **{k: v for k, v in told.items() if k != "class_depth"})
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
    score = system.D(x, 3, 1.0, y)
    torch.testing.assert_close(score, (features[0] * c).sum(1) / 8, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [SMALL, TWO], ids=["stylegan", "stylegan2"])
def test_with_classes_both_players_hear_of_them(settings):
    torch.manual_seed(0)
    system = StyleGAN(**settings, conditional=True, classes=3)
    update, _ = play(system, steps=1)
    assert "F.embed.weight" in update.moved["g"]
    assert "D.embed.weight" in update.moved["d"]
    x = torch.randn(4, 1, 16, 16)
    scores = [system.D(x, 2, 1.0, system._one_hot(torch.full((4,), k))) for k in range(3)]
    assert not torch.allclose(scores[0], scores[1])
    a, b = (system.sample(4, generator=gen(), label=k) for k in (0, 1))
    assert not torch.allclose(a, b)
    assert StyleGAN(**settings).labels == 0


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
