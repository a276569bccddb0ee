"""Resampling against its definition by loops, and ADA: changes by hand, gradients of gradients, the controller."""

import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.models.adversarial._adaptive import (
    AdaptiveAugment,
    bilinear,
    colour,
    geometry,
    rotation,
    scaling,
    shift,
    warp,
)
from genzoo.nn.gan.upfirdn import BINOMIAL, SYM6, conv_down, conv_up, double, halve, upfirdn


def by_loops(values, taps, up, down, padding):
    """One axis: zeros in between, padding, y[i] = Σₖ f[k] · z[i·down + K − 1 − k]."""
    a, b = padding
    z = [0.0] * max(a, 0)
    for v in values:
        z += [v] + [0.0] * (up - 1)
    z += [0.0] * max(b, 0)
    z = z[max(-a, 0) : len(z) - max(-b, 0)]
    k = len(taps)
    return [sum(taps[j] * z[i * down + k - 1 - j] for j in range(k)) for i in range((len(z) - k) // down + 1)]


@pytest.mark.parametrize("taps", [(0.3,), (1.0, 2.0, 5.0), BINOMIAL, SYM6], ids=len)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("padding", [(2, 1), (6, 5), (-1, 9), (12, -1)], ids=str)
def test_upfirdn_by_loops(taps, up, down, padding):
    x = torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    if 5 * up + sum(padding) < len(taps):
        pytest.skip("nothing comes out")
    columns = torch.tensor([[[by_loops(r, taps, up, down, padding) for r in c.T.tolist()] for c in b] for b in x])
    both = torch.tensor([[[by_loops(r, taps, up, down, padding) for r in c.T.tolist()] for c in b] for b in columns])
    assert torch.allclose(upfirdn(x, taps, up=up, down=down, padding=padding), both, atol=1e-4)


def test_doubling_and_halving_keep_brightness_away_from_the_border():
    assert torch.allclose(double(torch.ones(1, 2, 6, 8))[:, :, 1:-1, 1:-1], torch.ones(1, 2, 10, 14))
    assert torch.allclose(halve(torch.ones(1, 2, 6, 8))[:, :, 1:-1, 1:-1], torch.ones(1, 2, 1, 2))
    x = torch.randn(1, 1, 6, 6)
    nearest = F.interpolate(x, scale_factor=2)
    blurred = upfirdn(nearest, (0.25, 0.5, 0.25), padding=(1, 1))  # StyleGAN's two steps
    assert torch.allclose(blurred[:, :, 1:-1, 1:-1], double(x)[:, :, 1:-1, 1:-1], atol=1e-6)


def test_convolutions_that_resample_are_a_filter_and_a_convolution():
    x, w = torch.randn(2, 3, 8, 10), torch.randn(4, 3, 3, 3)
    up = conv_up(x, w)
    assert up.shape == (2, 4, 16, 20)
    assert torch.allclose(up[:, :, 2:-2, 2:-2], F.conv2d(double(x), w, padding=1)[:, :, 2:-2, 2:-2], atol=1e-4)
    down = conv_down(x, w)
    filtered = F.conv2d(upfirdn(x, BINOMIAL, padding=(2, 2)), w)[:, :, ::2, ::2]
    assert down.shape == (2, 4, 4, 5)
    assert torch.allclose(down, filtered, atol=1e-4)
    one = w[:, :, :1, :1]
    assert torch.allclose(conv_down(x, one), F.conv2d(halve(x), one), atol=1e-5)


def test_resampling_has_gradients_of_gradients_in_float_and_bf16():
    w = torch.randn(2, 2, 3, 3, dtype=torch.double, requires_grad=True)
    x = torch.randn(1, 2, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: conv_down(conv_up(x, w), w).square(), (x, w))
    with torch.autocast("cpu", torch.bfloat16):
        out = conv_down(conv_up(x.float(), w.float()), w.float())
    (first,) = torch.autograd.grad(out.float().square().sum(), x, create_graph=True)
    first.square().sum().backward()
    assert torch.isfinite(w.grad).all()


def test_the_wavelet_is_orthonormal_to_itself_moved_by_two():
    products = [sum(SYM6[k] * SYM6[k + 2 * m] for k in range(12 - 2 * m)) for m in range(6)]
    assert products == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-10)
    assert sum(SYM6) == pytest.approx(math.sqrt(2), abs=1e-10)
    for power in range(6):  # six vanishing moments of its high-pass partner
        assert sum((-1) ** k * k**power * t for k, t in enumerate(SYM6)) == pytest.approx(0, abs=1e-5)


# ---- ADA -------------------------------------------------------------------------------------------------------------------------------


def smooth(n=1, size=24):
    """Waves that a good resampler turns into waves, and their value at any place from the centre."""
    rows, columns = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    value = lambda y, x: (0.3 * x).sin() + 0.5 * (0.2 * y + 1).cos()  # noqa: E731
    return value(rows, columns).expand(n, 1, size, size), value, rows, columns


def test_the_identity_gives_the_image_back():
    for shape in [(2, 3, 8, 8), (1, 1, 9, 14), (1, 2, 28, 28)]:
        x = torch.randn(shape)
        assert torch.allclose(warp(x, torch.eye(3).expand(len(x), 3, 3)), x, atol=2e-4)


@pytest.mark.parametrize(
    ("inverse", "where"),
    [
        (shift(torch.tensor([2.0]), torch.tensor([-1.5])), lambda x, y: (x + 2, y - 1.5)),
        (scaling(torch.tensor([-1.0]), torch.tensor([1.0])), lambda x, y: (-x, y)),
        (scaling(torch.tensor([0.8]), torch.tensor([1.1])), lambda x, y: (0.8 * x, 1.1 * y)),
        (rotation(torch.tensor([math.pi / 2])), lambda x, y: (-y, x)),
    ],
    ids=["shift", "flip", "stretch", "quarter turn"],
)
def test_what_stands_at_q_comes_from_the_inverse_of_q(inverse, where):
    image, value, rows, columns = smooth()
    x, y = where(columns, rows)
    inside = (x.abs() < 9) & (y.abs() < 9)
    # A tenth of a pixel: the wavelet is not symmetric, and the authors' program takes its middle for its centre of weight.
    assert torch.allclose(warp(image, inverse)[0, 0][inside], value(y, x)[inside], atol=0.04)


def test_bilinear_reading_agrees_with_grid_sample_and_is_black_outside():
    x = torch.randn(2, 3, 5, 7)
    rows, columns = torch.rand(2, 4, 6) * 20 - 8, torch.rand(2, 4, 6) * 20 - 8
    grid = torch.stack([columns / 3 - 1, rows / 2 - 1], -1)
    theirs = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    assert torch.allclose(bilinear(x, rows, columns), theirs, atol=1e-5)
    assert (theirs == 0).any()


def ripples(n, c, h, w):
    """Images [n, c, h, w] of fine and coarse waves, another one for each channel."""
    i, j = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    k = torch.arange(n * c).float().view(n, c, 1, 1)
    return (0.9 * i + 0.4 * j * (1 + 0.1 * k) + 0.02 * i * j).sin()


QUARTER, OBLIQUE = rotation(torch.tensor([math.pi / 2])), rotation(torch.tensor([0.7]))
MIRROR, SMALL = (scaling(torch.tensor([x]), torch.tensor([y])) for x, y in ((-1.0, 1.0), (2.5, 2.5)))
AWAY = OBLIQUE @ shift(torch.tensor([5.25]), torch.tensor([-3.5]))


@pytest.mark.parametrize(
    ("size", "inverse", "values"),
    [
        ((16, 16), MIRROR, (0.68577, 1.01579, -0.91048, 0.63721)),
        ((16, 16), QUARTER, (0.72696, -0.99954, 0.00845, 0.63721)),
        ((16, 16), SMALL, (0.94094, -0.84213, 0.34164, 0.51141)),
        ((16, 16), AWAY, (0.57804, 0.24764, -0.5714, 0.61512)),
        ((12, 20), MIRROR, (0.58226, -0.37158, 0.31798, 0.63732)),
        ((12, 20), QUARTER, (0.03902, -0.36427, -0.7204, 0.63275)),
        ((12, 20), SMALL, (-0.03195, -0.2561, 0.1242, 0.50845)),
        ((12, 20), AWAY, (-0.36436, -0.31025, -0.01355, 0.61496)),
    ],
)
def test_resampling_has_the_values_of_the_authors_program(size, inverse, values):
    """NVlabs/stylegan2-ada-pytorch at d72cc7d, plain PyTorch: three pixels and the mean absolute value; square and oblong."""
    h, w = size
    out = warp(ripples(1, 1, h, w), inverse)[0, 0]
    got = [out[2, 3], out[h // 2, w - 2], out[h - 1, 0], out.abs().mean()]
    assert [v.item() for v in got] == pytest.approx(values, abs=2e-5)


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (20, 12)])
def test_mirror_images_are_exact_as_far_as_an_asymmetric_wavelet_lets_them(size):
    """As in the authors' program, a tenth of a pixel off along each axis that is turned round; half a turn turns both."""
    x = ripples(1, 1, *size)
    for signs, axes in (((-1.0, 1.0), (3,)), ((1.0, -1.0), (2,)), ((-1.0, -1.0), (2, 3))):
        turned = warp(x, scaling(*(torch.tensor([s]) for s in signs)))
        assert 0.01 < (turned - x.flip(*axes)).abs().mean() < 0.06
    if size[0] == size[1]:
        for quarters in (1, 2, 3):
            turned = warp(x, rotation(torch.tensor([quarters * math.pi / 2])))
            assert (turned - torch.rot90(x, quarters, (2, 3))).abs().mean() < 0.06


def test_shifts_by_whole_pixels_are_exact_and_mirror_the_image_at_its_border():
    x = torch.randn(1, 2, 12, 20)
    out = warp(x, shift(torch.tensor([-3.0]), torch.tensor([2.0])))
    assert torch.allclose(out[:, :, :-2, 3:], x[:, :, 2:, :-3], atol=1e-5)
    assert torch.allclose(out[:, :, :-2, :3], x[:, :, 2:, 1:4].flip(3), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "p", "values"),
    [
        ((3, 16, 16), 0.1, (-0.2873, 0.9187, -0.85, 0.6306, 0.7022)),
        ((3, 16, 16), 0.5, (0.7123, 0.8528, -0.2795, 0.6438, 0.7846)),
        ((3, 16, 16), 0.9, (0.1819, 1.9215, -0.1709, 0.6287, 0.7606)),
        ((3, 12, 20), 0.1, (-0.598, 0.9187, -0.7004, 0.6317, 0.7021)),
        ((3, 12, 20), 0.5, (0.4892, 1.2417, 0.0865, 0.6603, 0.818)),
        ((3, 12, 20), 0.9, (-1.2407, -0.1684, -0.1973, 0.6373, 0.7835)),
        ((1, 12, 20), 0.1, (-0.598, 0.9728, -0.9616, 0.636, 0.7071)),
        ((1, 12, 20), 0.5, (0.4892, 1.9771, -0.4482, 0.6012, 0.7048)),
        ((1, 12, 20), 0.9, (-1.127, 0.215, 0.411, 0.6174, 0.7334)),
    ],
)
def test_the_pipeline_has_the_values_of_the_authors_program_with_the_same_draws(shape, p, values):
    """`AugmentPipe` with all of "bgc" of the same program, on eight images after `torch.manual_seed(7)`: three pixels, mean |x|, deviation."""
    augment = AdaptiveAugment(0.6, 1000, 0.95)
    augment.p.fill_(p)
    torch.manual_seed(7)
    out = augment(ripples(8, *shape))
    got = [out[0, 0, 4, 5], out[3, -1, 7, 2], out[5, 0, -1, -3], out.abs().mean(), out.std()]
    assert [v.item() for v in got] == pytest.approx(values, abs=1e-4)


