"""3D-GAN: the gate of the discriminator, probabilities and thresholds, sizes, straight walks."""

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.metrics.drawing import generators_for
from genzoo.models.adversarial.gan_3d import GAN3D
from genzoo.ranks.parts import shared_buffers
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater

TINY = {"shape": (1, 8, 8, 8), "latent": 4, "width": 4}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def built(**more):
    torch.manual_seed(0)
    return GAN3D(**{**TINY, **more})


class Counted(Updater):
    """An update that counts."""

    def __init__(self, system):
        super().__init__(system, Runtime(torch.device("cpu"), "fp32"))
        self.calls = []

    def __call__(self, name, loss):
        self.calls.append(name)
        super().__call__(name, loss)


def step(system, update, x):
    update.begin(0, 10)
    update.calls.clear()
    logs = system.train().training_step({"voxels": x}, update)
    update.end()
    return logs


def rigged(system, real, fake):
    """Replace D's verdict: `real` and `fake` of four are judged real."""
    verdicts = [real, fake, fake]

    class Judge(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net, self.turn = net, 0

        def forward(self, x):
            share = verdicts[self.turn % 3]
            self.turn += 1
            sign = torch.where(torch.arange(len(x)) < share, 1.0, -1.0)
            return self.net(x) * 1e-6 + sign

    system.D = Judge(system.D)
    return system


@pytest.mark.parametrize(
    ("real", "fake", "accuracy", "learns"),
    [(4, 0, 1.0, False), (4, 1, 0.875, False), (3, 1, 0.75, True), (4, 4, 0.5, True), (0, 4, 0.0, True)],
)
def test_the_discriminator_rests_after_a_batch_that_it_judged_too_well(real, fake, accuracy, learns):
    x = torch.ones(4, 1, 8, 8, 8)
    system = rigged(built(), real, fake)
    update = Counted(system)
    logs = step(system, update, x)
    assert update.calls == ["d", "g"], "nothing has been judged before the first batch"
    assert logs["d_learns"] == 1
    assert logs["accuracy"] == system.accuracy == pytest.approx(accuracy)
    before = [p.clone() for p in system.D.parameters()]
    logs = step(system, update, x)
    assert update.calls == (["d", "g"] if learns else ["g"])
    assert logs["d_learns"] == learns
    moved = any(not torch.equal(a, b) for a, b in zip(before, system.D.parameters(), strict=True))
    assert moved == learns


def test_exactly_eighty_per_cent_still_learns_and_a_gate_of_one_never_rests():
    for gate, accuracy, learns in ((0.8, 0.8, True), (0.8, 0.81, False), (1.0, 1.0, True)):
        system = built(gate=gate)
        update = Counted(system)
        system.accuracy.fill_(accuracy)
        assert step(system, update, torch.ones(4, 1, 8, 8, 8))["d_learns"] == learns


def test_the_generator_learns_also_while_the_discriminator_rests():
    system = built()
    update = Counted(system)
    system.accuracy.fill_(1.0)
    before = [p.clone() for p in system.G.parameters()]
    step(system, update, torch.ones(4, 1, 8, 8, 8))
    assert update.calls == ["g"]
    assert all(not torch.equal(a, b) for a, b in zip(before, system.G.parameters(), strict=True))


def test_ranks_decide_together():
    """The accuracy is averaged over ranks with the running statistics: else one rank would wait for another's update."""
    system = built()
    assert any(b is system.accuracy for b in shared_buffers(system))


def test_values_are_probabilities_on_the_scale_of_the_data_and_a_threshold_cuts_them():
    system = built().eval()
    with torch.no_grad():
        for p in system.G.parameters():
            if p.ndim > 1:
                p.mul_(20)
    soft = system.sample(6, generator=gen())
    z = system.sample_prior(6, generator=gen())
    assert z.min() >= 0
    assert z.max() <= 1
    with torch.no_grad():
        p = system.G(z).sigmoid()
    assert torch.allclose(soft, 2 * p - 1, atol=1e-6)
    for t in (0.3, 0.5, 0.7):
        hard = system.sample(6, generator=gen(), threshold=t)
        assert set(hard.unique().tolist()) <= {-1.0, 1.0}
        sure = (p - t).abs() > 1e-5
        assert torch.equal((hard > 0)[sure], (p >= t)[sure])
    counts = [(system.sample(6, generator=gen(), threshold=t) > 0).sum() for t in (0.3, 0.5, 0.7)]
    assert counts[0] > counts[2]
    for wrong in (0.0, 1.0, 7):
        with pytest.raises(UserError, match="threshold"):
            genzoo.sample(system, n=1, threshold=wrong)


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_powers_of_two_are_made_and_judged(side):
    system = built(shape=(1, side, side, side))
    assert system.G.start[1:] == (4, 4, 4)
    x = system.eval().sample(1, generator=gen())
    assert x.shape == (1, 1, side, side, side)
    assert system.D(x).shape == (1,)
    assert system.features(x).shape[0] == 1


def test_other_sizes_are_refused_with_those_that_work():
    for shape in ((1, 24, 24, 24), (1, 32, 32, 16), (3, 32, 32, 32), (1, 4, 4, 4)):
        with pytest.raises(UserError, match="8, 16, 32, 64 or 128"):
            GAN3D(shape=shape)


def test_the_papers_nets_and_rates():
    """Five layers of each net with the projection and the verdict; the discriminator's rate is 250 times smaller."""
    system = GAN3D()
    channels = [m.out_channels for m in system.G.modules() if isinstance(m, torch.nn.ConvTranspose3d)]
    assert (system.G.start, channels) == ((512, 4, 4, 4), [256, 128, 64, 1])
    assert [b[0].out_channels for b in system.D.blocks] == [64, 128, 256, 512]
    assert system.latent_size == 200
    rates = {k: o.param_groups[0]["lr"] for k, o in system.optimizers().items()}
    assert rates == {"d": 1e-5, "g": 2.5e-3}


def test_a_straight_walk_goes_from_one_shape_to_the_other_inside_the_prior():
    system = built().eval()
    rows = genzoo.walk(system, rows=2, steps=5, path="linear")
    assert rows.shape == (2, 5, 1, 8, 8, 8)
    ends = system.sample_prior(2, generator=generators_for(system, 0, 2))
    assert torch.allclose(rows[:, 0], system.decode(ends), atol=1e-6)
    middle = system.decode((ends[:1] + ends[1:]) / 2)
    assert torch.allclose(rows[0, 2], middle[0], atol=1e-5)


def test_the_gradient_reaches_every_part():
    system = built().train()
    losses = {}

    class Recorded:
        step, steps, progress = 0, 1, 0.0

        def __call__(self, name, loss):
            losses[name] = loss

    system.training_step({"voxels": torch.ones(4, 1, 8, 8, 8)}, Recorded())
    for name, net in (("d", system.D), ("g", system.G)):
        grads = torch.autograd.grad(losses[name], [*net.parameters()], retain_graph=True)
        assert all(torch.isfinite(g).all() for g in grads)
        assert sum(float(g.abs().sum() > 0) for g in grads) >= len(grads) - 1
    others = torch.autograd.grad(losses["d"], [*system.G.parameters()], allow_unused=True)
    assert all(g is None for g in others)


def test_the_start_is_at_the_given_share():
    for share in (0.5, 0.07):
        p = (built(occupied=share).eval().sample(20, generator=gen()) + 1) / 2
        assert p.mean().item() == pytest.approx(share, rel=0.02)
    assert built().G.out.bias.item() == 0, "the paper's start"


def test_r1_is_the_squared_gradient_of_the_score_on_real_shapes():
    x, losses = torch.randint(2, (4, 1, 8, 8, 8)) * 2.0 - 1, []

    class Recorded:
        step, steps, progress = 0, 1, 0.0

        def __call__(self, name, loss):
            losses.append(loss)

    system = built(d_norm="none", r1=3.0, gate=1.0)
    real = x.clone().requires_grad_(True)
    gradient = torch.autograd.grad(system.D(real).sum(), real)[0]
    torch.manual_seed(1)
    system.training_step({"voxels": x}, Recorded())
    torch.manual_seed(1)
    system.r1 = 0.0
    system.training_step({"voxels": x}, Recorded())
    with_it, without = losses[0], losses[2]
    assert (with_it - without).item() == pytest.approx(
        1.5 * gradient.square().sum((1, 2, 3, 4)).mean().item(), rel=1e-3
    )
    with pytest.raises(UserError, match="d_norm=none"):
        built(r1=1.0)


def test_how_much_of_the_projection_depends_on_z():
    """The second moment of U(0, 1) is 1/3, its variance 1/12: only a quarter differs between shapes; of a centred prior all does."""
    for prior, share in (("uniform", 0.25), ("normal", 1.0)):
        torch.manual_seed(0)
        system = GAN3D(**{**TINY, "latent": 64, "width": 64}, prior=prior)
        with torch.no_grad():
            h = system.G.project(system.sample_prior(500, generator=gen()))
        assert (h.var(0).mean() / h.square().mean()).item() == pytest.approx(share, abs=0.02)


def test_lazy_r1_comes_at_every_so_many_steps_and_is_that_many_times_as_heavy():
    x, found = torch.randint(2, (4, 1, 8, 8, 8)) * 2.0 - 1, {}
    for every in (1, 4):
        system = built(d_norm="none", r1=3.0, r1_every=every, gate=1.0)
        for at in range(5):

            class Recorded:
                step, steps, progress = at, 8, at / 8

                def __call__(self, name, loss, key=(every, at)):
                    found.setdefault(key, loss.item())

            torch.manual_seed(1)
            system.training_step({"voxels": x}, Recorded())
    plain = found[4, 1]
    assert found[4, 2] == found[4, 3] == plain
    assert found[4, 0] == found[4, 4] > plain
    assert found[4, 0] - plain == pytest.approx(4 * (found[1, 0] - plain), rel=1e-3)


def test_without_batch_norm_shapes_are_judged_alone_and_with_it_together():
    for norm, alone in (("none", True), ("batch", False)):
        system = GAN3D(shape=(1, 16, 16, 16), latent=4, width=4, d_norm=norm).train()
        x = torch.randint(2, (4, 1, 16, 16, 16), generator=gen()) * 2.0 - 1
        assert torch.allclose(system.D(x)[:2], system.D(x[:2]), atol=1e-5) == alone


def test_what_it_can_do():
    assert set(capabilities(GAN3D)) == {"samples", "decodes", "judges"}


def test_the_papers_nets_have_no_biases():
    """Convolutions of 4x4x4 with 512, 256, 128, 64 and 1 channels from 200 numbers, and back, each but the ends with a scale and a shift."""
    system = GAN3D(**GAN3D.presets["gan-3d-paper"])
    ends, inner = 64 * 64, 64 * (64 * 128 + 128 * 256 + 256 * 512)
    assert sum(p.numel() for p in system.G.parameters()) == 200 * 512 * 64 + inner + ends + 2 * (512 + 256 + 128 + 64)
    assert sum(p.numel() for p in system.D.parameters()) == ends + inner + 512 * 64 + 2 * (128 + 256 + 512)
    assert not any(n.endswith("bias") and p.ndim > 1 for n, p in system.named_parameters())
    assert {m.bias for m in (system.G.out, system.D.score, system.D.blocks[0][0])} == {None}
    assert (system.lr, system.d_lr, system.betas, system.gate, system.prior) == (
        2.5e-3,
        1e-5,
        (0.5, 0.999),
        0.8,
        "uniform",
    )
    with pytest.raises(UserError, match="bias=false leaves it out"):
        GAN3D(**GAN3D.tiny | {"bias": False, "occupied": 0.1})


@torch.no_grad()
def test_the_papers_nets_by_hand():
    """The dense layer is a transposed convolution of one place, the score a convolution of the last map (a narrower net here)."""
    torch.manual_seed(0)
    system = GAN3D(latent=6, width=4, **GAN3D.presets["gan-3d-paper"])
    for net in (system.G, system.D):
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    z = torch.rand(2, 6)
    first = system.G.project.weight.T.reshape(6, 32, 4, 4, 4)
    x = F.conv_transpose3d(z[:, :, None, None, None], first)
    for layer in [*system.G.net, system.G.out]:
        if isinstance(layer, torch.nn.ConvTranspose3d):
            x = F.conv_transpose3d(x, layer.weight, stride=2, padding=1)
        elif isinstance(layer, torch.nn.BatchNorm3d):
            x = F.relu(F.batch_norm(x, None, None, layer.weight, layer.bias, training=True))
    assert x.shape == (2, 1, 64, 64, 64)
    torch.testing.assert_close(system.G(z), x, atol=1e-5, rtol=1e-4)
    h = x = torch.rand(2, 1, 64, 64, 64) * 2 - 1
    for block in system.D.blocks:
        h = F.conv3d(h, block[0].weight, stride=2, padding=1)
        if len(block) == 3:
            h = F.batch_norm(h, None, None, block[1].weight, block[1].bias, training=True)
        h = F.leaky_relu(h, 0.2)
    expected = F.conv3d(h, system.D.score.weight.view(1, 32, 4, 4, 4)).flatten()
    torch.testing.assert_close(system.D(x), expected, atol=1e-5, rtol=1e-4)
