"""The numerical truths of pixelcnn: a normalized likelihood, a strict order, and a cache that changes nothing."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoregressive.pixelcnn import PixelCNN
from genzoo.nn.autoregressive.masked import MaskedConv2d, colour_of, raster_mask


def build(shape=(1, 6, 5), **settings):
    torch.manual_seed(0)
    system = PixelCNN(shape, **{"width": 7, "blocks": 2, "head": 9, "levels": 4, **settings})
    for p in system.parameters():  # livelier than at the start, where the conditionals are almost uniform
        torch.nn.init.normal_(p, std=0.4)
    return system.eval()


def images(system, n, seed=0):
    tokens = torch.randint(0, system.levels, (n, *system.shape), generator=torch.Generator().manual_seed(seed))
    return system.grid.values(tokens)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_centre_of_the_mask_is_lower_triangular_in_colour():
    """R < G < B: without groups the colours of a pixel are independent, or see themselves."""
    a, b = (raster_mask(kind, 6, 6, 3, 3)[:, :, 1, 1] for kind in "AB")
    colour = colour_of(6, 3)
    assert torch.equal(a, (colour[:, None] > colour[None]).float())
    assert torch.equal(b, (colour[:, None] >= colour[None]).float())


def test_mask_keeps_the_rows_above_and_nothing_to_the_right():
    mask = raster_mask("B", 2, 2, 5)
    assert mask.shape == (2, 2, 3, 5)
    assert mask[:, :, :2].all()
    assert mask[:, :, 2, :3].all()
    assert not mask[:, :, 2, 3:].any()


def test_training_never_writes_the_mask_into_the_weights():
    system = build().train()
    optimizer = system.optimizers()["model"]
    hidden = {name: m.weight[m.mask == 0].clone() for name, m in system.named_modules() if isinstance(m, MaskedConv2d)}
    system.loss({"image": images(system, 3)})["loss"].backward()
    optimizer.step()
    for name, m in system.named_modules():
        if isinstance(m, MaskedConv2d):
            assert torch.equal(m.weight[m.mask == 0], hidden[name])
            assert not m.weight.grad[m.mask == 0].any()
    assert not any("mask" in key for key in system.state_dict())


# ---- likelihood ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 4), 2), ((2, 2, 2), 2), ((1, 2, 3), 4), ((3, 1, 2), 4)])
def test_probabilities_of_all_images_sum_to_one(shape, levels):
    system = build(shape, levels=levels)
    states = torch.cartesian_prod(*[torch.arange(levels)] * math.prod(shape)).view(-1, *shape)
    log_p = torch.cat([system.log_prob(part) for part in system.grid.values(states).split(1024)])
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize(("levels", "bits"), [(256, 8.0), (16, 4.0), (2, 1.0)])
def test_a_zeroed_last_layer_costs_the_bits_of_the_uniform_model(levels, bits):
    system = build((3, 4, 4), levels=levels)
    torch.nn.init.zeros_(system.net.out.weight)
    torch.nn.init.zeros_(system.net.out.bias)
    x = images(system, 5)
    logs = system.loss({"image": x})
    assert logs["bits_per_dim"].item() == pytest.approx(bits, rel=1e-6)
    assert logs["loss"].item() == pytest.approx(bits * 48 * math.log(2), rel=1e-6)
    torch.testing.assert_close(-system.log_prob(x), torch.full((5,), bits * 48 * math.log(2)))


def test_the_loss_is_the_mean_of_log_prob():
    system = build((3, 4, 4), levels=256)
    x = images(system, 4)
    assert system.loss({"image": x})["loss"].item() == pytest.approx(-system.log_prob(x).mean().item(), rel=1e-6)
    torch.testing.assert_close(system.log_prob(x)[1:2], system.log_prob(x[1:2]))


def test_autocast_keeps_the_likelihood_in_float32():
    system = build((1, 6, 5), levels=256)
    x = images(system, 4)
    with torch.autocast("cpu", torch.bfloat16):
        log_p = system.log_prob(x)
        out = system.net(x)
        assert out.dtype == torch.bfloat16
        total = system.grid.log_probs(out).exp().sum(-1)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.02, atol=0)


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 32, 64, 128, 256])
def test_levels_and_values_are_inverse_and_quantization_covers_all_levels(levels):
    system = build(levels=levels)
    tokens = torch.arange(levels)
    assert torch.equal(system.grid.tokens(system.grid.values(tokens)), tokens)
    grey = torch.arange(256) / 127.5 - 1
    counts = system.grid.tokens(grey).bincount(minlength=levels)
    assert torch.equal(counts, torch.full((levels,), 256 // levels))


# ---- order -----------------------------------------------------------------------------------------------------------


def influence(system, row, col, colour, n=4):
    """Sum of |d output / d input| of one pixel's colour, [C, H, W]."""
    x = images(system, n).double().requires_grad_()
    out = system.double().net(x).unflatten(1, (system.shape[0], -1))
    (grad,) = torch.autograd.grad(out[:, colour, :, row, col].sin().sum(), x)
    return grad.abs().sum(0)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("shape", [(1, 7, 6), (3, 5, 6), (4, 3, 3)])