def test_gradients_pass_twice_through_all_changes():
    x = torch.randn(2, 3, 5, 5, dtype=torch.double, requires_grad=True)
    inverse = geometry(2, torch.tensor(1.0), (5, 5))
    p = torch.tensor(1.0)

    def change(x):
        torch.manual_seed(0)
        return colour(warp(x, inverse), p).square()

    assert torch.autograd.gradcheck(change, x, atol=1e-4, fast_mode=True)
    assert torch.autograd.gradgradcheck(change, x, atol=1e-4, fast_mode=True)


def test_r1_through_the_augmentation_reaches_the_critic_and_follows_the_chain_rule():
    augment = AdaptiveAugment(0.6, 1000, 0.8)
    augment.p.fill_(0.8)
    weight = torch.randn(1, 8, 8, requires_grad=True)
    x = torch.randn(3, 1, 8, 8, requires_grad=True)
    torch.manual_seed(0)
    score = (augment(x) * weight).flatten(1).sum(1)
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad.abs().sum() > 0
    torch.manual_seed(0)
    nudge = 1e-2 * torch.randn(3, 1, 8, 8)
    torch.manual_seed(0)
    moved = (augment(x.detach() + nudge) * weight).flatten(1).sum(1) - score
    assert torch.allclose(moved, (gradient * nudge).flatten(1).sum(1), atol=1e-4)


