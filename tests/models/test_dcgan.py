"""DCGAN: its five rules, sizes, step, objectives and regularizers."""

import pytest
import torch
from torch import nn

from genzoo.core.errors import UserError
from genzoo.models.adversarial.dcgan import DCGAN
from genzoo.naming.registry import create
from genzoo.nn.gan.augment import augment, color, cutout, translation
from genzoo.nn.gan.dcgan import Discriminator, stages

TINY = {"shape": (1, 8, 8), "latent": 4, "width": 4}


class Update:
    """The trainer's update, without the trainer."""

    def __init__(self, system, steps=100):
        self.optimizers = system.optimizers()
        self.step, self.steps, self.calls = 0, steps, []

    @property
    def progress(self):
        return self.step / self.steps

    def __call__(self, name, loss):
        owned = [p for g in self.optimizers[name].param_groups for p in g["params"]]
        for p in owned:
            p.grad = None
        loss.backward(inputs=owned)
        self.optimizers[name].step()
        self.calls.append(name)


def run(system, steps=1, batch=4, total=100):
    update = Update(system, total)
    for _ in range(steps):
        logs = system.training_step({"image": torch.rand(batch, *system.hparams["shape"]) * 2 - 1}, update)
        update.step += 1
    return update, logs


def test_the_five_rules():
    system = create("ns-gan", shape=(3, 32, 32), width=8)
    kinds = {type(m) for m in system.modules()}
    assert not any("Pool" in k.__name__ for k in kinds)
    g = list(system.G.net)
    assert isinstance(g[-1], nn.Tanh)
    assert not any(isinstance(m, nn.LeakyReLU) for m in system.G.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in g) == 3
    assert isinstance(g[-2], nn.ConvTranspose2d)  # no norm at the generator's output
    assert g[-2].bias is not None
    assert all(m.bias is None for m in g[:-2] if isinstance(m, nn.ConvTranspose2d))
    blocks = list(system.D.blocks)
    assert [type(m).__name__ for m in blocks[0]] == ["Conv2d", "LeakyReLU"]  # no norm at the discriminator's input
    assert all([type(m).__name__ for m in b] == ["Conv2d", "BatchNorm2d", "LeakyReLU"] for b in blocks[1:])
    assert all(m.negative_slope == 0.2 for m in system.D.modules() if isinstance(m, nn.LeakyReLU))
    assert sum(isinstance(m, nn.Linear) for m in system.modules()) == 2  # the projection and the logit, none hidden
    weights = torch.cat(
        [m.weight.flatten() for m in system.G.modules() if isinstance(m, (nn.ConvTranspose2d, nn.Linear))]
    )
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_paper_preset_has_the_papers_sizes():
    system = create("dcgan-paper", shape=(3, 64, 64))
    assert system.G.start == (4, 4, 1024)
    assert [m.out_channels for m in system.G.net if isinstance(m, nn.ConvTranspose2d)] == [512, 256, 128, 3]
    assert all(m.kernel_size == (5, 5) for m in system.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)))
    z = system.sample_prior(500, generator=torch.Generator().manual_seed(0))
    assert z.abs().max() <= 1
    assert z.std().item() == pytest.approx(3**-0.5, rel=0.02)


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 48, 64), (4, 9, 15), (2, 31, 45), (3, 100, 37)], ids=str
)
def test_any_size(shape, kernel):
    system = DCGAN(shape=shape, latent=4, width=4, kernel=kernel).eval()
    x = system.sample(2, generator=torch.Generator().manual_seed(0))
    assert x.shape == (2, *shape)
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1
    assert system.D(x).shape == (2,)
    expected = 16 * sum(4 * min(2**i, 8) for i in range(stages(*shape[1:])))
    assert system.features(x).shape == (2, expected)


def test_mnist_starts_from_seven_by_seven():
    assert DCGAN(shape=(1, 28, 28), width=4).G.start == (7, 7, 8)


@pytest.mark.parametrize("shape", [(1, 7, 28), (3, 32, 1025)])
def test_impossible_sizes_are_refused_with_the_possible_ones(shape):
    with pytest.raises(UserError, match="from 8 to 1024"):
        DCGAN(shape=shape)


