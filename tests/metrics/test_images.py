"""Measures of pairs of images, of paths between them, and features without a network, against closed forms."""

import math
import os
from pathlib import Path

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.data.statistics import log_mel, mel_filters, of_shapes, of_sounds
from genzoo.metrics.diversity import ms_ssim_diversity
from genzoo.metrics.maths.lpips import lpips_score
from genzoo.metrics.maths.similarity import (
    SCALES,
    l1_percent,
    l2_percent,
    ms_ssim,
    psnr,
    ssim,
    y_channel,
    y_psnr,
    y_ssim,
)
from genzoo.metrics.ppl import held, lerp, path_length, slerp


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=3, c=1, side=32, seed=0):
    return torch.randint(0, 256, (n, c, side, side), generator=rng(seed), dtype=torch.uint8)


PAIRS = {
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": lambda a, b, **k: ms_ssim(a, b, scales=1, **k),
    "l1": l1_percent,
    "l2": l2_percent,
}


@pytest.mark.parametrize("measure", PAIRS.values(), ids=PAIRS)
def test_bad_pairs_are_refused_in_words(measure):
    x = images().float()
    spoilt = x.clone()
    spoilt[1, 0, 0, 0] = math.nan
    with pytest.raises(UserError, match="1 images hold NaN"):
        measure(spoilt, x, data_range=255)
    with pytest.raises(UserError, match="one shape"):
        measure(x, x[:2], data_range=255)
    with pytest.raises(UserError, match="one shape"):
        measure(x[:0], x[:0], data_range=255)
    with pytest.raises(UserError, match="255 for uint8"):
        measure(x, x, data_range=0)
    with pytest.raises(TypeError):
        measure(x, x)  # the range is never guessed
    assert measure(x, x, data_range=255).shape == (3,)


def test_psnr_is_of_each_image_and_not_of_the_pool():
    x = torch.zeros(2, 1, 4, 4)
    y = x.clone()
    y[0] += 0.1
    y[1] += 0.01
    torch.testing.assert_close(
        psnr(x, y, data_range=1), torch.tensor([20.0, 40.0], dtype=torch.float64), atol=1e-4, rtol=0
    )
    pooled = 10 * math.log10(1 / float((x - y).square().mean()))
    assert abs(float(psnr(x, y, data_range=1).mean()) - pooled) > 5  # 30 dB against 22.97 dB
    assert psnr(images(), images(), data_range=255).tolist() == [math.inf] * 3
    a, b = images(), images(seed=1)
    scaled = psnr(a / 127.5 - 1, b / 127.5 - 1, data_range=2)
    torch.testing.assert_close(psnr(a, b, data_range=255), scaled, atol=1e-4, rtol=0)  # uint8 does not wrap around


def test_errors_in_per_cent():
    x = torch.zeros(1, 3, 2, 2)
    assert float(l1_percent(x, x + 51, data_range=255)) == pytest.approx(20)
    assert float(l2_percent(x, x + 51, data_range=255)) == pytest.approx(4)


def test_ssim_of_constants_and_of_equal_images():
    x = images(c=3)
    torch.testing.assert_close(ssim(x, x, data_range=255), torch.ones(3, dtype=torch.float64))
    a, b = 0.2, 0.6
    flat = torch.full((1, 1, 16, 16), a, dtype=torch.float64)
    want = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert float(ssim(flat, flat / a * b, data_range=1)) == pytest.approx(want)
    y = images(c=3, seed=1)
    torch.testing.assert_close(ssim(x, y, data_range=255), ssim(y, x, data_range=255, chunk=1))
    with pytest.raises(UserError, match="smaller than the window"):
        ssim(x[..., :10], y[..., :10], data_range=255)
    with pytest.raises(UserError, match="odd"):
        ssim(x, y, data_range=255, window=10)


