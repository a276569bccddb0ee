"""LAPGAN: detail is what the smaller image lacks, every level plays its own game on real coarse images, sampling goes from coarse to fine."""

import pytest
import torch
from torch.nn import functional as F

from genzoo.models.adversarial.lapgan import LAPGAN, double, halve
from tests.adversaries import gen, play

TINY = LAPGAN.tiny


def test_detail_is_what_the_smaller_image_lacks():
    flat = torch.full((1, 1, 16, 16), 0.3, dtype=torch.float64)
    small = halve(flat)
    assert (flat - double(small, (16, 16))).abs().max() < 1e-15
    assert torch.allclose(small, flat[..., :8, :8])
    x = torch.randn(1, 2, 16, 16)
    assert torch.allclose(halve(x), F.avg_pool2d(x, 2))
    odd = torch.ones(1, 1, 9, 9)  # the last column is the mean of what is there, not of a border of zeros
    assert torch.equal(halve(odd), torch.ones(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("size", "levels", "sizes"),
    [((32, 32), 3, [(32, 32), (16, 16), (8, 8)]), ((28, 28), 3, [(28, 28), (14, 14)]), ((9, 15), 3, [(9, 15)]),
     ((64, 48), 1, [(64, 48), (32, 24)]), ((31, 45), 2, [(31, 45), (16, 23), (8, 12)])],
)  # fmt: skip
def test_sizes_of_the_levels(size, levels, sizes):
    system = LAPGAN(shape=(1, *size), latent=4, width=4, doublings=levels)
    assert system.sizes == sizes
    assert [tuple(x.shape) for x in system.chain(2, generator=gen())] == [(2, 1, *s) for s in sizes[::-1]]


def test_each_level_has_players_of_its_own():
    update, logs = play(LAPGAN(shape=(1, 32, 32), latent=4, width=4))
    assert update.calls == ["d0", "g0", "d1", "g1", "d2", "g2"]
    for name, moved in update.moved.items():
        assert {".".join(k.split(".")[:2]) for k in moved} == {f"{name[0].upper()}.{name[1]}"}
    assert set(logs) == {f"{p}{k}_loss" for p in "dg" for k in range(3)}


def test_generators_of_detail_are_given_the_real_coarse_image_and_d_the_sum():
    system, coarse, seen, x = LAPGAN(**TINY), [], [], torch.rand(3, 1, 16, 16)
    system.G[0].register_forward_pre_hook(lambda _, args: coarse.append(args[1]))
    system.G[0].register_forward_hook(lambda _, args, out: seen.append(out))
    judged = []
    system.D[0].register_forward_pre_hook(lambda _, args: judged.append(args[0].detach()))
    play(system, data=lambda: {"image": x})
    expected = double(halve(x), (16, 16))
    assert torch.equal(coarse[0], expected)
    assert torch.equal(judged[0], x)
    assert torch.equal(judged[1], (expected + seen[0]).detach())


def test_sampling_starts_from_the_smallest_image():
    """Without detail the sample is the smallest image enlarged: no level looks past the one below."""
    system = LAPGAN(shape=(1, 32, 32), latent=4, width=4).eval()
    with torch.no_grad():
        for net in system.G[:-1]:
            for p in net.parameters():
                p.zero_()
    small, middle, fine = system.chain(2, generator=gen())
    assert torch.equal(middle, double(small, (16, 16)))
    assert torch.equal(fine, double(middle, (32, 32)))
    assert torch.equal(system.sample(2, generator=gen()), fine)


def test_detail_depends_on_its_noise():
    system = LAPGAN(**TINY).eval()
    coarse = torch.zeros(2, 1, 16, 16)
    out = system.G[0](system._noise(2, 0, gen()), coarse)
    assert not torch.allclose(out[0], out[1])


# ---- the authors' program (facebook/eyescream, Torch 7) --------------------------------------------------------------------------


def paper(**keys):
    return LAPGAN(**LAPGAN.presets["lapgan-paper"] | keys)


def size(net):
    return sum(p.numel() for p in net.parameters())


def test_the_papers_nets_have_the_programs_sizes():
    """For CIFAR-10 from 16 to 32 pixels; 8x8 by dense nets, as its script for one scale has them (units fewer here: 125 and 25 widths)."""
    system = paper(shape=(3, 32, 32), width=64, doublings=1)
    assert (size(system.G[0]), size(system.D[0])) == (218_179, 4_864 + 102_464 + 64 * 12 * 12 + 1)
    small = paper(shape=(3, 8, 8), width=8, latent=100)
    assert size(small.G[0]) == 101 * 1000 + 1001 * 1000 + 1001 * 192
    assert size(small.D[0]) == 193 * 200 + 201 * 200 + 201
    assert small.G[0].net[0].weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert small.D[0].net[0].weight.std().item() == pytest.approx(0.005, rel=0.02)
    assert not small.G[0].net[0].bias.any()


@torch.no_grad()
def test_the_papers_nets_by_hand():
    torch.manual_seed(0)
    system = paper(shape=(2, 20, 17), width=4).eval()
    z, coarse = torch.rand(3, 1, 20, 17) * 2 - 1, torch.randn(3, 2, 20, 17)
    one, _, two, _, three = system.G[0].net
    h = F.conv2d(torch.cat([coarse, z], 1), one.weight, one.bias, padding=3).relu()
    h = F.conv2d(F.conv2d(h, two.weight, two.bias, padding=3).relu(), three.weight, three.bias, padding=2)
    torch.testing.assert_close(system.G[0](z, coarse), h)
    assert one.kernel_size == two.kernel_size == (7, 7)
    one, two, score = (m for m in system.D[0].net if hasattr(m, "weight"))
    h = F.conv2d(F.conv2d(coarse, one.weight, one.bias).relu(), two.weight, two.bias, stride=2).relu()
    torch.testing.assert_close(system.D[0](coarse), (h.flatten(1) @ score.weight.T + score.bias)[:, 0])
    one, two, three = (m for m in system.G[1].net if hasattr(m, "weight"))
    z = torch.rand(3, 100)
    h = F.linear(F.linear(z, one.weight, one.bias).relu(), two.weight, two.bias).sigmoid()
    torch.testing.assert_close(system.G[1](z), F.linear(h, three.weight, three.bias).view(3, 2, 10, 9))
    one, two, three = (m for m in system.D[1].net.modules() if isinstance(m, torch.nn.Linear))
    h = F.linear(F.linear(x := torch.randn(3, 2, 10, 9).flatten(1), one.weight, one.bias).relu(), two.weight, two.bias)
    torch.testing.assert_close(system.D[1](x), F.linear(h.relu(), three.weight, three.bias)[:, 0])
    assert not torch.equal(system.train().D[1](x), system.D[1](x)), "half of what it sees is dropped in training"


def test_enlarging_keeps_the_corners_where_the_program_does():
    x = torch.tensor([[[[0.0, 3.0], [6.0, 9.0]]]])
    row = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert torch.allclose(double(x, (4, 4), corners=True)[0, 0], row + 2 * row[:, None])
    system = paper(shape=(1, 16, 16), width=4, latent=4).eval()
    for p in system.G[0].parameters():
        p.data.zero_()
    small, fine = system.chain(2, generator=gen())
    assert torch.equal(fine, double(small, (16, 16), corners=True))


def test_sgd_is_torch_sevens_whose_gradients_enter_damped():
    system = paper(shape=(1, 8, 8), width=4, latent=4)
    made = system.optimizers()
    assert {k: (o.param_groups[0]["lr"], o.param_groups[0]["momentum"]) for k, o in made.items()} == {
        "d0": (0.01, 0.5), "g0": (0.02, 0.5),
    }  # fmt: skip
    p = made["g0"].param_groups[0]["params"][0]
    start, gradients = p.detach().clone(), [torch.randn_like(p) for _ in range(3)]
    for g in gradients:
        p.grad = g
        made["g0"].step()
    velocity = gradients[0]
    expected = start - 0.02 * velocity
    for g in gradients[1:]:
        velocity = 0.5 * velocity + 0.5 * g
        expected = expected - 0.02 * velocity
    torch.testing.assert_close(p.detach(), expected)


def test_the_papers_noise_is_uniform_and_training_moves_every_player():
    system = paper(shape=(1, 16, 16), width=4, latent=50)
    for level in (0, 1):
        z = system._noise(200, level, gen())
        assert -1 <= z.min() < -0.9
        assert 0.9 < z.max() <= 1
        assert z.var().item() == pytest.approx(1 / 3, rel=0.05)
    update, logs = play(system, steps=2)
    assert set(update.moved) == {"d0", "g0", "d1", "g1"}
    assert all(torch.isfinite(v) for v in logs.values())
