"""ProGAN's sliced Wasserstein distance: random projections of patches of a Laplacian pyramid, sorted and compared.

The protocol (Karras et al., arXiv:1710.10196, section 5) takes 7x7 patches of every level, normalized per colour, and reports p = 1 times
1000 for each level.
"""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record
from genzoo.metrics.sliced import transport_1d, unit_directions

MEASURE = Measure(
    name="swd",
    line="sliced Wasserstein distance of patches of Laplacian pyramids (ProGAN)",
    question="distance",
    gives=(Value("SWD x 1000", better="lower"),),
    features=False,
    default=False,
)

PATCH = 7


def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Return band-pass images, full size first, and the low-pass rest last; `levels` in all.

    Burt and Adelson's 5 x 5 binomial filter, with mirrored borders. Their sum, each brought to the size above in turn, is the image.

    Args:
        images: Floats [N, C, H, W] whose sides can be halved levels − 1 times and stay at least 3.
        levels: Number of levels.
    """
    pyramid = []
    for _ in range(levels - 1):
        small = _blur(images)[:, :, ::2, ::2]
        pyramid.append(images - _enlarge(small))
        images = small
    return [*pyramid, images]


def _blur(x: Tensor, gain: float = 1.0) -> Tensor:
    w = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16 * math.sqrt(gain)
    n, c, h, width = x.shape
    x = F.pad(x.reshape(n * c, 1, h, width), (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(x, w.view(1, 1, -1, 1)), w.view(1, 1, 1, -1)).view(n, c, h, width)


def _enlarge(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    zeros = x.new_zeros(n, c, 2 * h, 2 * w)
    zeros[:, :, ::2, ::2] = x
    return _blur(zeros, gain=4.0)


def _patches(images: Tensor, levels: int, per_image: int, g: Generator, chunk: int) -> list[Tensor]:
    """Cut patches of every level at random places, normalized to mean 0 and deviation 1 of every colour, [N · per_image, C · 49]."""
    found: list[list[Tensor]] = [[] for _ in range(levels)]
    for part in images.split(chunk):
        for level, x in enumerate(laplacian_pyramid(part.float(), levels)):
            n, c, h, w = x.shape
            top = torch.randint(h - PATCH + 1, (n, per_image, 1, 1), generator=g) + torch.arange(PATCH).view(-1, 1)
            left = torch.randint(w - PATCH + 1, (n, per_image, 1, 1), generator=g) + torch.arange(PATCH)
            where = (top * w + left).view(n, 1, -1).expand(n, c, -1).to(x.device)
            cut = x.flatten(2).gather(2, where).view(n, c, per_image, PATCH**2)
            found[level].append(cut.transpose(1, 2).reshape(n * per_image, c, PATCH**2))
    out = []
    for parts in found:
        x = torch.cat(parts)
        mean = x.mean((0, 2), keepdim=True, dtype=torch.float64).float()
        sd = (x - mean).square().mean((0, 2), keepdim=True, dtype=torch.float64).sqrt().float()
        out.append(((x - mean) / torch.where(sd > 0, sd, 1.0)).flatten(1))
    return out


@torch.no_grad()
def pyramid_swd(
    fake: Tensor,
    real: Tensor,
    *,
    per_image: int = 128,
    repeats: int = 4,
    directions: int = 128,
    smallest: int = 16,
    seed: int = 0,
    chunk: int = 500,
) -> dict[str, float]:
    """Return ProGAN's sliced Wasserstein distance × 1000 for each level of the pyramid, by its side, and their `mean`.

    The protocol takes 16,384 images of each kind. Patches of a level are held at once: N · per_image · C · 49 floats.

    Args:
        fake: uint8 or float images [N, C, H, W] in one range.
        real: As many, of the same shape.
        per_image: Patches of each image and level.
        repeats: Sets of directions that are averaged.
        directions: Directions in a set.
        smallest: Levels go down to this side, where the sides can be halved so far.
        seed: Seed of the patches (the same places in both sets would tie them together, so they differ) and of the directions.
        chunk: Images at a time.

    Returns:
        {"32": …, "16": …, "mean": …, "n": N} for images of 32 pixels.

    Raises:
        UserError: Shapes or numbers that differ, images smaller than a patch, fewer than two, NaN or infinite values.
    """
    if fake.ndim != 4 or fake.shape != real.shape or len(fake) < 2:
        raise UserError(
            f"two equally large sets of at least two images [N, C, H, W] are needed, not {tuple(fake.shape)} and {tuple(real.shape)}"
        )
    side = min(fake.shape[2:])
    if side < PATCH or smallest < PATCH:
        raise UserError(f"levels of at least {PATCH} pixels a side are needed, not {side} down to {smallest}")
    if min(per_image, repeats, directions) < 1:
        raise UserError("at least one patch, one repeat and one direction are needed")
    bad = sum(int((~x.float().isfinite()).flatten(1).any(1).sum()) for x in (fake, real))
    if bad:
        raise UserError(f"{bad} images hold NaN or infinite values")
    levels = 1
    while all(s % 2**levels == 0 for s in fake.shape[2:]) and side // 2**levels >= smallest:
        levels += 1
    g = torch.Generator().manual_seed(seed)
    a, b = (_patches(x, levels, per_image, g, chunk) for x in (fake, real.to(fake.device)))
    found: dict[str, float] = {}
    for level in range(levels):
        total = 0.0
        for _ in range(repeats):
            d = unit_directions(a[level].shape[1], directions, g, a[level])
            total += (
                sum(float(transport_1d(a[level] @ part, b[level] @ part, 1).sum()) for part in d.split(16, dim=1))
                / directions
            )
        found[str(side // 2**level)] = 1000 * total / repeats
    return {**found, "mean": sum(found.values()) / levels, "n": len(fake), "seed": seed}


def take(c: Comparison) -> list[Record]:
    """Return the sliced Wasserstein distance of patches of a Laplacian pyramid."""
    start, n = time.time(), min(c.n_fake, len(c.real))
    got = pyramid_swd(c.fake[:n], c.real[:n], seed=c.seed)
    floor = None
    if c.floor_images is not None and len(c.floor_images) >= n:
        floor = pyramid_swd(c.floor_images[:n], c.real[:n], seed=c.seed)["mean"]
    words = f"sliced Wasserstein distance x 1000 of 7x7 patches of a Laplacian pyramid, mean over levels, {n:,} images of each"
    return [
        c.record(
            MEASURE.says("SWD x 1000"), float(got["mean"]), words, start, features=False, floor=floor, n_floor=n if floor else None,
            levels_swd={k: v for k, v in got.items() if k not in ("mean", "n")},
        )
    ]  # fmt: skip
