"""StyleGAN: parameter counts of the paper, styles by their definitions, growth; what StyleGAN2 has in common with it, of both."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.models.adversarial._modulated import ModulatedLayer
from genzoo.models.adversarial.stylegan import StyledLayer, StyleGAN
from genzoo.models.adversarial.stylegan2 import StyleGAN2
from genzoo.naming.registry import system_class
from genzoo.nn.gan.equalized import EqualLinear
from genzoo.nn.gan.growing import enlarge, growth, real_at
from genzoo.nn.gan.styles import fresh_noise
from genzoo.saved.loading import as_today
from genzoo.training.choices import complete
from genzoo.training.settings import TrainSettings
from tests.adversaries import gen, play

SMALL = {"shape": (1, 16, 16), "latent": 4, "width": 4, "most": 8, "depth": 2}
both = pytest.mark.parametrize("cls", [StyleGAN, StyleGAN2])


def still(fixed, n):
    return fixed


def count(module):
    return sum(p.numel() for p in module.parameters())


def at_the_end(system):
    """How the nets of a system are called when it is fully grown: the level, where it grows."""
    return (system.levels,) if isinstance(system, StyleGAN) else ()


@pytest.mark.parametrize(
    ("preset", "generator", "discriminator"),
    [("stylegan-ffhq", 26_219_627, 23_087_249), ("stylegan2-ffhq", 30_370_060, 29_012_513)],
)
def test_parameters_of_the_papers_nets_at_1024(preset, generator, discriminator):
    """As the authors' programs print them: generators with their mapping."""
    system = genzoo.create(preset, shape=(3, 1024, 1024))
    assert count(system.F) == 8 * (512 * 512 + 512)
    assert count(system.F) + count(system.G) == generator
    assert count(system.D) == discriminator
    assert system.layers == 18


@both
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (5, 40, 24)], ids=str)
def test_sizes_and_channels(cls, shape):
    system = cls(**{**SMALL, "shape": shape})
    assert system.sample(2, generator=gen()).shape == (2, *shape)
    assert system.D(torch.randn(2, *shape), *at_the_end(system)).shape == (2,)


@both
def test_other_sizes_and_impossible_choices_are_refused_in_words(cls):
    with pytest.raises(UserError, match="32x32"):
        cls(shape=(1, 31, 31))
    with pytest.raises(UserError, match="8 to 1024"):
        cls(shape=(1, 4, 32))
    with pytest.raises(UserError, match="labels"):
        cls(**SMALL, conditional=True, classes=0)


def test_adain_gives_every_channel_the_styles_mean_and_deviation():
    torch.manual_seed(0)
    layer = StyledLayer(3, 6, 4, (8, 8))
    layer.strength.data.normal_()
    w = torch.randn(2, 4)
    out = layer(torch.randn(2, 3, 8, 8), w, still)
    scale, shift = layer.style(w).chunk(2, 1)
    assert torch.allclose(out.mean((2, 3)), shift, atol=1e-5)
    assert torch.allclose(out.std((2, 3), correction=0), (1 + scale).abs(), atol=1e-4)


@pytest.mark.parametrize("kind", [StyledLayer, ModulatedLayer])
def test_noise_enters_by_its_strength_before_the_rectifier(kind):
    layer = kind(3, 6, 4, (8, 8))
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    assert torch.equal(layer(x, w, still), layer(x, w, fresh_noise))  # strength starts at 0
    layer.strength.data.fill_(0.5)
    assert not torch.allclose(layer(x, w, still), layer(x, w, fresh_noise))
    if kind is ModulatedLayer:
        by_hand = layer.conv(x, w) * math.sqrt(2) + 0.5 * layer.fixed + layer.bias[:, None, None]
        assert torch.allclose(layer(x, w, still), F.leaky_relu(by_hand, 0.2), atol=1e-5)


@both
def test_without_noise_an_image_depends_on_its_styles_alone(cls):
    torch.manual_seed(0)
    for noise, same in ((True, False), (False, True)):
        system = cls(**SMALL, noise=noise)
        for name, p in system.named_parameters():
            if name.endswith("strength"):
                p.data.fill_(0.5)
        update, _ = play(system, steps=1)
        assert any(name.endswith("strength") for name in update.moved["g"]) is noise
        w = system.sample_prior(3, generator=gen())
        level = system._grown(float(system.progress)) if cls is StyleGAN else ()
        a, b = (system.G(w[:, None].expand(-1, system.layers, -1), fresh_noise, *level) for _ in range(2))
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


@both
def test_no_layer_starts_with_exploding_gradients(cls):
    """Instance norm of a constant of ones divides by the square root of its epsilon: gradients times 1e4, which Adam then remembers."""
    torch.manual_seed(0)
    system = cls(**{**SMALL, "width": 8, "most": 16, "latent": 16})
    end = at_the_end(system)
    loss = F.softplus(-system.D(system.G(system._styles(16, None, 6), fresh_noise, *end), *end)).mean()
    parts = [*system.G.parameters()]
    sizes = [g.norm().item() for g in torch.autograd.grad(loss, parts, allow_unused=True) if g is not None]
    assert 1e-4 < max(sizes) < 10