@pytest.mark.parametrize("name", ["dcgan", *DCGAN.presets])
def test_every_preset_trains_both_players(name):
    torch.manual_seed(0)
    system = create(name, **TINY)
    before = {k: v.clone() for k, v in system.named_parameters()}
    update, logs = run(system, steps=system.hparams["critic_steps"])
    assert update.calls.count("g") == 1
    assert update.calls.count("d") == system.hparams["critic_steps"]
    assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake"}
    assert all(not v.requires_grad and torch.isfinite(v) for v in logs.values())
    moved = {k.split(".")[0] for k, v in system.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {"G", "D"}


def test_presets_are_the_papers():
    assert (
        create("wgan", **TINY).hparams | {"lr": 5e-5, "weight_clip": 0.01, "critic_steps": 5}
        == create("wgan", **TINY).hparams
    )
    assert isinstance(create("wgan", **TINY).optimizers()["d"], torch.optim.RMSprop)
    gp = create("wgan-gp", **TINY)
    assert gp.optimizers()["g"].defaults["betas"] == (0.0, 0.9)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in gp.D.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in gp.G.modules())


def test_checkpoints_of_earlier_versions_fit_and_start_from_the_same_weights():
    """Names, their order, and the draws behind the first weights: a run of version 0.1.0 resumes and repeats."""
    torch.manual_seed(0)
    system = create("ns-gan", shape=(1, 16, 16), latent=4, width=4)
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    keys = ["G.project.weight", *(f"G.net.0.{k}" for k in norm), "G.net.2.weight", *(f"G.net.3.{k}" for k in norm)]
    keys += ["G.net.5.weight", "G.net.5.bias", "D.blocks.0.0.weight", "D.blocks.0.0.bias", "D.blocks.1.0.weight"]
    keys += [*(f"D.blocks.1.1.{k}" for k in norm), "D.score.weight", "D.score.bias"]
    assert list(system.state_dict()) == keys
    update = Update(system)
    for _ in range(3):
        system.training_step({"image": torch.rand(4, 1, 16, 16) * 2 - 1}, update)
    total = sum(p.detach().double().abs().sum() for p in system.parameters())
    assert total.item() == pytest.approx(48.43100034179042, rel=1e-5)  # measured before the nets moved to nn/


def test_several_logits_come_from_one_body():
    net = Discriminator((1, 16, 16), 4, 4, "none", False, outputs=3)
    x = torch.randn(2, 1, 16, 16)
    assert net(x).shape == (2, 3)
    assert torch.equal(net(x), net.score(net.features(x)))


def test_the_defaults_are_the_game_of_2018_and_the_presets_that_of_the_paper():
    ours = DCGAN(**TINY).hparams
    assert (ours["d_norm"], ours["penalty"], ours["penalty_weight"], ours["lr"], ours["beta1"]) == (
        "none",
        "r1",
        1.0,
        2e-3,
        0.0,
    )
    paper = create("dcgan-paper", **TINY).hparams
    assert (paper["d_norm"], paper["penalty"], paper["lr"], paper["beta1"], paper["beta2"]) == (
        "batch",
        "none",
        2e-4,
        0.5,
        0.999,
    )
    assert {preset: DCGAN.preset_defaults[preset]["decay"] for preset in DCGAN.presets} == dict.fromkeys(
        DCGAN.presets, "none"
    )


def test_dense_nets_are_infogans():
    """Chen et al. (arXiv:1606.03657), appendix C.1, without their biases: two convolutions, 1024 units, and the way back."""
    d = [(1 * 16 + 1) * 64, 64 * 16 * 128 + 256, 128 * 49 * 1024 + 2048, 1024 + 1]
    g = [64 * 1024 + 2048, 1024 * 128 * 49 + 256, 128 * 16 * 64 + 128, 64 * 16 + 1]
    system = create("ns-gan", shape=(1, 28, 28), latent=64, width=64, dense=1024)
    assert [sum(p.numel() for p in net.parameters()) for net in (system.D, system.G)] == [sum(d), sum(g)]
    rgb = DCGAN(shape=(3, 32, 32), latent=4, width=4, dense=8)
    assert rgb.G.start == (8, 8, 8), "two doublings, whatever the size"
    assert rgb.D.features(torch.zeros(2, 3, 32, 32)).shape == (2, 8)
    for norm in ("batch", "layer", "instance", "none"):
        run(DCGAN(shape=(1, 9, 11), latent=4, width=4, dense=8, d_norm=norm, penalty="none"), 2)
    run(DCGAN(shape=(1, 9, 11), latent=4, width=4, dense=8, d_norm="none", penalty="wgan-gp", spectral_norm=True), 2)


def test_each_loss_moves_only_its_player():
    system = DCGAN(**TINY)
    real = torch.rand(4, 1, 8, 8)

    class Spy(Update):
        def __call__(self, name, loss):
            before = [p.clone() for p in system.parameters()]
            super().__call__(name, loss)
            owned = {id(p) for g in self.optimizers[name].param_groups for p in g["params"]}
            for p, old in zip(system.parameters(), before, strict=True):
                assert id(p) in owned or torch.equal(p, old)
                assert id(p) in owned or p.grad is None or name == "g"

    system.training_step({"image": real}, Spy(system))


