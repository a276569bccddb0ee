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
