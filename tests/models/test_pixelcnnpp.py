"""The numerical truths of pixelcnnpp: a normalized mixture, a strict order, and caches that change nothing."""

import itertools
import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.losses.likelihoods import (
    coupled_logistic_mixture,
    coupled_mean,
    discretized_logistic,
    draw_coupled,
    logistic_mixture,
    on_grid,
    pick,
)
from genzoo.models.autoregressive import pixelcnnpp
from genzoo.models.autoregressive._mixture_draw import PixelDraw
from genzoo.models.autoregressive._shifted import ShiftedConv2d, WeightNorm
from genzoo.models.autoregressive._shifted_walk import ShiftedWalk
from genzoo.models.autoregressive.pixelcnnpp import PixelCNNpp


def build(shape=(1, 6, 5), **settings):
    torch.manual_seed(0)
    system = PixelCNNpp(shape, **{"width": 6, "blocks": 1, "mixtures": 3, "dropout": 0.0, **settings})
    for p in system.parameters():  # livelier than at the start
        torch.nn.init.normal_(p, std=0.5)
    return system.eval()


def images(system, n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, system.levels, (n, *system.shape), generator=g) * (2 / (system.levels - 1)) - 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the mixture -----------------------------------------------------------------------------------------------------


def parameters(*front, colours=3, k=4, seed=0, dtype=torch.float32):
    g = seeded(seed)
    return (
        torch.randn(*front, k, generator=g).to(dtype),
        torch.randn(*front, colours, k, generator=g).to(dtype),
        (torch.rand(*front, colours, k, generator=g) * 8 - 7).to(dtype),
        torch.tanh(torch.randn(*front, colours * (colours - 1) // 2, k, generator=g)).to(dtype),
    )


@pytest.mark.parametrize("levels", [2, 16, 256, 65536])
def test_masses_of_all_levels_sum_to_one_in_float32(levels):
    logits, mean, log_scale, _ = parameters(8)
    x = torch.arange(levels) * (2 / (levels - 1)) - 1
    log_p = logistic_mixture(x, logits[:, None], mean[:, :1], log_scale[:, :1], levels)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(8), atol=2e-5, rtol=0)


def test_masses_of_all_pixels_sum_to_one():
    levels, values = 6, torch.arange(6) * 0.4 - 1
    pixels = torch.cartesian_prod(values, values, values)
    total = coupled_logistic_mixture(pixels, *(p[:, None] for p in parameters(30)), levels).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(30), atol=1e-5, rtol=0)


def test_the_mixture_is_float32_under_autocast_and_of_half_precision_parameters():
    given = parameters(50)
    x = on_grid(torch.randn(50, 3, generator=seeded(1)), 256)
    plain = coupled_logistic_mixture(x, *given, 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(coupled_logistic_mixture(x, *given, 256), plain)
        assert coupled_logistic_mixture(x, *(p.bfloat16() for p in given), 256).dtype == torch.float32


def test_edges_take_all_that_lies_outside_and_far_tails_stay_finite_with_gradients():
    mean = torch.tensor([-5.0, 5.0, 0.0, 0.9], requires_grad=True)
    log_scale = torch.full((4,), -7.0, requires_grad=True)
    x = torch.tensor([-1.0, -1.0, 1.0, -0.9])
    log_p = discretized_logistic(x, mean, log_scale, 256)
    assert abs(log_p[0].item()) < 1e-6  # all mass lies below the darkest level
    assert torch.isfinite(log_p).all()
    assert (log_p[1:] < -500).all()
    log_p.sum().backward()
    assert torch.isfinite(mean.grad).all()
    assert torch.isfinite(log_scale.grad).all()


def test_float32_agrees_with_float64_in_the_tails():
    single, double = (parameters(2000, dtype=d) for d in (torch.float32, torch.float64))
    x = on_grid(torch.randn(2000, 3, generator=seeded(2), dtype=torch.float64), 256)
    a = coupled_logistic_mixture(x.float(), *single, 256).double()
    b = coupled_logistic_mixture(x, *double, 256)
    # the mean differs by one rounding, and a tail's slope is 1 / scale, up to e^7
    torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-3)