def test_at_probability_zero_nothing_changes_and_each_change_comes_as_often_as_p():
    augment = AdaptiveAugment(0.6, 1000, 0.8)
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    assert torch.allclose(augment(x), x, atol=2e-4)
    torch.manual_seed(0)
    assert (geometry(50, torch.tensor(0.0), (8, 8)) == torch.eye(3)).all()
    # Tints other than grey change with chance 1 - (1 - p)⁵ · (a negation is none in half of its draws), here with p = 0.2:
    flat = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1).expand(4000, 3, 1, 1)
    same = (colour(flat, torch.tensor(0.2)) - flat).abs().amax((1, 2, 3)) < 1e-6
    assert same.float().mean().item() == pytest.approx(0.8**4 * 0.9, abs=0.03)


def test_colour_keeps_what_it_should():
    torch.manual_seed(0)
    grey = torch.rand(200, 1, 4, 4).expand(-1, 3, -1, -1)
    out = colour(grey, torch.tensor(1.0))
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-5)  # grey stays grey
    x = torch.rand(200, 3, 4, 4)
    out = colour(x, torch.tensor(1.0))
    tint, before = out - out.mean(1, keepdim=True), x - x.mean(1, keepdim=True)
    ratio = tint.norm(dim=1) / before.norm(dim=1)
    assert torch.allclose(
        ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-3
    )  # hue turns, saturation stretches: all tints alike
    assert colour(torch.rand(3, 1, 4, 4), torch.tensor(1.0)).shape == (3, 1, 4, 4)
    assert colour(torch.rand(3, 5, 4, 4), torch.tensor(1.0)).shape == (3, 5, 4, 4)


