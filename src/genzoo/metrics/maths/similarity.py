"""Likeness of pairs of images: PSNR, SSIM, MS-SSIM, L1 and L2.

Every value is of one image: PSNR of a batch is the mean of its images' PSNRs and never the PSNR of the pooled error, SSIM averages the
part of its map that needs no padding, and the range of the data is given and never guessed from them.

    SSIM = (2 μₓμᵧ + c₁)(2 σₓᵧ + c₂) / ((μₓ² + μᵧ² + c₁)(σₓ² + σᵧ² + c₂)),   c₁ = (0.01 R)², c₂ = (0.03 R)²    (Wang et al. 2004)

with the moments under a Gaussian window of 11 pixels and σ 1.5. MS-SSIM multiplies powers of the contrast-structure terms at halved sizes
with the luminance term of the last (Wang, Simoncelli and Bovik 2003). The luminance term compares intensities, which start at 0: of images in
[-1, 1] it would compare signs (flat greys 127 and 132 would have 0.07 and not 0.9993), so values outside [0, R] are refused.

Super-resolution is judged on the luma of ITU-R BT.601 in 16 … 235 of images of 8 bits, peak 255, without a border of `scale` pixels: `y_psnr`
and `y_ssim`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.core.errors import UserError

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's five scales, the full size first."""
ROUNDING = 1e-5
"""How far beyond its range a value may be for the round-off of float32, in parts of the range."""
RGB_TO_Y = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in [0, 1] in the luma of ITU-R BT.601; black is 16 and white 235."""


def _pair(a: Tensor, b: Tensor, data_range: float) -> None:
    if a.ndim != 4 or a.shape != b.shape or not a.numel():
        raise UserError(
            f"two batches of images [N, C, H, W] of one shape are needed, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not data_range > 0:
        raise UserError(f"data_range must be more than 0, not {data_range}: 255 for uint8, 1 for [0, 1]")
    bad = sum(int((~x.isfinite()).flatten(1).any(1).sum()) for x in (a, b))
    if bad:
        raise UserError(f"{bad} images hold NaN or infinite values")


def _intensities(a: Tensor, b: Tensor, data_range: float) -> None:
    """Check what SSIM and MS-SSIM ask of images beyond `_pair`: values that start at 0."""
    _pair(a, b, data_range)
    low, high = min(float(x.min()) for x in (a, b)), max(float(x.max()) for x in (a, b))
    if low < -ROUNDING * data_range or high > (1 + ROUNDING) * data_range:
        raise UserError(
            f"SSIM compares intensities from 0 to data_range={data_range:g}, these images go from {low:.4g} to {high:.4g}; bring them there "
            "first: images in [-1, 1] as (x + 1) / 2 with data_range=1"
        )


def psnr(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Return the peak signal-to-noise ratio of every pair in dB, float64 [N]: 10 log₁₀ (R² / MSE); infinite for equal images.

    Args:
        a: Images [N, C, H, W].
        b: As many.
        data_range: R, the largest possible difference: 255 for uint8, 2 for [-1, 1].

    Raises:
        UserError: Shapes that differ, NaN or infinite values, or a range that is not positive.
    """
    _pair(a, b, data_range)
    return 10 * (data_range**2 / (a.double() - b.double()).square().flatten(1).mean(1)).log10()