def test_colours_are_coupled_in_the_order_of_the_paper():
    _, mean, _, coupling = parameters(5, colours=4)
    x = torch.randn(5, 4)
    shifted = coupled_mean(x, mean, coupling)
    pairs = [(c, j) for c in range(4) for j in range(c)]
    for c in range(4):
        expected = mean[:, c] + sum(coupling[:, i] * x[:, j, None] for i, (d, j) in enumerate(pairs) if d == c)
        torch.testing.assert_close(shifted[:, c], expected)


def test_drawn_pixels_follow_the_stated_masses():
    """Chi-square over all 27 pixels of three colours with three levels."""
    given = parameters(k=3, seed=3)
    given = (given[0], given[1], given[2].clamp(-1, 1), given[3])
    values = torch.tensor([-1.0, 0.0, 1.0])
    p = coupled_logistic_mixture(torch.cartesian_prod(values, values, values), *given, 3).double().exp()
    n = 40000
    uniform = torch.rand(n, 4, generator=seeded(5))
    drawn = draw_coupled(uniform, *(g.expand(n, *g.shape) for g in given), 3)
    counts = ((drawn + 1) @ torch.tensor([9.0, 3.0, 1.0])).long().bincount(minlength=27).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 54.1, "26 degrees of freedom: beyond this once in a thousand, and the seed is fixed"


def test_temperature_narrows_and_extreme_numbers_stay_on_the_grid():
    given = [g.expand(64, *g.shape) for g in parameters(k=3)]
    cold = draw_coupled(torch.rand(64, 4, generator=seeded()), *given, 256, 1e-4)
    assert (cold == cold[:1]).all()
    ends = draw_coupled(torch.tensor([0.0, 1 - 2**-24]).view(2, 1).expand(2, 4), *(g[:2] for g in given), 256)
    assert torch.isfinite(ends).all()
    assert torch.equal(on_grid(ends, 256), ends)
    assert (ends[0] == -1).all()
    assert pick(torch.tensor(1 - 2**-24), torch.tensor([0.0, 0.0, -math.inf])) == 1


# ---- likelihood ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 4), 2), ((3, 2, 2), 2), ((1, 2, 3), 4), ((3, 1, 2), 4)])
def test_probabilities_of_all_images_sum_to_one(shape, levels):
    system = build(shape, levels=levels)
    states = torch.cartesian_prod(*[torch.arange(levels)] * math.prod(shape)).view(-1, *shape)
    log_p = system.log_prob(states * (2 / (levels - 1)) - 1)
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=5e-5)


def test_the_loss_is_the_mean_of_log_prob_in_bits_and_in_nats():
    system = build((3, 5, 4))
    x = images(system, 4)
    logs = system.loss({"image": x})
    assert logs["loss"].item() == pytest.approx(-system.log_prob(x).mean().item(), rel=1e-6)
    assert logs["bits_per_dim"].item() == pytest.approx(logs["loss"].item() / (60 * math.log(2)), rel=1e-6)


def test_autocast_keeps_the_likelihood_in_float32():
    system = build((3, 6, 5))
    x = images(system, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert system.net(x).dtype == torch.bfloat16
        log_p = system.log_prob(x)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.1, atol=0)


# ---- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("shape", [(1, 9, 8), (3, 5, 7)])
def test_every_output_depends_on_all_of_its_past_and_on_nothing_else(shape, mode):
    system = build(shape, dropout=0.3, blocks=2, width=4).double()
    system.net.initialised.fill_(True)
    system.train(mode == "train")
    _, height, width = shape
    place = torch.arange(height * width).view(height, width)
    for row, col in itertools.product(range(height), range(width)):
        x = images(system, 3).double().requires_grad_()
        (grad,) = torch.autograd.grad(system.net(x)[:, :, row, col].sin().sum(), x)
        seen = grad.abs().sum((0, 1))
        assert not seen[place >= place[row, col]].any(), f"the future leaks into {row, col}"
        if mode == "eval" and place[row, col]:
            assert seen[place < place[row, col]].all(), f"the past of {row, col} is not all seen"


