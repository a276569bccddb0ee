"""The proofs' own measures: a checkerboard stands out at its period and nowhere else, noise is as sharp as was asked."""

import pytest
import torch
from torch.nn import functional as F

from proofs import textures


def clouds(n=4, side=128, seed=0):
    """Images whose amplitude falls as 1/f, as photographs' does, [n, 3, side, side] in [-0.5, 0.5]."""
    g = torch.Generator().manual_seed(seed)
    f = torch.fft.fftfreq(side)
    radius = (f[:, None].square() + f.square()).sqrt().clamp(min=1 / side)
    x = torch.fft.ifft2(torch.fft.fft2(torch.randn(n, 3, side, side, generator=g)) / radius).real
    return 0.5 * x / x.abs().amax((1, 2, 3), keepdim=True)


def pattern(period, side=128):
    """One pixel in `period` x `period` lighter, the others darker, with mean 0."""
    spot = torch.full((period, period), -1.0 / (period**2 - 1))
    spot[0, 0] = 1
    return spot.repeat(side // period, side // period)


@pytest.mark.parametrize("period", [2, 4])
def test_images_without_a_grid_have_none(period):
    noise = torch.randn(4, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    for x in (clouds(), noise, clouds() + 0.05 * noise):
        assert textures.grid_power(x, period).log().abs().max() < 0.35
    assert torch.equal(textures.grid_power(torch.full((1, 3, 64, 64), 0.3), period), torch.ones(1, dtype=torch.float64))


def test_a_checkerboard_stands_out_at_its_own_period():
    x = clouds()
    board = 1.0 - 2.0 * ((torch.arange(128)[:, None] + torch.arange(128)) % 2)
    two = textures.grid_power(x + 0.05 * board, 2)
    assert two.min() > 10
    assert torch.allclose(textures.grid_power(x + 0.05 * board, 4), textures.grid_power(x, 4), rtol=1e-6)
    four = textures.grid_power(x + 0.3 * pattern(4), 4)
    assert four.min() > 4
    # louder is more, and an image that is louder as a whole is not
    assert (textures.grid_power(x + 0.1 * board, 2) > 2 * two).all()
    assert torch.allclose(textures.grid_power(2 * x + 0.1 * board, 2), two, rtol=1e-6)


def test_a_grid_in_one_direction_and_one_that_a_transposed_convolution_leaves_are_seen():
    x = clouds()
    stripes = (1.0 - 2.0 * (torch.arange(128) % 2)).expand(128, 128)
    assert textures.grid_power(x + 0.05 * stripes, 2).min() > 3
    assert torch.allclose(
        textures.grid_power(x + 0.05 * stripes, 2), textures.grid_power((x + 0.05 * stripes).transpose(2, 3), 2)
    )
    # 3 x 3 kernels with stride 2 meet 1, 2 or 4 times at a pixel: the pattern is the image's own, weighed
    overlap = F.conv_transpose2d(torch.ones(1, 1, 64, 64), torch.ones(1, 1, 3, 3), stride=2)[..., :128, :128]
    made = (x + 1) * overlap / overlap.mean() - 1
    assert textures.grid_power(made, 2).min() > 100
    assert textures.grid_power(clouds(side=192), 2).shape == (4,)


def test_noise_makes_an_image_as_sharp_as_was_asked_and_no_less():
    sharp = [clouds(seed=1), clouds(side=64, seed=2)]
    blurred = [F.avg_pool2d(x, 5, 1, 2, count_include_pad=False) for x in sharp]
    made = textures.noise_of_equal_sharpness(blurred, sharp)
    total = [torch.cat([textures.sharpness(x) for x in batches]).mean().item() for batches in (made, sharp, blurred)]
    assert total[0] == pytest.approx(total[1], rel=1e-3)
    assert total[2] < 0.9 * total[1]
    change = (made[0] - blurred[0]).flatten(1)
    assert change.mean().abs() < 0.1 * change.std()
    for x, y in zip(textures.noise_of_equal_sharpness(sharp, blurred), sharp, strict=True):
        assert torch.equal(x, y)
    assert textures.sharpness(pattern(2)[None, None]).item() == pytest.approx(2 / 3, abs=0.01)


def test_errors_are_over_examples():
    mean, error = textures.mean_and_error(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (mean, error) == (2.5, pytest.approx((5 / 3) ** 0.5 / 2))


@pytest.mark.parametrize("period", [2, 4])
def test_smaller_images_are_measured_on_shorter_lines_and_the_smallest_are_refused(period):
    x = clouds(side=32)
    # neighbours are farther off, relative to the frequency, and power falls with it: without a grid less than 1
    assert 0.3 < textures.grids_of(x, period)[0] < 1.1
    assert (textures.grid_power(x + 0.3 * pattern(period, 32), period) > 2 * textures.grid_power(x, period)).all()
    mean, se = textures.grids_of(x, period)
    assert 0 < se < mean
    with pytest.raises(ValueError, match="32 pixels a side"):
        textures.grid_power(torch.zeros(1, 3, 28, 28), period)