@pytest.mark.parametrize("measure", [ssim, lambda a, b, **k: ms_ssim(a, b, scales=1, **k)], ids=["ssim", "ms_ssim"])
def test_ssim_is_of_intensities_from_0(measure):
    """Its luminance term compares means; where 0 is gray these have signs, and nearly equal greys come out as opposites."""
    a, b = (torch.full((1, 1, 16, 16), float(v)) for v in (127, 132))
    want = (2 * 127 * 132 + 2.55**2) / (127**2 + 132**2 + 2.55**2)
    assert want == pytest.approx(0.9993, abs=1e-4)
    assert float(measure(a, b, data_range=255)) == pytest.approx(want)
    assert float(measure(a / 255, b / 255, data_range=1)) == pytest.approx(want)
    with pytest.raises(
        UserError, match=r"from 0 to data_range=2, these images go from -0\.003922 to 0\.03529; .* \(x \+ 1\) / 2"
    ):
        measure(a / 127.5 - 1, b / 127.5 - 1, data_range=2)
    with pytest.raises(UserError, match="from 0 to data_range=1, these images go from 127 to 132"):
        measure(a, b, data_range=1)
    edge = torch.tensor([-1e-7, 1 + 1e-7]).repeat(128).view(1, 1, 16, 16)
    assert float(measure(edge, edge, data_range=1)) == pytest.approx(1), "round-off is no other range"


def test_super_resolution_is_judged_on_luma_of_16_to_235_without_the_border():
    """MATLAB's rgb2ycbcr: white 235, black 16, pure colours by their weights; gray pictures as they are."""
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    got = y_channel(colours[:, :, None, None]).flatten()
    torch.testing.assert_close(got, torch.tensor([16, 235, 81.481, 144.553, 40.966], dtype=torch.float64))
    gray = images()
    assert torch.equal(y_channel(gray), gray.double())
    x = torch.full((1, 3, 24, 20), 100, dtype=torch.uint8)
    y = x + 10
    assert float(y_psnr(x, y, border=4)) == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))
    spoilt = y.clone()
    spoilt[:, :, :4] = spoilt[:, :, -4:] = 0
    spoilt[..., :4] = spoilt[..., -4:] = 255
    assert float(y_psnr(x, spoilt, border=4)) == float(y_psnr(x, y, border=4))
    assert float(y_psnr(x, spoilt, border=3)) < float(y_psnr(x, y, border=3))
    a, b = 16 + 100 * 219 / 255, 16 + 110 * 219 / 255
    want = (2 * a * b + 2.55**2) / (a * a + b * b + 2.55**2)
    assert float(y_ssim(x, spoilt, border=4)) == pytest.approx(want)
    for bad in (x.float(), x[:, :2], x.float() / 127.5 - 1):
        with pytest.raises(UserError, match="uint8 images"):
            y_psnr(bad, bad, border=4)
    with pytest.raises(UserError, match="leaves nothing of images of 24x20"):
        y_ssim(x, y, border=10)


def test_ms_ssim_by_its_parts_and_its_sizes():
    x, y = (torch.rand(2, 1, 44, 44, generator=rng(s), dtype=torch.float64) for s in (0, 1))
    y = 0.7 * x + 0.3 * y
    torch.testing.assert_close(ms_ssim(x, y, data_range=1, scales=1), ssim(x, y, data_range=1))
    small = [torch.nn.functional.avg_pool2d(t, 2) for t in (x, y)]
    w = SCALES[0] / (SCALES[0] + SCALES[1])
    # The contrast-structure term alone: SSIM of images whose local means are made equal is not available, so take it as SSIM / luminance.
    from genzoo.metrics.maths.similarity import _terms, _window

    structure = _terms(x, y, 1, _window(11, 1.5))[1]
    want = structure**w * ssim(*small, data_range=1) ** (1 - w)
    torch.testing.assert_close(ms_ssim(x, y, data_range=1, scales=2), want)
    big = torch.rand(1, 1, 176, 176, generator=rng())
    torch.testing.assert_close(ms_ssim(big, big, data_range=1), torch.ones(1, dtype=torch.float64))
    with pytest.raises(UserError, match="at least 176 pixels a side, these are 28x28: give scales=2"):
        ms_ssim(big[..., :28, :28], big[..., :28, :28], data_range=1)
    with pytest.raises(UserError, match="smaller window"):
        ms_ssim(big[..., :8, :8], big[..., :8, :8], data_range=1, scales=1)
    with pytest.raises(UserError, match="scales must be"):
        ms_ssim(big, big, data_range=1, scales=6)


def test_diversity_is_low_where_samples_are_alike():
    varied = torch.rand(12, 1, 24, 24, generator=rng())
    alike = 0.99 * varied[:1] + 0.01 * varied
    a, b = (ms_ssim_diversity(x, data_range=1, scales=2) for x in (varied, alike))
    assert a["value"] < 0.3 < 0.99 < b["value"]
    assert a["pairs"] == 66  # all of them
    some = ms_ssim_diversity(varied, data_range=1, scales=2, pairs=30, seed=1)
    assert some["pairs"] == 30
    assert some == ms_ssim_diversity(varied, data_range=1, scales=2, pairs=30, seed=1)
    with pytest.raises(UserError, match="two images"):
        ms_ssim_diversity(varied[:1], data_range=1)