def test_the_probability_of_a_pixel_changes_only_what_comes_after_it():
    """Through the whole likelihood, colours included: the log-mass of earlier colours does not see later ones."""
    system = build((3, 4, 5)).double()
    x = images(system, 2).double().requires_grad_()
    mixture = system._mixture(system.net(x))
    mean = coupled_mean(x.movedim(1, -1), mixture[1], mixture[3])  # [B, H, W, C, K]
    for c in range(3):
        (grad,) = torch.autograd.grad(mean[:, 2, 2, c].sin().sum(), x, retain_graph=True)
        assert not grad[:, c:, 2, 2].any()
        assert grad[:, :c, 2, 2].all()
        assert not grad[:, :, 2, 3:].any()
        assert not grad[:, :, 3:].any()


def test_other_images_of_the_batch_have_no_influence_in_train_mode():
    system = build((3, 6, 6))
    system.net.initialised.fill_(True)
    x = images(system, 3)
    torch.testing.assert_close(system.train().net(x)[:1], system.net(x[:1]), rtol=1e-4, atol=1e-4)


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 6), (3, 4, 9), (1, 1, 7), (2, 7, 1), (3, 13, 3)])
@pytest.mark.parametrize("scales", [1, 3])
def test_cached_sampling_equals_naive_token_for_token(shape, scales):
    system = build(shape, scales=scales, blocks=2 if scales == 1 else 1)
    cached = system.sample(5, generator=seeded(1), temperature=0.8)
    naive = system.sample(5, generator=seeded(1), temperature=0.8, cached=False)
    assert torch.equal(cached, naive)
    assert cached.dtype == torch.float32
    assert cached.unique().numel() > 5
    assert torch.equal(on_grid(cached, 256), cached), "samples must lie on the grid of levels"


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("scales", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 9, 7), (1, 8, 12), (1, 1, 3), (2, 5, 1)])
def test_every_output_of_the_walk_is_that_of_the_parallel_pass(shape, scales, blocks):
    system = build(shape, scales=scales, blocks=blocks).double()
    with torch.no_grad():
        for p in system.parameters():
            p.mul_(0.5)  # many layers of livelier weights would make outputs of thousands
        x = images(system, 3).double()
        whole, walk = system.net(x), ShiftedWalk(system.net, 3, shape[2], x)
        out, apart = system.net.out, 0.0
        for row in range(shape[1]):
            walk.begin(row)
            walk.row.fill_(torch.nan)  # what is not known yet is not read
            for col in range(shape[2]):
                found = out(walk.at(col)[:, :, None, None])[:, :, 0, 0]
                apart = max(apart, float((found - whole[:, :, row, col]).abs().max()))
                walk.row[:, col] = x[:, :, row, col]
    assert whole.std() > 0.1
    assert apart < 1e-10 * max(1, float(whole.abs().max()))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("colours", "levels"), [(1, 2), (2, 16), (3, 256), (4, 256)])
def test_the_walks_draws_are_those_of_the_mixture(colours, levels, temperature):
    system = build((colours, 4, 4), levels=levels, mixtures=5).double()
    n, least = 4000, pixelcnnpp.LEAST_LOG_SCALE
    read = torch.randn(n, 6, generator=seeded(1)).double()
    uniform = torch.rand(n, 1 + colours, generator=seeded(2)).double()
    uniform[:2, 0] = torch.tensor([0, 1 - 2**-24])  # the ends of what a generator gives
    with torch.no_grad():
        draw = PixelDraw(system.net.out, system.numbers, levels, least, temperature, n, read)
        drawn = draw(read, *draw.ready(uniform))
        mixture = system._mixture(system.net.out(read[:, :, None, None])[:, :, 0, 0])
        expected = draw_coupled(uniform, *mixture, levels, temperature)
    torch.testing.assert_close(drawn, expected, atol=1e-12, rtol=0)
    assert (drawn.std(0) > 0.3).all()


def test_a_32x32_sample_is_what_naive_drawing_gives():
    """Each pixel drawn anew from the parallel pass over the finished sample is the same pixel; by induction, naive drawing gives it."""
    system = build((3, 32, 32))
    with torch.no_grad():
        for p in system.parameters():
            p.mul_(0.5)
    x = system.sample(1, generator=seeded(7)).double()
    uniform = torch.rand(1, 32, 32, 4, generator=seeded(7)).double()
    with torch.no_grad():
        again = draw_coupled(uniform, *system._mixture(system.net(x)), 256)
    assert (again.movedim(-1, 1) - x).abs().max() < 1e-6
    assert x.unique().numel() > 100


