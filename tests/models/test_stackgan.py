"""StackGAN: conditioning augmentation and its KL, two stages by progress, the second on a fixed first."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.conditional.stackgan import Augment, Refiner, StackGAN
from tests.adversaries import gen, play

TINY = StackGAN.tiny


def batch(n=4, shape=(1, 16, 16)):
    caption = torch.stack([torch.arange(n) % 4 + 2, torch.zeros(n, dtype=torch.long)], 1)
    return {"image": torch.rand(n, *shape) * 2 - 1, "caption": caption}


def test_augmentation_is_a_normal_with_the_divergence_of_the_paper():
    torch.manual_seed(0)
    layer = Augment(6, 5)
    h = torch.randn(3, 6)
    mean, log_std = layer.dense(h).chunk(2, 1)
    c, kl = layer(h, torch.zeros(3, 5))
    assert torch.equal(c, mean)
    assert torch.allclose(kl, kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).mean(), atol=1e-6)
    many, _ = layer(h[:1].expand(20000, -1), torch.randn(20000, 5))
    assert torch.allclose(many.mean(0), mean[0], atol=0.05)
    assert torch.allclose(many.std(0), log_std[0].exp(), rtol=0.05)
    with torch.no_grad():
        layer.dense.weight.zero_()
        layer.dense.bias.zero_()
    assert layer(h, torch.randn(3, 5))[1].item() == 0, "a standard normal costs nothing"


def test_the_divergence_is_in_the_generators_loss():
    def g_loss(weight):
        torch.manual_seed(0)
        system = StackGAN(**TINY, kl_weight=weight)
        return play(system, data=lambda: given)[1]

    torch.manual_seed(1)
    given = batch()
    none, twice = g_loss(0.0), g_loss(2.0)
    assert (twice["g_loss"] - none["g_loss"]).item() == pytest.approx(2 * none["kl"].item(), abs=1e-5)
    assert none["d_loss"].item() == pytest.approx(twice["d_loss"].item(), abs=1e-6)


def test_golden_values_of_the_pairs():
    """Knowing nothing: ln 2 + ½ (ln 2 + ln 2) for D, ln 2 for G, in both stages."""
    system = StackGAN(**TINY, r1=0.0, kl_weight=0.0)
    for critic in (system.D1, system.D2):
        torch.nn.init.zeros_(critic.score.weight)
    _, logs = play(system, data=batch, total=1)
    assert logs["d_loss"].item() == pytest.approx(2 * math.log(2), abs=1e-6)
    system.first = 0.0
    _, logs = play(system, data=batch, total=1)
    assert logs["stage"] == 2
    assert logs["d_loss"].item() == pytest.approx(2 * math.log(2), abs=1e-6)


def test_the_stages_follow_progress_and_the_first_stays_fixed():
    torch.manual_seed(0)
    system = StackGAN(**TINY)
    update, _ = play(system, steps=4, total=8, data=batch)
    assert update.calls == ["d1", "g1"] * 4
    assert not system.second
    assert {k.split(".")[0] for k in update.moved["d1"]} == {"D1", "text"}
    assert {k.split(".")[0] for k in update.moved["g1"]} == {"G1", "augment_1"}
    frozen = {
        k: v.clone() for k, v in system.state_dict().items() if k.startswith(("G1", "D1", "augment_1", "text.enc"))
    }
    for _ in range(3):
        system.train().training_step(batch(), update)
        update.step += 1
    assert update.calls[8:] == ["d2", "g2"] * 3
    assert system.second
    assert {k.split(".")[0] for k in update.moved["g2"]} == {"G2", "augment_2"}
    assert {k.split(".")[0] for k in update.moved["d2"]} == {"D2"}
    after = system.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in frozen.items()), "running means of the first stage as well"


def test_the_first_stage_sees_real_images_averaged_down():
    system, seen = StackGAN(**TINY), []
    system.D1.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    plain, given = system.D1.look, batch()
    system.D1.look = lambda x: (seen.append(x.detach().clone()), plain(x))[1]
    play(system, data=lambda: given)
    assert torch.allclose(seen[0], F.avg_pool2d(given["image"], 2))


def test_a_sample_is_the_enlarged_sketch_until_the_second_stage_begins():
    torch.manual_seed(0)
    system = StackGAN(**TINY).eval()
    z = system.sample_prior(3, generator=gen())
    sketch, large = system.stages(z)
    assert (sketch.shape, large.shape) == ((3, 1, 8, 8), (3, 1, 16, 16))
    assert torch.equal(F.avg_pool2d(system.decode(z), 2), sketch)
    system.second.fill_(True)
    assert torch.equal(system.decode(z), large)


def test_with_skip_a_silent_refiner_hands_the_sketch_on():
    torch.manual_seed(0)
    for factor in (2, 4):
        for skip in (True, False):
            net = Refiner((3, 8, 8), factor, 5, 4, 1, skip).eval()
            last = net.up[-1]
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
            sketch = torch.rand(2, 3, 8, 8) * 2 - 1
            y = net(sketch, torch.randn(2, 5))
            assert y.shape == (2, 3, 8 * factor, 8 * factor)
            smooth = F.interpolate(sketch, scale_factor=factor, mode="bilinear", align_corners=False)
            assert torch.allclose(y, 0.98 * smooth if skip else torch.zeros_like(y), atol=1e-5)


def test_the_second_stage_reads_the_sentence_again_and_the_sketch():
    torch.manual_seed(0)
    net = Refiner((1, 8, 8), 2, 5, 4, 1, False).eval()
    sketch, c = torch.rand(2, 1, 8, 8, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    for gradient in torch.autograd.grad(net(sketch, c).square().sum(), (sketch, c)):
        assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_the_rate_is_halved_in_steps_within_each_stage():
    system = StackGAN(**TINY, halvings=3, first=0.4)
    assert [system.lr_scale(p) for p in (0, 0.11, 0.21, 0.31, 0.399)] == [1, 0.5, 0.25, 0.125, 0.125]
    assert [system.lr_scale(p) for p in (0.4, 0.56, 0.71, 0.86, 0.999)] == [1, 0.5, 0.25, 0.125, 0.125]


def test_the_papers_preset_has_the_sizes_that_the_documentation_tells():
    """docs/conditional.md: millions of parameters of both players, in both stages; G with what it makes of the sentence."""
    with torch.device("meta"):
        system = StackGAN((3, 256, 256), vocabulary=("a",), **StackGAN.presets["stackgan-256"])
    players = ((system.G1, system.augment_1), (system.D1,), (system.G2, system.augment_2), (system.D2,))
    sizes = [sum(p.numel() for net in nets for p in net.parameters()) for nets in players]
    assert [round(n / 1e6, 1) for n in sizes] == [9.3, 7.0, 7.0, 11.6]


@pytest.mark.parametrize(("shape", "factor"), [((3, 20, 16), 2), ((3, 8, 8), 2), ((3, 1024, 16), 2), ((3, 24, 32), 4)])
def test_impossible_shapes_are_refused_with_those_that_work(shape, factor):
    with pytest.raises(UserError, match=f"multiples of {4 * factor}, from {8 * factor} to {256 * factor}"):
        StackGAN(shape, vocabulary=("a",), factor=factor)


def test_data_without_captions_are_refused():
    with pytest.raises(UserError, match="stackgan needs captions"):
        StackGAN((1, 16, 16))


def test_the_first_stage_learns_which_word_looks_how():
    torch.manual_seed(0)
    settings = {**TINY, "dim": 8, "lr": 3e-3, "halvings": 0, "kl_weight": 0.05}
    system, levels = StackGAN(**settings), torch.tensor([-0.7, 0.0, 0.7])

    def data():
        label = torch.randint(3, (32,))
        caption = torch.stack([torch.full((32,), 2), label + 3], 1)
        return {"image": levels[label].view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 16, 16), "caption": caption}

    play(system, steps=300, total=1000, data=data)
    system.eval()
    z = [system.sample_prior(64, generator=gen(), prompt=f"a {w}") for w in TINY["vocabulary"][1:]]
    assert [system.stages(latent)[0].mean().item() for latent in z] == pytest.approx(levels.tolist(), abs=0.35)
