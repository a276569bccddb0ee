"""BEGAN: the balance k by hand and within [0, 1], the measure M, and who moves whom."""

import dataclasses

import pytest
import torch
from torch import nn

import genzoo
from genzoo.models.adversarial.began import BEGAN, pulling_away
from genzoo.naming.registry import create
from genzoo.saved import loading
from genzoo.training.start import resume
from tests.adversaries import Update, gen, play
from tests.conftest import data_for

TINY = BEGAN.tiny


def with_errors(system, real, fake):
    """Let D err by fixed amounts (that still depend on the weights, with gradient zero): by `real` on white images, by `fake` on others."""

    def off(decoder, given, out):
        anchor = 0 * sum(p.sum() for p in system.D.parameters())
        return seen[0] + anchor + (real if (seen[0] == 1).all() else fake)

    def remember(encoder, given, out):
        seen[:] = given

    seen = []
    system.D[0].register_forward_hook(remember)
    system.D[1].register_forward_hook(off)
    return system


def step(system, n=1, total=10):
    return play(system, steps=n, total=total, data=lambda: {"image": torch.ones(4, 1, 8, 8)})


@pytest.mark.parametrize(("real", "fake"), [(0.4, 0.1), (0.4, 0.3), (0.1, 0.9)])
def test_k_and_m_by_hand(real, fake):
    """k <- clip(k + λ (γ L(x) − L(G(z))), 0, 1) and M = L(x) + |γ L(x) − L(G(z))|, in both directions."""
    system = with_errors(BEGAN(**TINY, gamma=0.5, gain=0.1), real, fake)
    system.k.fill_(0.3)
    _, logs = step(system)
    assert logs["k"].item() == pytest.approx(0.3 + 0.1 * (0.5 * real - fake), abs=1e-6)
    assert logs["m"].item() == pytest.approx(real + abs(0.5 * real - fake), abs=1e-6)
    assert logs["real_error"].item() == pytest.approx(real)
    assert logs["fake_error"].item() == pytest.approx(fake)


@pytest.mark.parametrize(("real", "fake", "end"), [(1.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
def test_k_stays_between_0_and_1(real, fake, end):
    """Without the clip k would run to 5 or to -9 (compare_gan's first version has none)."""
    system = with_errors(BEGAN(**TINY, gain=1.0), real, fake)
    for _ in range(10):
        _, logs = step(system)
        assert 0 <= logs["k"] <= 1
    assert logs["k"] == end


def test_k_starts_at_0_and_is_saved():
    system = BEGAN(**TINY)
    assert system.k == 0
    assert "k" in system.state_dict()


def test_the_discriminators_loss_weighs_generated_images_by_k():
    """With k = 0 the generated images do not enter at all; with k = 1 D is rewarded for their error."""
    torch.manual_seed(0)
    system, x = BEGAN(**TINY), torch.rand(4, 1, 8, 8)
    got = {}

    class Spy(Update):
        def __call__(self, name, loss):
            got[name] = loss.item()

    for k in (0.0, 0.5, 1.0):
        system.k.fill_(k)
        torch.manual_seed(1)
        logs = system.training_step({"image": x}, Spy(system))
        torch.manual_seed(1)
        on_fake = system.error(system.G(system._draw(4)).detach())
        assert got["d"] == pytest.approx((logs["real_error"] - k * on_fake).item(), abs=1e-6)
        expected = logs["fake_error"] + system.pull * logs["alike"]
        assert got["g"] == pytest.approx(expected.item(), abs=1e-6)


def test_each_loss_moves_only_its_player_and_noise_is_drawn_for_each():
    system, seen = BEGAN(**TINY), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    system.k.fill_(0.5)
    update, _ = play(system)
    assert update.calls == ["d", "g"]
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}
    assert not torch.equal(*seen)


def strided(system):
    return [m.out_channels for m in system.D[0].net if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_nets():
    """As carpedm20/BEGAN-tensorflow builds them for 64 pixels, whose variables are 1,716,611 in G and 13,405,379 in D."""
    system = create("began-paper", shape=(3, 64, 64))
    assert (count(system.G), count(system.D)) == (1_716_611, 13_405_379)
    assert system.D[0].net[-1].out_features == system.G.dense.in_features == 64
    assert all(m.kernel_size == (3, 3) for m in system.modules() if isinstance(m, nn.Conv2d))
    assert strided(system) == [128, 256, 384]
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.Dropout, nn.ConvTranspose2d)) for m in system.modules())
    assert count(system.G) == count(system.D[1])


def test_a_checkpoint_from_before_the_papers_encoder_is_built_as_it_was():
    old = {"shape": (3, 64, 64), "latent": 8, "width": 4, "gamma": 0.5, "gain": 0.001, "lr": 1e-4, "beta1": 0.5}
    system = loading.build({"system": "began", "hparams": old})
    assert strided(system) == [8, 12, 16, 20]
    assert system.pull == 0
    assert strided(BEGAN(**old)) == [4, 8]
    between = loading.build({"system": "began", "hparams": old | {"smallest": 4, "widen": "after", "pull": 0.2}})
    assert (strided(between), convolutions(between.G)) == ([4, 8, 12, 16], 2 * 5 + 1)
    assert (system.gamma, system.gain, system.lr) == (0.5, 0.001, 1e-4)