def l1_percent(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Return the mean absolute difference of every pair in per cent of the range, float64 [N]."""
    _pair(a, b, data_range)
    return 100 * ((a.double() - b.double()) / data_range).abs().flatten(1).mean(1)


def l2_percent(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Return the mean squared difference of every pair in per cent of the squared range, float64 [N] (arXiv:1604.07379, table 1)."""
    _pair(a, b, data_range)
    return 100 * ((a.double() - b.double()) / data_range).square().flatten(1).mean(1)


def _window(size: int, sigma: float) -> Tensor:
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    w = (-0.5 * (x / sigma) ** 2).exp()
    return w / w.sum()


def _terms(a: Tensor, b: Tensor, data_range: float, window: Tensor) -> tuple[Tensor, Tensor]:
    """Compute SSIM and its contrast-structure part, each averaged over the valid region and the channels, [N]."""
    n, c = a.shape[:2]
    x, y = (t.reshape(n * c, 1, *t.shape[2:]) for t in (a, b))
    stacked = torch.cat([x, y, x * x, y * y, x * y])
    stacked = F.conv2d(F.conv2d(stacked, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    mx, my, xx, yy, xy = stacked.chunk(5)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    structure = (2 * (xy - mx * my) + c2) / ((xx - mx * mx) + (yy - my * my) + c2)
    whole = structure * (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return whole.view(n, -1).mean(1), structure.view(n, -1).mean(1)


@torch.no_grad()
def ssim(a: Tensor, b: Tensor, *, data_range: float, window: int = 11, sigma: float = 1.5, chunk: int = 64) -> Tensor:
    """Return the structural similarity of every pair, float64 [N]: 1 for equal images. Colours are averaged.

    Args:
        a: Images [N, C, H, W].
        b: As many.
        data_range: R, the largest intensity; the smallest is 0: 255 for uint8, 1 for [0, 1].
        window: Side of the Gaussian window, odd.
        sigma: Its standard deviation.
        chunk: Pairs at a time.

    Raises:
        UserError: Values outside [0, R], images smaller than the window, shapes that differ, NaN or infinite values, or a range that is not
            positive.
    """
    _intensities(a, b, data_range)
    _check_window(window, sigma)
    if min(a.shape[2:]) < window:
        raise UserError(
            f"images of {a.shape[2]}x{a.shape[3]} are smaller than the window of {window}; give a smaller window="
        )
    w = _window(window, sigma).to(a.device)
    pairs = zip(a.split(chunk), b.split(chunk), strict=True)
    return torch.cat([_terms(x.double(), y.double(), data_range, w)[0] for x, y in pairs])


def _check_window(window: int, sigma: float) -> None:
    if window < 1 or window % 2 == 0 or not sigma > 0:
        raise UserError(f"the window must be odd and sigma more than 0, not {window} and {sigma}")


def y_channel(images: Tensor) -> Tensor:
    """Return the luma of images as super-resolution takes it, float64 [N, 1, H, W].

        Y = 16 + 65.481 R + 128.553 G + 24.966 B        for R, G, B in [0, 1], not rounded

    Args:
        images: uint8 [N, C, H, W]: RGB, or gray, whose values are taken as they are.

    Raises:
        UserError: No uint8 images of one or three channels.
    """
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        raise UserError(
            "the luma of super-resolution is taken of uint8 images [N, 1 or 3, H, W], as they are saved, not of "
            f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        )
    if images.shape[1] == 1:
        return images.double()
    weights = torch.tensor(RGB_TO_Y, dtype=torch.float64, device=images.device).view(1, 3, 1, 1)
    return 16 + (images.double() * weights).sum(1, keepdim=True) / 255


def _shaved(a: Tensor, b: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Return the lumas of both images without `border` pixels on every side."""
    _pair(a, b, 255)
    if border < 0 or 2 * border >= min(a.shape[2:]):
        raise UserError(f"a border of {border} pixels leaves nothing of images of {a.shape[2]}x{a.shape[3]}")
    cut = slice(border, -border or None)
    return y_channel(a)[:, :, cut, cut], y_channel(b)[:, :, cut, cut]


def y_psnr(a: Tensor, b: Tensor, *, border: int) -> Tensor:
    """Return the PSNR of super-resolution for every pair in dB, float64 [N]: on the luma (`y_channel`), peak 255, without the border.

    Args:
        a: uint8 images [N, C, H, W], whole and of 8 bits as they are saved.
        b: As many.
        border: Pixels that are left out on every side; the field leaves out as many as the image is enlarged.

    Raises:
        UserError: What `psnr` and `y_channel` refuse, or a border that leaves nothing.
    """
    return psnr(*_shaved(a, b, border), data_range=255)


def y_ssim(a: Tensor, b: Tensor, *, border: int, chunk: int = 64) -> Tensor:
    """Return the SSIM of super-resolution for every pair, float64 [N]: on the luma (`y_channel`), range 255, without the border.

    Args:
        a: uint8 images [N, C, H, W], whole and of 8 bits as they are saved.
        b: As many.
        border: Pixels that are left out on every side; the field leaves out as many as the image is enlarged.
        chunk: Pairs at a time.

    Raises:
        UserError: What `ssim` and `y_channel` refuse, or a border that leaves nothing.
    """
    return ssim(*_shaved(a, b, border), data_range=255, chunk=chunk)


@torch.no_grad()
def ms_ssim(
    a: Tensor, b: Tensor, *, data_range: float, scales: int = 5, window: int = 11, sigma: float = 1.5, chunk: int = 64
) -> Tensor:
    """Return the multi-scale structural similarity of every pair, float64 [N].

    With fewer than five scales the first exponents are used, scaled to the sum 1. Negative terms count as 0.

    Args:
        a: Images [N, C, H, W].
        b: As many.
        data_range: R, the largest intensity; the smallest is 0: 255 for uint8, 1 for [0, 1].
        scales: Sizes, each half of the one before: 1 to 5.
        window: Side of the Gaussian window, odd.
        sigma: Its standard deviation.
        chunk: Pairs at a time.

    Raises:
        UserError: Images too small for the scales (the message says what would do), or what `ssim` refuses.
    """
    _intensities(a, b, data_range)
    _check_window(window, sigma)
    if not 1 <= scales <= len(SCALES):
        raise UserError(f"scales must be 1 to {len(SCALES)}, not {scales}")
    side = min(a.shape[2:])
    fits = sum(side // 2**s >= window for s in range(len(SCALES)))
    if fits < scales:
        advice = f"give scales={fits}" if fits else "give a smaller window="
        raise UserError(
            f"{scales} scales with a window of {window} need images of at least {window * 2 ** (scales - 1)} pixels a side, these "
            f"are {a.shape[2]}x{a.shape[3]}: {advice}, or larger images"
        )
    w = _window(window, sigma).to(a.device)
    powers = torch.tensor(SCALES[:scales], dtype=torch.float64)
    powers = powers / powers.sum()
    out = []
    for x, y in zip(a.split(chunk), b.split(chunk), strict=True):
        x, y = x.double(), y.double()
        value = torch.ones(len(x), dtype=torch.float64, device=x.device)
        for s in range(scales):
            whole, structure = _terms(x, y, data_range, w)
            value = value * (whole if s == scales - 1 else structure).clamp(min=0) ** float(powers[s])
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        out.append(value)
    return torch.cat(out)