def test_critic_steps():
    update, logs = run(DCGAN(**TINY, critic_steps=3), steps=7)
    assert update.calls == ["d", "d", "d", "g", "d", "d", "d", "g", "d"]
    assert "g_loss" not in logs


def test_real_and_fake_go_through_the_discriminator_apart():
    """Batch statistics of real and generated images must not mix: 3 batches of B, never one of 2B."""
    system, sizes = create("ns-gan", **TINY), []
    system.D.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    run(system, batch=5)
    assert sizes == [5, 5, 5]


def test_weight_clipping():
    system = create("wgan", **TINY)
    run(system, steps=5)
    assert max(p.abs().max() for p in system.D.parameters()) <= 0.01
    assert max(p.abs().max() for p in system.G.parameters()) > 0.01


def test_penalty_and_batch_norm_are_refused_together():
    for penalty in ("wgan-gp", "dragan", "r1"):
        with pytest.raises(UserError, match="d_norm=none, layer or instance"):
            DCGAN(**TINY, penalty=penalty, d_norm="batch")
        for d_norm in ("none", "layer", "instance"):
            run(DCGAN(shape=(1, 16, 16), latent=4, width=4, penalty=penalty, d_norm=d_norm))


def test_penalty_enters_the_discriminators_loss():
    """With a linear weight: loss(weight) = a + weight · b, b > 0, on equal randomness."""
    losses = []
    for weight in (0.0, 1.0, 2.0):
        torch.manual_seed(0)
        system = DCGAN(**TINY, penalty="wgan-gp", penalty_weight=weight, d_norm="none")
        torch.manual_seed(1)
        losses.append(run(system)[1]["d_loss"].double().item())
    assert losses[1] - losses[0] > 0.1
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)


def test_spectral_norm_bounds_every_weight():
    torch.manual_seed(0)
    system = create("hinge-gan", **TINY)
    run(system, steps=20)
    for m in system.D.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            assert torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_instance_noise_falls_to_nothing():
    system, spread = create("ns-gan", **TINY, instance_noise=0.5), []
    system.D.register_forward_pre_hook(lambda _, args: spread.append(args[0].detach().std().item()))
    update = Update(system, steps=100)
    blank = {"image": torch.zeros(64, 1, 8, 8)}
    for step in (0, 50, 99):
        update.step = step
        system.training_step(blank, update)
    real = spread[::3]  # the first of the three passes of each step
    assert real == pytest.approx([0.5, 0.25, 0.005], rel=0.1)


def test_augmentation_is_seen_by_both_and_passes_gradients():
    system, calls = DCGAN(shape=(3, 16, 16), latent=4, width=4, augment="color,translation,cutout"), []
    assert system.hparams["augment"] == ("color", "translation", "cutout")
    system.D.register_forward_pre_hook(lambda _, args: calls.append(args[0].detach()))
    blank = torch.full((8, 3, 16, 16), 0.7)
    system.training_step({"image": blank}, Update(system))
    assert not torch.equal(calls[0], blank)
    x = torch.randn(4, 3, 16, 16, requires_grad=True)
    augment(x, ("color", "translation", "cutout")).sum().backward()
    assert x.grad.abs().sum() > 0
    with pytest.raises(UserError, match="augment"):
        DCGAN(**TINY, augment="colour")


def test_color_keeps_grey_grey_and_shape_of_the_picture():
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(5, 3, 8, 8)
    y = color(x)
    assert torch.allclose(y[:, 0], y[:, 1], atol=1e-6)
    slope = (y[:, 0, -1, -1] - y[:, 0, 0, 0]) / 2
    assert ((slope >= 0.5) & (slope <= 1.5)).all()
    assert slope.std() > 0
    assert (y.mean((1, 2, 3)).abs() <= 0.5).all()


def test_translation_moves_by_up_to_an_eighth():
    x = torch.zeros(200, 1, 16, 16)
    x[:, :, 8, 8] = 1
    where = translation(x).flatten(1).argmax(1)
    rows, columns = where // 16 - 8, where % 16 - 8
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}
    assert (translation(torch.ones(50, 2, 16, 8)).sum((1, 2, 3)) < 2 * 16 * 8).any()


def test_cutout_removes_half_a_side_at_most():
    holes = 256 - cutout(torch.ones(300, 1, 16, 16)).sum((1, 2, 3))
    assert holes.max() == 64
    assert holes.min() >= 16
    assert holes.min() < 64