def test_chunks_change_nothing_and_seeds_do():
    system = build()
    whole = system.sample(5, generator=seeded(3))
    assert torch.equal(whole, system.sample(5, generator=seeded(3), chunk=2))
    assert not torch.equal(whole, system.sample(5, generator=seeded(4)))
    assert system.sample(0, generator=seeded()).shape == (0, 1, 6, 5)
    with pytest.raises(UserError, match="temperature"):
        system.sample(1, generator=seeded(), temperature=0)


def test_samples_follow_the_distribution_that_log_prob_states():
    system = build((1, 2, 2), levels=2)
    states = torch.cartesian_prod(*[torch.arange(2)] * 4).view(-1, 1, 2, 2)
    p = system.log_prob(states * 2.0 - 1).double().exp()
    n = 20000
    drawn = (system.sample(n, generator=seeded(5), chunk=4096).flatten(1) + 1) / 2
    counts = (drawn @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long().bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand, and the seed is fixed"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 6)])
def test_complete_keeps_known_pixels_and_draws_the_others_given_them(shape, cached):
    system = build(shape)
    x = torch.rand(3, *shape, generator=seeded(1)) * 2 - 1  # off the grid of levels: kept all the same
    known = torch.rand(3, 1, *shape[1:], generator=seeded(2)) < 0.5
    known[:, :, :2] = True  # the same rows known in all images: the shorter path
    filled = system.complete(x, known, generator=seeded(3), cached=cached)
    keep = known.expand_as(x)
    assert torch.equal(filled[keep], x[keep])
    assert not torch.equal(filled[~keep], x[~keep])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=not cached))
    # what stands at unknown pixels is not read
    assert torch.equal(filled, system.complete(torch.where(keep, x, 0.3), known, generator=seeded(3)))
    other = torch.where(torch.arange(shape[1])[:, None] < 2, -x, x)
    assert not torch.equal(filled[~keep], system.complete(other, known, generator=seeded(3))[~keep])
    nothing = torch.zeros_like(known)
    assert torch.equal(system.complete(x, nothing, generator=seeded(6)), system.sample(3, generator=seeded(6)))


# ---- the data-dependent start ----------------------------------------------------------------------------------------


def test_the_first_batch_leaves_every_convolution_with_mean_zero_and_the_stated_deviation():
    """Each starts from what the one before it gives after its own start, not before."""
    torch.manual_seed(0)
    system = PixelCNNpp((3, 8, 8), width=8, dropout=0.0).train()
    found = {}
    convs = [m for m in system.net.modules() if isinstance(m, ShiftedConv2d)]
    for conv in convs:
        conv.register_forward_hook(lambda m, _, y: found.__setitem__(m, y.detach()))
    system.loss({"image": images(system, 16)})
    assert system.net.initialised
    for conv in convs:
        y = found[conv].double().transpose(0, 1).flatten(1)  # of the pass after the start, with what it chose
        torch.testing.assert_close(y.mean(1), torch.zeros(len(y), dtype=torch.double), atol=1e-4, rtol=0)
        expected = torch.full((len(y),), conv.scale, dtype=torch.double)
        torch.testing.assert_close(y.std(1, correction=0), expected, atol=2e-3, rtol=2e-3)


def test_the_start_happens_once_only_in_training_and_is_saved():
    torch.manual_seed(0)
    system = PixelCNNpp(**PixelCNNpp.tiny)
    x = images(system, 4)
    before = [p.clone() for p in system.parameters()]
    system.eval().loss({"image": x})
    assert all(torch.equal(a, b) for a, b in zip(before, system.parameters(), strict=True))
    system.train().loss({"image": x})
    after = [p.clone() for p in system.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    other = PixelCNNpp(**PixelCNNpp.tiny)
    other.load_state_dict(system.state_dict())
    for s in (system, other):
        s.train().loss({"image": -x})
        assert all(torch.equal(a, b) for a, b in zip(after, s.parameters(), strict=True))


def test_a_constant_feature_keeps_a_finite_gain():
    system = PixelCNNpp((1, 4, 4), width=4, scales=1).train()
    loss = system.loss({"image": torch.full((2, 1, 4, 4), -1.0)})["loss"]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in system.parameters())


