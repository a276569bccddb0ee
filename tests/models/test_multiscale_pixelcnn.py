"""The numerical truths of multiscale-pixelcnn: groups in their order, a normalized likelihood, and few passes to draw."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoregressive.multiscale_pixelcnn import MultiscalePixelCNN, corners, joined
from genzoo.nn.autoregressive.wavefront import StackWalk


def build(shape=(1, 8, 4), **settings):
    torch.manual_seed(0)
    system = MultiscalePixelCNN(shape, **{"width": 14, "blocks": 1, "head": 9, "levels": 4, **settings})
    for p in system.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return system.eval()


def images(system, n, seed=0):
    tokens = torch.randint(0, system.grid.levels, (n, *system.shape), generator=seeded(seed))
    return system.grid.values(tokens)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def states(levels, shape):
    return torch.cartesian_prod(*[torch.arange(levels)] * math.prod(shape)).view(-1, *shape)


def places(shape, doublings):
    """When each value is drawn, [C, H, W]: a pixel of the base in turn, then a whole group at once; colours in turn."""
    c, height, width = shape
    when = torch.zeros(height, width, dtype=torch.long)
    step = 2**doublings
    base = when[::step, ::step]
    base.copy_(torch.arange(base.numel()).view(base.shape))
    clock = base.numel()
    for k in reversed(range(doublings)):
        part = when[:: 2**k, :: 2**k]
        for row, col in ((0, 1), (1, 0), (1, 1)):
            part[row::2, col::2] = clock
            clock += 1
    return when * c + torch.arange(c)[:, None, None]


# ---- likelihood ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "levels", "doublings"),
    [((1, 2, 6), 2, 1), ((3, 2, 2), 2, 1), ((1, 4, 4), 2, 2), ((1, 2, 2), 8, 1), ((2, 2, 2), 4, 1)],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, doublings):
    system = build(shape, levels=levels, doublings=doublings)
    x = system.grid.values(states(levels, shape))
    log_p = torch.cat([system.log_prob(part) for part in x.split(8192)])
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=3e-5)


def test_a_zeroed_last_layer_costs_the_bits_of_the_uniform_model():
    system = build((3, 8, 4), levels=16)
    for out in (system.base.out, *(net.out for nets in system.doubling for net in nets)):
        torch.nn.init.zeros_(out.weight)
        torch.nn.init.zeros_(out.bias)
    logs = system.loss({"image": images(system, 5)})
    assert logs["bits_per_dim"].item() == pytest.approx(4, rel=1e-6)
    assert logs["base_nats"].item() == pytest.approx(3 * 2 * 4 * math.log(2), rel=1e-6)


def test_autocast_keeps_the_likelihood_in_float32():
    system = build(levels=256)
    x = images(system, 4)
    with torch.autocast("cpu", torch.bfloat16):
        log_p = system.log_prob(x)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.03, atol=0)


# ---- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("shape", "doublings"), [((1, 8, 8), 2), ((3, 4, 4), 1), ((1, 8, 8), 3)])
def test_every_pixel_sees_what_is_drawn_before_it_and_nothing_else(shape, doublings, mode):
    """By gradient of the outputs of every scale; what is parallel is not seen."""
    system = build(shape, doublings=doublings, width=24, head=36, blocks=2).train(mode == "train").double()
    x = images(system, 4).double().requires_grad_()
    when = places(shape, doublings)
    c = shape[0]

    def check(out, rows, cols):
        out = out.unflatten(1, (c, -1))
        for i, row in enumerate(rows):
            for j, col in enumerate(cols):
                for colour in range(c):
                    (grad,) = torch.autograd.grad(out[:, colour, :, i, j].sin().sum(), x, retain_graph=True)
                    seen, place = grad.abs().sum(0) > 0, when[colour, row, col]
                    assert not seen[when >= place].any(), "the future leaks, or what is drawn at the same time"
                    assert seen[:colour, row, col].all(), "R < G < B within a pixel is not used"
                    if place >= c:
                        assert seen.any()

    big = 2**doublings
    check(system.base(x[:, :, ::big, ::big]), range(0, shape[1], big), range(0, shape[2], big))
    for step, nets in zip(system.steps, system.doubling, strict=True):
        groups = corners(x[:, :, ::step, ::step])
        for i, net in enumerate(nets, 1):
            down, right = divmod(i, 2)
            out = net(torch.cat(groups[:i], 1), groups[i])
            rows = range(down * step, shape[1], 2 * step)
            check(out, rows, range(right * step, shape[2], 2 * step))


def test_a_group_sees_all_groups_before_it_around_the_pixel():
    system = build((1, 8, 8), doublings=1, width=24, head=36, blocks=1).double()
    x = images(system, 4).double().requires_grad_()
    groups = corners(x)
    for i, net in enumerate(system.doubling[0], 1):
        (grad,) = torch.autograd.grad(
            net(torch.cat(groups[:i], 1), groups[i])[:, :, 1, 1].sin().sum(), x, retain_graph=True
        )
        for g in corners(grad.abs().sum(0, keepdim=True))[:i]:
            assert (g > 0).all(), "the whole of every group before it is within the view here"


def test_corners_and_joined_are_inverse():
    x = torch.randn(2, 3, 6, 4)
    assert torch.equal(joined(corners(x)), x)


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 4), 2), ((1, 4, 8), 256), ((3, 8, 4), 16)])
@pytest.mark.parametrize("seed", [0, 1])
def test_cached_sampling_equals_naive_token_for_token(shape, levels, seed):
    system = build(shape, levels=levels)
    cached = system.sample(5, generator=seeded(seed), temperature=0.8)
    assert torch.equal(cached, system.sample(5, generator=seeded(seed), temperature=0.8, cached=False))
    assert cached.dtype == torch.float32
    assert torch.equal(system.grid.values(system.grid.tokens(cached)), cached), "samples lie on the grid of levels"
    assert torch.equal(cached, system.sample(5, generator=seeded(seed), temperature=0.8, chunk=2))
    assert not torch.equal(cached, system.sample(5, generator=seeded(seed + 1), temperature=0.8))


def test_samples_follow_the_distribution_that_log_prob_states():
    system = build((1, 2, 2), levels=2, doublings=1)
    p = system.log_prob(system.grid.values(states(2, (1, 2, 2)))).double().exp()
    n = 20000
    drawn = system.grid.tokens(system.sample(n, generator=seeded(5), chunk=4096)).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand"  # and the seed is fixed


def test_drawing_takes_one_pass_for_each_group(monkeypatch):
    system = build((1, 16, 16), levels=2)
    passes, at = [], StackWalk.at
    monkeypatch.setattr(StackWalk, "at", lambda self: passes.append(0) or at(self))
    for nets in system.doubling:
        for net in nets:
            net.look.register_forward_hook(lambda *_: passes.append(1))
    system.sample(3, generator=seeded())
    assert passes.count(1) == 6
    assert passes.count(0) == 16, "one for each pixel of the smallest image"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("shape", [(1, 8, 4), (3, 4, 4)])
def test_complete_keeps_known_pixels_and_draws_the_others(shape, cached):
    system = build(shape, levels=8)
    x = torch.rand(3, *shape, generator=seeded(1)) * 2 - 1  # off the grid of levels: kept all the same
    known = torch.rand(3, 1, *shape[1:], generator=seeded(2)) < 0.5
    filled = system.complete(x, known, generator=seeded(3), cached=cached)
    keep = known.expand_as(x)
    assert torch.equal(filled[keep], x[keep])
    assert not torch.equal(filled[~keep], x[~keep])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=not cached))
    assert torch.equal(filled, system.complete(torch.where(keep, x, 0.3), known, generator=seeded(3)))
    nothing = torch.zeros_like(known)
    assert torch.equal(system.complete(x, nothing, generator=seeded(6)), system.sample(3, generator=seeded(6)))
    assert torch.equal(system.complete(x, ~nothing, generator=seeded(6)), x)


def test_completing_the_last_group_follows_the_conditional_distribution():
    """Where all that is known comes first in the order, completion is exact."""
    system = build((1, 2, 2), levels=2, doublings=1)
    x = system.grid.values(states(2, (1, 2, 2)))[4:6]
    p = system.log_prob(x).double().softmax(0)[1].item()
    known = torch.tensor([[True, True], [True, False]]).expand(20000, 1, 2, 2)
    drawn = system.complete(x[:1].expand(20000, -1, -1, -1), known, generator=seeded(), chunk=4096)
    assert (drawn[:, 0, 1, 1] > 0).double().mean().item() == pytest.approx(p, abs=0.012)


# ---- settings --------------------------------------------------------------------------------------------------------


def test_learns_two_images_almost_by_heart():
    torch.manual_seed(0)
    system = MultiscalePixelCNN((1, 8, 8), levels=2, width=16, blocks=1, head=16, lr=1e-2)
    x = images(system, 2, seed=7)
    optimizer = system.optimizers()["model"]
    for _ in range(60):
        optimizer.zero_grad()
        system.loss({"image": x})["loss"].backward()
        optimizer.step()
    assert math.log(2) * 0.95 < system.loss({"image": x})["loss"].item() < 4


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        MultiscalePixelCNN((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="every colour"):
        MultiscalePixelCNN((3, 8, 8), width=4)
    with pytest.raises(UserError, match="4 divides, such as 16x16"):
        MultiscalePixelCNN((1, 10, 8))
    with pytest.raises(UserError, match=r"takes \[B, 1, 8, 4\]"):
        build().log_prob(torch.zeros(2, 3, 6, 5))


def test_capabilities_and_presets():
    assert capabilities(MultiscalePixelCNN) == ("samples", "density", "completes")
    for overrides in MultiscalePixelCNN.presets.values():
        MultiscalePixelCNN(**{**overrides, "shape": (1, 8, 8), "blocks": 1})