def test_augmentation_has_the_values_of_the_authors_program_with_the_same_draws():
    """`DiffAugment` of mit-han-lab/data-efficient-gans at 0b63395, all three after one another, six values."""
    x = torch.linspace(-1, 1, 2 * 3 * 6 * 6).view(2, 3, 6, 6)
    torch.manual_seed(3)
    got = augment(x, ("color", "translation", "cutout")).flatten()[[0, 20, 50, 100, 150, 200]]
    assert got.tolist() == pytest.approx([0.0, -1.21571, -1.08393, 0.0, 0.07924, 0.1623], abs=1e-5)


@pytest.mark.parametrize(("side", "moves", "hole"), [(4, 1, 2), (12, 2, 6), (20, 3, 10), (9, 1, 5)])
def test_shares_of_a_side_are_rounded_up_and_holes_may_stand_at_both_ends(side, moves, hole):
    line = torch.ones(400, 1, side, side)
    went = (translation(line)[:, 0].amax(2) == 0).sum(1)
    assert went.max() == moves
    kept = cutout(line)[:, 0].amin(2)  # rows without a hole are 1 throughout
    assert (kept == 0).sum(1).max() == hole
    assert (kept[:, 0] == 0).any()
    assert (kept[:, -1] == 0).any()
    lone = {int(k) for k in (kept == 0).sum(1)}
    assert min(lone) == (hole // 2 if hole % 2 == 0 else hole // 2 + 1)


def test_sampling_is_the_generators_alone():
    system = DCGAN(**TINY).eval()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a = system.sample(3, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, system.sample(3, generator=torch.Generator().manual_seed(7)))
    assert not torch.equal(a, system.sample(3, generator=torch.Generator().manual_seed(8)))
    z = system.sample_prior(3, generator=torch.Generator().manual_seed(7))
    assert torch.equal(a, system.decode(z))


def test_it_learns_a_pattern():
    """Noisy images of one pattern: the samples' mean image becomes the pattern."""
    torch.manual_seed(0)
    system = DCGAN(shape=(1, 8, 8), latent=8, width=8, lr=1e-3)
    update = Update(system, steps=150)
    pattern = torch.where(torch.arange(8) < 3, 0.7, -0.7).expand(1, 1, 8, 8)
    for _ in range(150):
        system.training_step({"image": pattern + 0.1 * torch.randn(32, 1, 8, 8)}, update)
        update.step += 1
    samples = system.eval().sample(256, generator=torch.Generator().manual_seed(0))
    assert (samples.mean(0) - pattern).abs().mean() < 0.2
    assert (samples.std(0).mean()) > 0.01


RULES = {
    "resampling": "pooling",
    "g_norm": "none",
    "d_norm": "none",
    "dense": 6,
    "g_activation": "tanh",
    "d_activation": "relu",
}


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_broken_alone_and_on_any_size(rule, kernel):
    torch.manual_seed(0)
    for shape in ((1, 8, 8), (3, 19, 33)):
        system = create("ns-gan", shape=shape, latent=4, width=4, kernel=kernel, **{rule: RULES[rule]})
        _, logs = run(system, steps=2)
        assert all(torch.isfinite(v) for v in logs.values())
        assert system.eval().sample(2, generator=torch.Generator().manual_seed(0)).shape == (2, *shape)
    kinds = {p: {type(m) for m in getattr(system, p).modules()} for p in "GD"}
    pooled = rule == "resampling"
    assert (nn.Upsample in kinds["G"], nn.ConvTranspose2d in kinds["G"]) == (pooled, not pooled)
    assert (nn.MaxPool2d in kinds["D"]) == pooled
    assert {m.stride for m in system.D.modules() if isinstance(m, nn.Conv2d)} == {(1, 1) if pooled else (2, 2)}
    assert (nn.BatchNorm2d in kinds["G"]) == (rule != "g_norm")
    assert (nn.BatchNorm2d in kinds["D"]) == (rule != "d_norm")
    assert sum(isinstance(m, nn.Linear) for m in system.modules()) == (4 if rule == "dense" else 2)
    assert (nn.ReLU in kinds["G"]) == (rule != "g_activation")
    assert any(issubclass(k, nn.LeakyReLU) for k in kinds["D"]) == (rule != "d_activation")
    tanhs = sum(isinstance(m, nn.Tanh) for m in system.G.modules())
    assert tanhs == (
        1 if rule != "g_activation" else 1 + len(system.D.blocks)
    )  # the image's own, and one for each layer before


def test_where_there_is_no_norm_there_is_a_bias():
    system = DCGAN(shape=(1, 16, 16), latent=4, width=4, g_norm="none", d_norm="none")
    assert all(
        m.bias is not None for m in system.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    )