def test_no_output_depends_on_itself_or_on_the_future(shape, mode):
    system = build(shape).train(mode == "train")
    colours, height, width = shape
    row, col = height // 2, width // 2
    place = torch.arange(height * width).view(height, width)
    for colour in range(colours):
        seen = influence(system, row, col, colour)
        assert not seen[:, place > place[row, col]].any(), "the future leaks"
        assert not seen[colour:, row, col].any(), "the pixel sees itself or a later colour"
        assert seen[:colour, row, col].all(), "R < G < B within a pixel is not used"
        assert seen[:, row, col - 1].all(), "the pixel before is not used"


def test_other_images_of_the_batch_have_no_influence_in_train_mode():
    """Batch statistics would tell every pixel of those after it."""
    system = build().train()
    x = images(system, 3)
    alone = system.net(x[:1])
    torch.testing.assert_close(system.net(x)[:1], alone)


def test_blind_spot_is_what_the_geometry_says():
    """The row above is seen 3 pixels to the right (7x7 convolution), each row further up one more; the rest is never seen."""
    system = build((1, 9, 12), blocks=12, levels=2)
    with torch.no_grad():
        for p in system.parameters():
            p.abs_().add_(0.01)  # nothing is switched off by a ReLU and nothing cancels
    row, col = 8, 2
    x = torch.ones(1, 1, 9, 12, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(system.double().net(x)[0, 0, row, col], x)
    unseen = {(r, c) for r in range(9) for c in range(12) if r < row and not grad[0, 0, r, c]}
    assert unseen == {(r, c) for r in range(row) for c in range(12) if c - col > (row - r) + 2}
    assert len(unseen) == 21


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 9), (1, 9, 1), (1, 17, 5), (1, 3, 13), (3, 7, 6)])
@pytest.mark.parametrize("n", [1, 3])
def test_several_rows_at_once_draw_what_one_pixel_after_another_does(shape, n):
    system = build(shape, levels=4)
    cached, naive = (system.sample(n, generator=seeded(n), cached=c) for c in (True, False))
    assert torch.equal(cached, naive)
    x, known = naive.flip(0), torch.rand(n, 1, *shape[1:], generator=seeded(7)) < 0.4
    cached, naive = (system.complete(x, known, generator=seeded(8), cached=c) for c in (True, False))
    assert torch.equal(cached, naive)


def test_coding_goes_over_every_symbol_once_and_gives_it_the_probability_that_predict_does():
    system, order = build((3, 5, 6), levels=4), []
    x = system.sample(3, generator=seeded())
    true, stated = system.symbols(x), torch.zeros(3, 90, 4)

    def choose(i, log_p):
        order.append(i)
        stated[:, i] = log_p
        return true[:, i]

    assert torch.equal(system.code(3, choose), x)
    assert sorted(order) == list(range(90))
    assert order != sorted(order), "several rows at once"
    torch.testing.assert_close(stated, system.predict(x).permute(0, 2, 3, 1, 4).flatten(1, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 7), 2), ((1, 8, 7), 256), ((3, 5, 6), 256), ((2, 6, 4), 8)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cached_sampling_equals_naive_token_for_token(shape, levels, seed):
    system = build(shape, levels=levels)
    cached = system.sample(6, generator=seeded(seed), temperature=0.8)
    naive = system.sample(6, generator=seeded(seed), temperature=0.8, cached=False)
    assert torch.equal(cached, naive)
    assert cached.dtype == torch.float32
    assert cached.unique().numel() > min(levels, 20) // 2
    assert torch.equal(system.grid.values(system.grid.tokens(cached)), cached), "samples must lie on the grid of levels"


def test_chunks_change_nothing_and_seeds_do():
    system = build(levels=256)
    whole = system.sample(5, generator=seeded(3))
    assert torch.equal(whole, system.sample(5, generator=seeded(3), chunk=2))
    assert not torch.equal(whole, system.sample(5, generator=seeded(4)))
    assert system.sample(0, generator=seeded()).shape == (0, 1, 6, 5)