def convolutions(module):
    return sum(isinstance(m, nn.Conv2d) for m in module.modules())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_is_the_convolutions_at_each_size(depth):
    """32 pixels with maps of 8 at least: three sizes; the decoder's last convolution makes the image, the encoder's first one takes it."""
    system = BEGAN((3, 32, 32), width=4, smallest=8, depth=depth)
    assert convolutions(system.G) == convolutions(system.D[1]) == 3 * depth + 1
    assert convolutions(system.D[0]) == 1 + 3 * depth + 2
    assert system.sample(1, generator=gen()).shape == (1, 3, 32, 32)


def test_the_papers_values_are_the_papers():
    system = create("began-paper", shape=(1, 16, 16), width=4)
    assert (system.pull, system.gamma, system.gain, system.lr, system.betas[0]) == (0, 0.5, 0.001, 1e-4, 0.5)
    assert system.hparams["depth"] == 2
    assert system.hparams["smallest"] == 8


def test_a_run_from_before_these_arguments_resumes_as_it_was(tmp_path):
    data = dataclasses.asdict(data_for("began", tmp_path / "data"))
    old = {"latent": 4, "width": 4, **BEGAN.formerly}
    run = genzoo.train("began", **data, **old, steps=2, batch=4, runs=str(tmp_path / "runs"), quiet=True)
    config = run.path / "config.toml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split(" =")[0] not in BEGAN.formerly]
    assert len(kept) == len(lines) - len(BEGAN.formerly)
    config.write_text("".join(kept), encoding="utf-8")
    resume(run.path, steps=4, quiet=True)
    system = loading.load(run.path)
    assert {k: system.hparams[k] for k in BEGAN.formerly} == BEGAN.formerly
    assert strided(system) == [8]


# ---- the start and the pulling-away term ----------------------------------------------------------------------------------------------


def test_weights_start_from_glorots_law_and_biases_from_0():
    system = BEGAN(shape=(3, 32, 32), width=16)
    for m in system.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            places = m.weight[0, 0].numel() if isinstance(m, nn.Conv2d) else 1
            bound = (6 / (places * (m.weight.shape[0] + m.weight.shape[1]))) ** 0.5
            assert 0.9 * bound < m.weight.abs().max() <= bound
            assert not m.bias.any()


@pytest.mark.parametrize("size", [28, 64, 128])
def test_the_gradient_reaches_the_first_layer_at_every_size(size):
    """With PyTorch's default start its rms is 1e-7, 4e-11 and 1e-12, under Adam's epsilon of 1e-8, and rounding hides the input."""
    torch.manual_seed(0)
    system, x = BEGAN(shape=(3, size, size), width=16), torch.rand(2, 3, size, size) * 2 - 1
    system.error(x).backward()
    assert system.D[0].net[0].weight.grad.square().mean().sqrt() > 1e-5
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        one, other = system.D(x)
    assert (one != other).float().mean() > 0.95


def test_pulling_away_by_hand():
    """The mean over ordered pairs of different examples of their squared cosine (arXiv:1609.03126, equation 4)."""
    codes = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    assert pulling_away(codes).item() == pytest.approx((0 + 0.5 + 0.5) / 3, abs=1e-6)
    assert pulling_away(torch.ones(4, 3)).item() == pytest.approx(1, abs=1e-6)
    assert pulling_away(torch.eye(5)).item() == pytest.approx(0, abs=1e-6)
    assert pulling_away(torch.ones(1, 3)).item() == pytest.approx(0, abs=1e-6)  # nobody to be unlike


def test_pulling_away_is_the_mean_over_all_ordered_pairs():
    """Against two loops over random codes, which are neither centred nor of length 1."""
    codes = torch.randn(7, 5, generator=gen()) * 3 + 1
    pairs = [
        (torch.dot(a, b) / (a.norm() * b.norm())).square()
        for i, a in enumerate(codes)
        for j, b in enumerate(codes)
        if i != j
    ]
    assert pulling_away(codes).item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)


def test_the_pulling_away_term_moves_the_generator_only_and_is_off_in_the_papers_preset():
    assert create("began-paper", shape=(1, 8, 8), width=4).pull == 0
    for pull in (0.0, 0.3):
        torch.manual_seed(0)
        system = BEGAN(**TINY, pull=pull)
        got = {}

        class Spy(Update):
            def __call__(self, name, loss, got=got):
                got[name] = loss.item()

        logs = system.training_step({"image": torch.rand(4, 1, 8, 8)}, Spy(system))
        assert got["g"] == pytest.approx((logs["fake_error"] + pull * logs["alike"]).item(), abs=1e-6)
        assert got["d"] == pytest.approx(logs["real_error"].item(), abs=1e-6)
        assert 0 < logs["alike"] <= 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14), (2, 31, 45)], ids=str)
def test_any_size(shape):
    system = BEGAN(shape=shape, latent=4, width=4)
    x = system.sample(2, generator=gen())
    assert x.shape == (2, *shape)
    assert system.D(x).shape == x.shape
    assert x.abs().max() <= 1


def test_m_falls_on_a_pattern():
    torch.manual_seed(0)
    system = BEGAN(**TINY, lr=2e-3)
    pattern = torch.where(torch.arange(8) < 3, 0.7, -0.7).expand(1, 1, 8, 8)
    ms = [
        play(system, data=lambda: {"image": pattern + 0.05 * torch.randn(16, 1, 8, 8)})[1]["m"].item() for _ in range(5)
    ]
    update = Update(system)
    for _ in range(150):
        logs = system.training_step({"image": pattern + 0.05 * torch.randn(16, 1, 8, 8)}, update)
    assert logs["m"] < 0.5 * min(ms)