# ---- perceptual path length


def test_paths_start_and_end_where_they_should():
    a, b = (torch.randn(5, 7, generator=rng(s)) for s in (0, 1))
    for path in (lerp, slerp):
        torch.testing.assert_close(path(a, b, torch.zeros(5)), a)
        torch.testing.assert_close(path(a, b, torch.ones(5)), b)
    half = slerp(a, b, torch.full((5,), 0.5))
    torch.testing.assert_close(half.norm(dim=1), (a.norm(dim=1) + b.norm(dim=1)) / 2)
    torch.testing.assert_close(slerp(a, 2 * a, torch.full((5,), 0.5)), 1.5 * a)
    assert torch.isfinite(slerp(a, -a, torch.full((5,), 0.5))).all()
    assert torch.isfinite(slerp(0 * a, b, torch.full((5,), 0.3))).all()


def test_a_path_may_hold_what_is_no_noise():
    a, b = (torch.randn(5, 7, generator=rng(s)) for s in (0, 1))
    t = torch.linspace(0, 1, 5)
    z = held(3, slerp)(a, b, t)
    assert torch.equal(z[:, 4:], a[:, 4:])
    torch.testing.assert_close(z[:, :4], slerp(a[:, :4], b[:, :4], t))
    assert held(0, slerp) is slerp


def squared(a, b):
    return (a - b).double().square().flatten(1).sum(1)


def latent(n, g):
    return torch.randn(n, 6, generator=g, dtype=torch.float64)


def test_path_length_of_a_linear_decoder_is_known():
    """E |A (z₂ − z₁)|² = 2 |A|² under straight paths, wherever on the path."""
    a = torch.randn(6, 10, generator=rng(), dtype=torch.float64)
    for sampling in ("full", "end"):
        got = path_length(
            lambda z: z @ a, latent, squared, n=4000, path="lerp", sampling=sampling, discard=(0, 1), batch=333
        )
        assert got["value"] == pytest.approx(2 * float(a.square().sum()), abs=4 * got["se"])
        assert got["value"] == pytest.approx(got["mean_all"])
        assert got["kept"] == 4000


def test_path_length_on_the_sphere_is_the_angle():
    """Unit latents, identity decoder: every step is the angle times ε, so values are squared angles."""

    def unit(n, g):
        z = latent(n, g)
        return z / z.norm(dim=1, keepdim=True)

    got = path_length(lambda z: z, unit, squared, n=500, sampling="end", discard=(0, 1), batch=500)
    g = rng(0)
    a, b = unit(500, g), unit(500, g)
    angle = (a * b).sum(1).acos()
    assert got["value"] == pytest.approx(float(angle.square().mean()), rel=1e-4)
    assert got["median"] == pytest.approx(float(angle.square().median()), rel=1e-4)


def test_a_jump_is_discarded_and_bad_distances_are_refused():
    def jumps(z):
        return z * 1e-3 + 100 * (z[:, :1] > 2.2)

    kept = path_length(jumps, latent, squared, n=2000, path="lerp", epsilon=1e-2)
    every = path_length(jumps, latent, squared, n=2000, path="lerp", epsilon=1e-2, discard=(0, 1))
    assert 1900 < kept["kept"] < 2000
    assert kept["value"] < every["value"]
    assert kept["mean_all"] == pytest.approx(every["value"])
    assert path_length(jumps, latent, squared, n=50, seed=1) == path_length(jumps, latent, squared, n=50, seed=1)
    with pytest.raises(UserError, match="finite"):
        path_length(lambda z: z * math.nan, latent, squared, n=10)
    with pytest.raises(UserError, match="10 finite"):
        path_length(lambda z: z, latent, lambda a, b: squared(a, b).sum(), n=10)
    for bad in ({"n": 1}, {"epsilon": 0}, {"discard": (0.9, 0.1)}, {"path": "arc"}, {"sampling": "half"}):
        with pytest.raises(UserError):
            path_length(lambda z: z, latent, squared, **bad)


# ---- features without a trained network


