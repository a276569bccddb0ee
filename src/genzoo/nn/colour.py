"""Colour spaces: sRGB, CIE Lab (lightness and two colour axes, D65), and luma with two colour differences (ITU-R BT.601)."""

from __future__ import annotations

import torch
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB to CIE XYZ."""
RGB = tuple(map(tuple, torch.linalg.inv(torch.tensor(XYZ, dtype=torch.float64)).tolist()))
"""CIE XYZ to linear sRGB."""
WHITE = (0.95047, 1.0, 1.08883)
"""The standard illuminant D65 for the 2° observer."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""
LINEAR_BELOW = 6 / 29
"""Where the cube root of Lab gives way to a straight line."""


# ---- CIE Lab -------------------------------------------------------------------------------------------------------------------


def rgb_to_lab(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return lightness L [B, 1, H, W] in [0, 100] and colour ab [B, 2, H, W] of sRGB images [B, 3 or 1, H, W] in [-1, 1], float32.

    A gray image has L of its gray level, and ab = 0 but for the rounding of the white point's constants.
    """
    srgb = (x.float().clamp(-1, 1) + 1) / 2
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    r, g, b = linear.expand(-1, 3, -1, -1).unbind(1)
    fx, fy, fz = (_bend((m[0] * r + m[1] * g + m[2] * b) / w) for m, w in zip(XYZ, WHITE, strict=True))
    return (116 * fy - 16)[:, None], torch.stack([500 * (fx - fy), 200 * (fy - fz)], 1)


def _bend(t: Tensor) -> Tensor:
    return torch.where(t > LINEAR_BELOW**3, t.clamp(min=1e-9) ** (1 / 3), t / (3 * LINEAR_BELOW**2) + 4 / 29)


def lab_to_rgb(lightness: Tensor, ab: Tensor, *, halvings: int = 14) -> Tensor:
    """Return sRGB images [B, 3, H, W] in [-1, 1] of L [B, 1, H, W] and ab [B, 2, H, W], float32, with that lightness everywhere.

    Where the colour does not exist in sRGB, ab is scaled towards gray until it does, by bisection. Clamping red, green and blue
    instead would change the lightness.
    """
    lightness, ab = lightness.float(), ab.float()
    b, _, h, w = lightness.shape
    light, colour = lightness.reshape(b, -1), ab.reshape(b, 2, -1).transpose(1, 2)
    linear = _linear(light, colour)
    outside = ~_displayable(linear)
    if torch.compiler.is_exporting():  # a graph cannot choose pixels: all are paled, and those outside taken
        linear = torch.where(outside[..., None], _paled(light, colour, halvings), linear)
    elif outside.any():
        linear[outside] = _paled(light[outside], colour[outside], halvings)
    linear = linear.clamp(0, 1)
    srgb = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return (srgb * 2 - 1).clamp(-1, 1).transpose(1, 2).reshape(b, 3, h, w)


def _paled(lightness: Tensor, ab: Tensor, halvings: int) -> Tensor:
    """Return linear red, green and blue [..., 3] of the most of the colour [..., 2] that exists at its lightness [...], by bisection."""
    low, high = torch.zeros_like(lightness), torch.ones_like(lightness)
    for _ in range(halvings):
        middle = (low + high) / 2
        fits = _displayable(_linear(lightness, ab * middle[..., None]))
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return _linear(lightness, ab * low[..., None])


def _linear(lightness: Tensor, ab: Tensor) -> Tensor:
    """Return the linear red, green and blue [..., 3] of lightness [...] and colour [..., 2]; outside [0, 1] where sRGB has no such colour."""
    fy = (lightness + 16) / 116
    curves = (fy + ab[..., 0] / 500, fy, fy - ab[..., 1] / 200)
    xyz = [
        w * torch.where(f > LINEAR_BELOW, f**3, 3 * LINEAR_BELOW**2 * (f - 4 / 29))
        for f, w in zip(curves, WHITE, strict=True)
    ]
    return torch.stack([sum(m * v for m, v in zip(row, xyz, strict=True)) for row in RGB], -1)


def _displayable(linear: Tensor, slack: float = 1e-4) -> Tensor:
    return ((linear >= -slack) & (linear <= 1 + slack)).all(-1)


# ---- luma and colour differences -----------------------------------------------------------------------------------------------


def rgb_to_ycc(x: Tensor) -> Tensor:
    """Return luma and the blue and red differences [B, 3, H, W] of images [B, 3, H, W] in [-1, 1]; all three are in [-1, 1]."""
    r, g, b = x.float().unbind(1)
    y = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b
    return torch.stack([y, (b - y) / (2 * (1 - LUMA[2])), (r - y) / (2 * (1 - LUMA[0]))], 1)


def ycc_to_rgb(x: Tensor) -> Tensor:
    """Undo `rgb_to_ycc`. Values leave [-1, 1] where there is no such colour."""
    y, blue, red = x.float().unbind(1)
    r, b = y + 2 * (1 - LUMA[0]) * red, y + 2 * (1 - LUMA[2]) * blue
    return torch.stack([r, (y - LUMA[0] * r - LUMA[2] * b) / LUMA[1], b], 1)


def fade_to_fit(y: Tensor, differences: Tensor) -> Tensor:
    """Return images [B, 3, H, W] in [-1, 1] with luma `y` [B, 1, H, W] and the given colour differences [B, 2, H, W].

    Where that colour does not exist the differences are scaled towards gray, by no more than is needed, and the luma stays.
    """
    y = y.float().clamp(-1, 1)
    away = ycc_to_rgb(torch.cat([y, differences.float()], 1)) - y
    room = torch.where(away > 0, 1 - y, 1 + y)
    share = (room / away.abs().clamp(min=1e-9)).amin(1, keepdim=True).clamp(max=1)
    return (y + share * away).clamp(-1, 1)


def luma(x: Tensor) -> Tensor:
    """Return the luma [B, 1, H, W] of images [B, 3, H, W]; gray images [B, 1, H, W] are their own."""
    return x if x.shape[1] == 1 else rgb_to_ycc(x)[:, :1]