def test_two_rotations_together_leave_an_image_unturned_with_chance_one_minus_p():
    torch.manual_seed(0)
    p = torch.tensor(0.36)
    inverse = geometry(20_000, p, (8, 8))
    # unchanged: no flip (or the half that is none), no quarter turn (or a whole one), no shift (or by less than a pixel), no zoom,
    # rotation, stretch, shift
    untouched = (inverse - torch.eye(3)).abs().amax((1, 2)) < 1e-6
    still = 0.64
    whole = still + 0.36 * 0.25  # both rounded to 0: each of U(-1, 1) pixel, within half a pixel
    expected = (still + 0.36 / 2) * (still + 0.36 / 4) * whole * still * still * still * still
    assert untouched.float().mean().item() == pytest.approx(expected, abs=0.01)


def test_the_controller_moves_by_images_towards_its_target_and_stays_within_limits():
    augment = AdaptiveAugment(target=0.6, images=1000, limit=0.8)
    for _ in range(4):
        augment.observe(torch.ones(25))  # r = 1: overfitting
    assert augment.adjust().item() == 1.0
    assert augment.p.item() == pytest.approx(0.1)
    assert (augment.signs.item(), augment.seen.item()) == (0, 0)
    augment.observe(torch.tensor([1.0, -1.0, 1.0, 1.0] * 5))  # r = 0.5, below the target
    assert augment.adjust().item() == pytest.approx(0.5)
    assert augment.p.item() == pytest.approx(0.08)
    for sign, end in ((-1.0, 0.0), (1.0, 0.8)):
        for _ in range(20):
            augment.observe(sign * torch.ones(100))
            augment.adjust()
        assert augment.p.item() == pytest.approx(end)