def test_samples_follow_the_distribution_that_log_prob_states():
    system = build((1, 2, 2), levels=2)
    states = torch.cartesian_prod(*[torch.arange(2)] * 4).view(-1, 1, 2, 2)
    p = system.log_prob(system.grid.values(states)).double().exp()
    n = 20000
    drawn = system.grid.tokens(system.sample(n, generator=seeded(5), chunk=4096)).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand"  # and the seed is fixed


def test_low_temperature_approaches_the_likeliest_level():
    system = build((1, 3, 3), levels=8)
    first = system.net(torch.zeros(1, 1, 3, 3))[0, :, 0, 0].argmax()
    cold = system.grid.tokens(system.sample(16, generator=seeded(), temperature=0.01))
    assert (cold[:, 0, 0, 0] == first).all()
    with pytest.raises(UserError, match="temperature"):
        system.sample(1, generator=seeded(), temperature=0)


def test_no_level_of_probability_zero_is_drawn():
    system = build((1, 1, 2), levels=4)
    out = torch.tensor([[0.0, 1.0, -math.inf, -math.inf], [-math.inf, 0.0, 0.0, -math.inf]])
    for uniform, expected in ((1 - 2**-24, [1, 2]), (0.0, [0, 1])):
        assert system.grid.tokens(system._pick(out, 0, torch.full((2,), uniform), 1.0)).tolist() == expected


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 4, 5)])
def test_complete_keeps_known_pixels_and_draws_the_others_given_them(shape, cached):
    system = build(shape, levels=8)
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


def test_completing_nothing_known_is_sampling():
    system = build((3, 4, 4), levels=256)
    x = images(system, 2)
    known = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    assert torch.equal(system.complete(x, known, generator=seeded(6)), system.sample(2, generator=seeded(6)))
    assert torch.equal(system.complete(x, ~known, generator=seeded(6)), x)


# ---- learning and settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 256])
def test_learns_two_images_almost_by_heart(levels):
    torch.manual_seed(0)
    system = PixelCNN((1, 8, 8), levels=levels, width=16, blocks=2, head=16, lr=1e-2)
    x = images(system, 2, seed=7)
    optimizer = system.optimizers()["model"]
    for _ in range(120):
        optimizer.zero_grad()
        system.loss({"image": x})["loss"].backward()
        optimizer.step()
    # two equally likely images cannot cost less than ln 2 nats
    assert math.log(2) * 0.95 < system.loss({"image": x})["loss"].item() < 4


def test_l2_regression_averages_where_classification_chooses():
    """All-black and all-white images: the mean is grey, which no image is; the categorical model never says grey."""
    x = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    found = {}
    for output in ("categorical", "l2"):
        torch.manual_seed(0)
        system = PixelCNN((1, 4, 4), levels=8, output=output, width=8, blocks=1, head=8, lr=1e-2)
        optimizer = system.optimizers()["model"]
        for _ in range(150):
            optimizer.zero_grad()
            logs = system.loss({"image": x})
            logs["loss"].backward()
            optimizer.step()
        found[output] = system.eval().sample(32, generator=seeded())
    assert (found["categorical"][:, :, 0, 0].abs() == 1).float().mean() > 0.9
    assert (found["l2"][:, :, 0, 0].abs() == 1).float().mean() < 0.6
    cached, naive = (system.sample(4, generator=seeded(1), cached=c) for c in (True, False))
    assert torch.equal(cached, naive)
    assert {"mse", "std"} <= set(logs)
    with pytest.raises(UserError, match="no likelihood"):
        system.log_prob(x)


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        PixelCNN((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="every colour"):
        PixelCNN((3, 8, 8), width=2)
    with pytest.raises(UserError, match="at least 1"):
        PixelCNN((1, 0, 8))
    system = build((1, 6, 5))
    with pytest.raises(UserError, match=r"takes \[B, 1, 6, 5\]"):
        system.log_prob(torch.zeros(2, 3, 6, 5))
    with pytest.raises(UserError, match="True keeps"):
        system.complete(torch.zeros(2, 1, 6, 5), torch.ones(2, 1, 6, 5), generator=seeded())


def test_capabilities_and_presets():
    assert capabilities(PixelCNN) == ("samples", "density", "completes", "compresses", "predicts")
    assert PixelCNN.likelihood == "exact"
    for overrides in PixelCNN.presets.values():
        PixelCNN(**{**overrides, "shape": (1, 8, 8), "blocks": 1})
    rates = [
        PixelCNN((1, 8, 8), **{k: v for k, v in PixelCNN.tiny.items() if k != "shape"}).lr_scale(p) for p in (0, 0.5, 1)
    ]
    assert rates == pytest.approx([1, 0.5, 0])