def _start(x):
    torch.manual_seed(0)
    system = PixelCNNpp((1, 6, 6), width=4, mixtures=2, dropout=0.0).train()
    system.loss({"image": x})
    return system.state_dict()


def _start_on_one_of_two(rank, x):
    return _start(x.chunk(2)[rank])


def test_ranks_start_alike_and_as_one_process_on_the_joined_batch(two_ranks):
    x = torch.randint(0, 256, (8, 1, 6, 6), generator=seeded(1)) / 127.5 - 1
    a, b = two_ranks(_start_on_one_of_two, x)
    for k, v in _start(x).items():
        assert torch.equal(a[k], b[k])
        torch.testing.assert_close(a[k], v, rtol=1e-4, atol=1e-5)


def test_a_channel_of_ones_tells_the_border_from_gray():
    """Padding is zero, and so is gray: before the biases have moved, a gray image would be nothing at all to the network."""
    torch.manual_seed(0)
    out = PixelCNNpp((1, 6, 6), width=6, mixtures=3, dropout=0.0).eval().net(torch.zeros(1, 1, 6, 6))
    assert not torch.allclose(out[..., 0, 0], out[..., 4, 3], atol=1e-3)
    assert not torch.allclose(out[..., 0, 0], out[..., 0, 3], atol=1e-3)


def test_kernels_have_the_length_of_their_gain():
    conv = ShiftedConv2d(3, 5, (2, 3))
    with torch.no_grad():
        conv.gain.copy_(torch.arange(1.0, 6))
    torch.testing.assert_close(conv.kernel(torch.float32).flatten(1).norm(dim=1), torch.arange(1.0, 6))
    assert all(isinstance(m, WeightNorm) for m in PixelCNNpp(**PixelCNNpp.tiny).net.modules() if hasattr(m, "gain"))


# ---- learning and settings -------------------------------------------------------------------------------------------


def test_dropout_is_for_training_only():
    system = build((1, 6, 6), dropout=0.5)
    system.net.initialised.fill_(True)
    x = images(system, 2)
    assert torch.equal(system.net(x), system.net(x))
    system.train()
    torch.manual_seed(0)
    assert not torch.equal(system.net(x), system.net(x))


def test_learns_two_images_almost_by_heart():
    torch.manual_seed(0)
    system = PixelCNNpp((1, 4, 4), levels=4, width=24, scales=1, mixtures=3, dropout=0.0, lr=1e-2).train()
    x = images(system, 2, seed=7)
    optimizer = system.optimizers()["model"]
    for _ in range(100):
        optimizer.zero_grad()
        loss = system.loss({"image": x})["loss"]
        loss.backward()
        optimizer.step()
    # two equally likely images cannot cost less than ln 2 nats; white noise costs 16 ln 4 = 22
    assert math.log(2) * 0.95 < loss.item() < 4


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        PixelCNNpp((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="at least 1"):
        PixelCNNpp((1, 0, 8))
    system = build((1, 6, 5))
    with pytest.raises(UserError, match=r"takes \[B, 1, 6, 5\]"):
        system.log_prob(torch.zeros(2, 3, 6, 5))
    with pytest.raises(UserError, match="True keeps"):
        system.complete(torch.zeros(2, 1, 6, 5), torch.ones(2, 1, 6, 5), generator=seeded())


def test_capabilities_presets_and_the_size_of_the_paper():
    assert capabilities(PixelCNNpp) == ("samples", "density", "completes", "predicts")
    assert PixelCNNpp.likelihood == "exact"
    with torch.device("meta"):
        paper = PixelCNNpp(**PixelCNNpp.presets["pixelcnnpp-paper"])
    count = sum(p.numel() for p in paper.parameters())
    assert 50e6 < count < 58e6, f"{count}: the published network has about 53 million"
    system = PixelCNNpp(**PixelCNNpp.tiny)
    assert [system.lr_scale(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
