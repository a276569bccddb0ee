"""Projected GAN: the frozen network stays frozen and away from the checkpoint, the mixing is random, fixed and kept, gradients reach G."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.losses.adversarial import discriminator_loss
from genzoo.metrics.features.lenet import load_lenet
from genzoo.models.adversarial.projected_gan import ProjectedGAN
from genzoo.nn.pretrained.efficientnet import EfficientNetLite0, normalize, published_names
from genzoo.nn.pretrained.frozen import NETWORKS, FrozenMaps, MapDiscriminator, RandomMixing
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.training.start import resume
from tests.adversaries import Update, gen, play

TINY = ProjectedGAN.tiny


def scores(system, x):
    return system.judge(system.maps(x))


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory):
    """A file of the published form with random weights, and the network that it is of."""
    torch.manual_seed(0)
    net = EfficientNetLite0().eval()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(m.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(m.running_var, 0.5, 1.5)
    state = net.state_dict()
    path = tmp_path_factory.mktemp("weights") / "efficientnet-lite0.safetensors"
    save_file({theirs: state[ours].clone() for theirs, ours in published_names().items()}, path)
    return path, net


def test_each_player_moves_alone_and_the_frozen_network_is_no_ones():
    system = ProjectedGAN(**TINY)
    names = {n.split(".")[0] for n, _ in system.named_parameters()}
    assert names == {"G", "D"}, "neither the network nor the mixing is trained"
    fixed = {k: b.clone() for k, b in system.named_buffers() if k.startswith("P.")}
    update, logs = play(system, steps=3)
    assert update.calls == ["d", "g"] * 3
    assert {n.split(".")[0] for n in update.moved["d"]} == {"D"}
    assert {n.split(".")[0] for n in update.moved["g"]} == {"G"}
    assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake"}
    assert len(fixed) == 3, "two projections across channels, one across scales"
    assert all(torch.equal(b, fixed[k]) for k, b in system.named_buffers() if k in fixed)


def test_the_mixing_is_in_the_checkpoint_and_the_network_is_not():
    system = ProjectedGAN(**TINY)
    play(system)
    state = system.state_dict()
    assert {k for k in state if k.startswith("P.")} == {"P.across_0", "P.across_1", "P.down_0"}
    assert [k for k in state if k.startswith("F.")] == ["F.digest"]
    other = ProjectedGAN(**TINY)
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    system.eval(), other.eval()
    plain = ProjectedGAN(**TINY | {"augment": ()})
    plain.load_state_dict(state)
    again = ProjectedGAN(**TINY | {"augment": ()})
    assert not torch.equal(scores(again.eval(), x)[0], scores(plain.eval(), x)[0]), "another seed, another mixing"
    again.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(scores(again, x), scores(plain, x), strict=True))


def test_mixing_by_hand():
    torch.manual_seed(0)
    mix = RandomMixing((3, 5), 2, scales=True)
    fine, coarse = torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3)
    got = mix([fine, coarse])
    c0 = torch.einsum("oc,bchw->bohw", mix.across_0[:, :, 0, 0], fine)
    c1 = torch.einsum("oc,bchw->bohw", mix.across_1[:, :, 0, 0], coarse)
    up = F.interpolate(c1, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(got[1], c1)
    torch.testing.assert_close(got[0], c0 + F.conv2d(up, mix.down_0, padding=1))
    assert [tuple(g.shape[1:]) for g in got] == [(2, 8, 6), (4, 4, 3)]
    across = RandomMixing((3, 5), 2, scales=False)
    assert not hasattr(across, "down_0")
    many = RandomMixing((400,), 200, scales=True)
    assert many.across_0.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)  # He et al.
    assert not list(many.parameters())


def test_the_generators_gradient_comes_through_the_frozen_network():
    system = ProjectedGAN(**TINY | {"augment": ()})
    x = (torch.rand(2, 1, 16, 16) * 2 - 1).requires_grad_()
    total = sum(s.mean() for s in scores(system, x))
    (gradient,) = torch.autograd.grad(total, x)
    assert gradient.abs().sum() > 0
    found = scores(system.eval(), x.detach())
    assert all(not m.requires_grad for m in system.F(x.detach())), "and costs nothing where no image asks for it"
    assert len(found) == len(NETWORKS["lenet-mnist"].channels)


def test_the_loss_is_the_sum_of_hinge_losses_over_scales():
    torch.manual_seed(0)
    system = ProjectedGAN(
        **TINY | {"augment": ()}
    ).eval()  # eval: no power iteration, so that scores can be taken again
    real, seen = torch.rand(4, 1, 16, 16) * 2 - 1, {}
    torch.manual_seed(1)
    fake = system.G(system._draw(4)).detach()
    on = [scores(system, real), scores(system, fake)]
    expected = sum(discriminator_loss("hinge", r, f) for r, f in zip(*on, strict=True))

    class Spy(Update):
        def __call__(self, name, loss):
            seen[name] = loss.detach()

    torch.manual_seed(1)
    logs = system.training_step({"image": real}, Spy(system))
    torch.testing.assert_close(seen["d"], expected.detach())
    torch.testing.assert_close(seen["g"], -sum(f.mean() for f in on[1]).detach())
    torch.testing.assert_close(logs["d_loss"], seen["d"])


def test_the_lenets_maps_are_those_that_fld_is_measured_with():
    maps, (net, card) = FrozenMaps("lenet-mnist").load(), load_lenet("lenet-mnist-v1")
    levels = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    first, second = maps(levels.float() / 127.5 - 1)
    assert first.shape == (3, 16, 14, 14)
    hidden = F.relu(net.hidden(second.flatten(1)))
    torch.testing.assert_close(hidden, net.features(levels))
    assert bytes(maps.digest.tolist()).hex() == card["digest"]
    colour = levels.expand(-1, 3, -1, -1).float() / 127.5 - 1
    torch.testing.assert_close(maps(colour)[0], first, atol=1e-5, rtol=1e-4)  # the luma of grey is the grey


def test_efficientnets_maps_are_the_networks_own_in_any_mode(efficientnet, monkeypatch):
    path, net = efficientnet
    monkeypatch.setenv("GENZOO_WEIGHTS", str(path.parent))
    maps = FrozenMaps("efficientnet-lite0", resolution=64).load()
    x = torch.rand(2, 1, 64, 96) * 2 - 1
    expected = net.pyramid(normalize(x))
    for mode in (True, False):  # batch norm never learns here
        maps.train(mode)
        for a, b in zip(maps(x), expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)  # folded batch norms round differently
    small = torch.rand(2, 3, 16, 24) * 2 - 1
    enlarged = F.interpolate(small, (64, 96), mode="bilinear", align_corners=False)
    assert all(torch.equal(a, b) for a, b in zip(maps(small), maps(enlarged), strict=True))
    assert [tuple(m.shape[1:]) for m in maps(small)] == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    assert maps.halvings((3, 16, 24)) == [2, 1, 0, 0]
    by_path = FrozenMaps("efficientnet-lite0", weights=str(path), resolution=64)
    monkeypatch.delenv("GENZOO_WEIGHTS")
    assert torch.equal(by_path(x)[0], maps(x)[0])


def test_the_table_of_networks_is_true():
    for name in ("vgg16", "vgg16-random", "alexnet"):
        net, eye = FeatureNet(name, NETWORKS[name].layers), NETWORKS[name]
        assert (net.channels, net.smallest) == (eye.channels, eye.smallest)
    maps = FrozenMaps("vgg16-random", resolution=16).load()
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert [tuple(m.shape[1:]) for m in maps(x)] == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert maps.pooled(x).shape == (1, 128 + 256 + 512 + 512)


def test_missing_and_wrong_weights_are_said_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    system = ProjectedGAN(
        shape=(3, 32, 32), width=8
    )  # what a person gets by name; building and sampling it needs no file
    assert system.eval().sample(2, generator=gen()).shape == (2, 3, 32, 32)
    with pytest.raises(UserError, match=r"weights of efficientnet-lite0 are missing.*lenet-mnist.*vgg16-random"):
        system.optimizers()
    save_file({"a": torch.zeros(1)}, tmp_path / "efficientnet-lite0.safetensors")
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="does not hold the weights of efficientnet-lite0"):
        system.optimizers()
    (tmp_path / "efficientnet-lite0.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="does not hold the weights"):
        system.optimizers()


def test_a_run_does_not_go_on_with_other_weights():
    system = ProjectedGAN(**TINY)
    play(system)
    other = ProjectedGAN(**TINY | {"features": "lenet-fashion"})
    other.F.load()
    other.load_state_dict(system.state_dict())  # as resuming does: after the weights were read
    with pytest.raises(UserError, match="began with weights of lenet-fashion"):
        scores(other, torch.zeros(1, 1, 16, 16))


def test_copies_share_the_weights():
    system = ProjectedGAN(**TINY)
    system.optimizers()
    twin = copy.deepcopy(system)
    assert twin.F._held[0] is system.F._held[0]
    assert torch.equal(twin.F.digest, system.F.digest)
    assert twin.F.digest.data_ptr() != system.F.digest.data_ptr()


def test_discriminators_of_every_map_end_at_about_four_pixels():
    system = ProjectedGAN(**TINY | {"shape": (1, 28, 28)})
    x = torch.zeros(2, 1, 28, 28)
    assert [tuple(s.shape) for s in scores(system, x)] == [(2, 1, 3, 3), (2, 1, 3, 3)]
    d = MapDiscriminator(5, 4, 1, batch_norm=False).train()
    for _ in range(30):
        d(torch.randn(2, 5, 8, 8))
    weights = [m.weight for m in d if hasattr(m, "parametrizations")]
    assert len(weights) == 3
    assert all(torch.linalg.matrix_norm(w.flatten(1), 2).item() == pytest.approx(1, abs=0.05) for w in weights)


@pytest.mark.parametrize("mixing", ["scales", "channels", "none"])
def test_every_mixing_trains(mixing):
    update, logs = play(ProjectedGAN(**TINY | {"mixing": mixing}), steps=2)
    assert update.moved["g"]
    assert all(torch.isfinite(v) for v in logs.values())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"shape": (4, 32, 32)}, "1 or 3 channels, not 4"),
        ({"shape": (3, 7, 32)}, "from 8 to 1024"),
        ({"shape": (3, 8, 8), "features": "vgg16", "resolution": 8}, "at least 16"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(keys, said):
    with pytest.raises(UserError, match=said):
        ProjectedGAN(**keys)


def test_a_run_is_resumed_and_sampled_without_asking_for_weights(tmp_path):
    own = {k: v for k, v in TINY.items() if k != "shape"}
    keys = {"size": 16, "batch": 4, "runs": str(tmp_path), "quiet": True, "device": "cpu", "precision": "fp32"}
    run = genzoo.train("projected-gan", "digits", steps=2, name="a", **own, **keys)
    system = genzoo.load(run.path)
    assert not system.F._held
    assert genzoo.sample(run, n=2, seed=0).shape == (2, 1, 16, 16)
    assert resume(run.path, quiet=True).path == run.path


# ---- told the class --------------------------------------------------------------------------------------------------------------

GIVEN = TINY | {"classes": 3, "conditional": True}


def test_a_class_is_matched_at_every_place():
    """As the authors' code has it: 64 numbers of a place times 64 of the class, over 8."""
    torch.manual_seed(0)
    system = ProjectedGAN(**GIVEN).eval()
    maps, y = system.maps(torch.rand(2, 1, 16, 16) * 2 - 1), torch.eye(3)[[2, 0]]
    judge = system.D[0]
    wanted = judge.project(judge.direction(torch.tensor([2, 0])))
    expected = torch.einsum("bchw,bc->bhw", judge.net(maps[0]), wanted) / 8
    assert torch.allclose(system.judge(maps, y)[0][:, 0], expected, atol=1e-6)
    other = system.judge(maps, y.flip(0))[0]
    assert not torch.allclose(system.judge(maps, y)[0], other)
    assert judge.project[0].weight.shape == (64, 128)


def test_both_players_are_told_the_class():
    system = ProjectedGAN(**GIVEN)
    x, label = torch.rand(6, 1, 16, 16) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    update = Update(system)
    before = {n: p.detach().clone() for n, p in system.named_parameters()}
    for _ in range(2):
        system.training_step({"image": x, "label": label}, update)
    moved = {n for n, p in system.named_parameters() if not torch.equal(p, before[n])}
    assert {n for n in before if "direction" in n} <= moved
    system.eval()
    a, b = (system.sample(2, generator=gen(3), label=k) for k in (0, 2))
    assert not torch.equal(a, b)
    assert torch.equal(a, system.decode(system.sample_prior(2, generator=gen(3), label=0)))
    with pytest.raises(UserError, match="needs labels"):
        ProjectedGAN(**GIVEN | {"classes": 0})
    assert ProjectedGAN(**TINY).sample_prior(2, generator=gen(0)).shape == (2, 8)