def test_voxel_statistics_of_a_box():
    box = torch.zeros(1, 1, 16, 16, 16)
    box[0, 0, 4:8, 2:10, 0:16] = 1
    f = of_shapes(box)[0]
    assert len(f) == 14 + 48
    volume = 4 * 8 * 16
    assert f[0] == pytest.approx(volume / 16**3)
    assert f[1:4].tolist() == pytest.approx([6 / 16, 6 / 16, 0.5])
    variance = [(n * n - 1) / 12 / 256 for n in (4, 8, 16)]
    assert f[4:10].tolist() == pytest.approx([variance[0], 0, 0, variance[1], 0, variance[2]], abs=1e-6)
    faces = [2 * 8 * 16, 2 * 4 * 16, 2 * 4 * 8]
    assert f[10:13].tolist() == pytest.approx([n / volume for n in faces])
    assert f[13] == pytest.approx(sum(faces) / volume ** (2 / 3))
    assert f[14:30].tolist() == pytest.approx([0] * 4 + [8 * 16 / 256] * 4 + [0] * 8)
    assert of_shapes(torch.zeros(2, 16, 16, 16)).abs().sum() == 0
    with pytest.raises(UserError, match="voxels must be"):
        of_shapes(torch.zeros(2, 8, 8, 8))


def test_log_mel_shows_a_tone_in_its_band():
    rate = 16_000
    t = torch.arange(rate) / rate
    tone = torch.sin(2 * math.pi * 1000 * t)[None]
    mel = log_mel(tone, rate=rate)
    assert mel.shape == (1, 64, 1 + (rate - 400) // 160)
    filters = mel_filters(64, 257, rate, 125, 7500)
    assert int(mel[0].mean(1).argmax()) == int(filters[:, round(1000 / (rate / 512))].argmax())
    assert torch.allclose(log_mel(torch.zeros(1, 4000), rate=rate), torch.tensor(math.log(0.01)))
    assert filters.max() <= 1
    assert (
        filters.sum(0)[10:230] > 0.99
    ).all()  # neighbours' triangles add up to 1 between the first and the last peak
    stats = of_sounds(torch.stack([tone[0], torch.zeros(rate)]), rate=rate)
    assert stats.shape == (2, 192)
    assert stats[1, 64:].abs().max() < 1e-5  # silence neither varies nor changes
    with pytest.raises(UserError, match="at least 400 samples"):
        log_mel(torch.zeros(2, 300), rate=rate)
    with pytest.raises(UserError, match="1 of 2 clips"):
        log_mel(torch.tensor([[0.0] * 400, [math.nan] * 400]), rate=rate)


# ---- LPIPS as a measure


class Pixels:
    """A network whose only map is the image: LPIPS by hand."""

    heads = [torch.tensor([1.0, 2.0, 3.0])]
    card = {"name": "pixels", "digest": "none", "layers": "x"}

    def __call__(self, x):
        return [x]


def test_lpips_score_by_hand():
    x, y = torch.zeros(3, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    x[:, 0], y[0, 0], y[1:, 1] = 1, 0.5, 0.7  # one pair points the same way, two at a right angle
    got = lpips_score(x, y, net=Pixels(), batch=2)
    assert got["value"] == pytest.approx((0 + 3 + 3) / 3, abs=1e-6)
    assert got["se"] == pytest.approx(1, abs=1e-6)
    assert (got["n"], got["network"], got["digest"]) == (3, "pixels", "none")
    u = images(2, 3, 16)
    assert lpips_score(u, images(2, 3, 16, seed=1), net=Pixels())["value"] == pytest.approx(
        lpips_score(u / 127.5 - 1, images(2, 3, 16, seed=1) / 127.5 - 1, net=Pixels())["value"], rel=1e-6
    )
    with pytest.raises(UserError, match="one shape and dtype"):
        lpips_score(x, y.double(), net=Pixels())
    for bad in (x + 1, x * math.nan):
        with pytest.raises(UserError, match="outside"):
            lpips_score(bad, y, net=Pixels())


def test_lpips_score_without_weights_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="weights of alexnet are missing"):
        lpips_score(images(1, 3, 64), images(1, 3, 64))


def test_lpips_score_of_the_real_network():
    if not (Path(os.environ.get("GENZOO_WEIGHTS", "")) / "alexnet.safetensors").is_file():
        pytest.skip("the weights of AlexNet are not here")
    x = images(2, 3, 64)
    assert lpips_score(x, x)["value"] == 0
    got = lpips_score(x, images(2, 3, 64, seed=1))
    assert got["value"] > 0.05
    assert len(got["digest"]) == 64