@both
def test_the_mixing_table(cls):
    torch.manual_seed(0)
    system = cls(**SMALL)
    if cls is StyleGAN:
        system.progress.fill_(1)
    found = system.figures(generator=gen(), rows=2, columns=3, truncation=1.0)
    w = system.sample_prior(5, generator=gen())
    for name, of_row in (("mixing-coarse", [True] * 3 + [False] * 3), ("mixing-fine", [False] * 3 + [True] * 3)):
        table = found[name].images.unflatten(0, (3, 4))
        assert torch.equal(table[0, 0], torch.ones(1, 16, 16))
        assert torch.allclose(table[1:, 0], system.decode(w[:2]), atol=1e-5)
        assert torch.allclose(table[0, 1:], system.decode(w[2:]), atol=1e-5)
        for i, j in itertools.product(range(2), range(3)):
            mixed = torch.stack([w[i] if row else w[2 + j] for row in of_row])
            assert torch.allclose(table[1 + i, 1 + j], system.decode(mixed[None])[0], atol=1e-5)


@both
def test_styles_of_every_layer_are_the_other_image_and_layers_need_not_be_neighbours(cls):
    torch.manual_seed(0)
    system = cls(**SMALL)
    taking, given = system.sample_prior(4, generator=gen()).chunk(2)
    assert torch.equal(system.mix(taking, given, range(6)), system.decode(given))
    each = torch.stack([given if k in (0, 5) else taking for k in range(6)], 1)
    assert torch.equal(system.mix(taking, given, (5, 0)), system.decode(each))
    for wrong in ((), (6,), (-1, 2)):
        with pytest.raises(UserError, match="there are 6"):
            system.mix(taking, given, wrong)


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


@both
def test_with_classes_both_players_hear_of_them(cls):
    torch.manual_seed(0)
    system = cls(**SMALL, conditional=True, classes=3)
    update, _ = play(system, steps=1)
    assert "F.embed.weight" in update.moved["g"]
    assert "D.embed.weight" in update.moved["d"]
    x = torch.randn(4, 1, 16, 16)
    scores = [system.D(x, *at_the_end(system), y=system._one_hot(torch.full((4,), k))) for k in range(3)]
    assert not torch.allclose(scores[0], scores[1])
    a, b = (system.sample(4, generator=gen(), label=k) for k in (0, 1))
    assert not torch.allclose(a, b)
    assert cls(**SMALL).labels == 0


def test_while_it_grows_the_crossover_is_within_the_layers_that_are_there():
    short = StyleGAN(**{**SMALL, "mixing": 1.0})._styles(100, None, 4)
    assert ((short[:, 1:4] != short[:, :3]).any(2).sum(1) == 1).all()


def test_a_centred_style_takes_the_plain_map_away():
    torch.manual_seed(0)
    paper, zero = (StyledLayer(3, 6, 4, (8, 8), around=around) for around in (1.0, 0.0))
    zero.load_state_dict(paper.state_dict())
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    normed = F.instance_norm(F.leaky_relu(paper.conv(x), 0.2), eps=1e-8)
    assert torch.allclose(paper(x, w, still) - zero(x, w, still), normed, atol=1e-5)


def test_r1_comes_with_every_loss_of_d():
    update, logs = play(StyleGAN(**SMALL), steps=2)
    assert update.calls == ["d", "g"] * 2
    assert "r1" in logs
    update, logs = play(StyleGAN(**{**SMALL, "r1": 0.0}), steps=2)
    assert "r1" not in logs


def test_adam_is_plain():
    plain = StyleGAN(**SMALL).optimizers()["d"].param_groups[0]
    assert (plain["lr"], plain["betas"]) == (1e-3, (0.0, 0.99))


def test_a_description_of_an_earlier_version_is_of_the_system_that_it_is_now():
    """StyleGAN and StyleGAN2 were one system, whose argument `style` told them apart."""
    first = {"style": "adain", "class_depth": 0, "r1_every": 1, "path": 0.0, "path_every": 8, "ada": False, "grow": 0.6}
    second = {"style": "modulated", "grow": 0.0, "r1_every": 16, "path": 2.0, "lr": 2e-3}
    assert as_today(StyleGAN, first) == (StyleGAN, {"grow": 0.6})
    for cls in (StyleGAN, StyleGAN2):  # named by the file "stylegan" with the argument, or by the preset
        kind, arguments = as_today(cls, second)
        assert kind is StyleGAN2
        assert arguments == {"class_depth": 0, "r1_every": 16, "path": 2.0, "lr": 2e-3}
    with pytest.raises(UserError, match="ada=True was possible here in earlier versions only"):
        as_today(StyleGAN, {**first, "ada": True})


def test_models_of_an_earlier_version_load_without_what_is_kept_no_more():
    for cls, gone in ((StyleGAN, "length"), (StyleGAN2, "progress")):
        system = cls(**SMALL)
        state = {**system.state_dict(), gone: torch.ones(())}
        cls(**SMALL).load_state_dict(state)
        with pytest.raises(RuntimeError, match="unknown"):
            cls(**SMALL).load_state_dict({**state, "unknown": torch.ones(())})
