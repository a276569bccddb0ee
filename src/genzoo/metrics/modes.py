"""How many modes a generator reaches: on the ring and the grid of Gaussians, and on Stacked-MNIST.

Protocols of VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): ring of 8 modes, radius 1, σ 0.01; 5 x 5 grid, spacing 2, σ 0.05;
2,500 samples, of high quality within 3σ of the nearest mode, which is then covered. Stacked-MNIST: 26,000 samples, every channel read by a
classifier, modes are the distinct triples of 1,000, KL(p || uniform) in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.maths.inputs import checked

RING_SIGMA, GRID_SIGMA = 0.01, 0.05
MIXTURE_SAMPLES = 2_500
STACKED_SAMPLES = 26_000


def ring_modes(count: int = 8, radius: float = 1.0) -> Tensor:
    """Centres of the ring, float64 [count, 2]."""
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def grid_modes(side: int = 5, spacing: float = 2.0) -> Tensor:
    """Centres of the grid around the origin, float64 [side², 2]."""
    line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(line, line)


def sample_mixture(centres: Tensor, sigma: float, n: int, *, generator: Generator) -> Tensor:
    """Draw from equally likely Gaussians around the centres, float32 [n, D]."""
    which = torch.randint(len(centres), (n,), generator=generator)
    noise = torch.randn(n, centres.shape[1], generator=generator, dtype=torch.float64)
    return (centres[which] + sigma * noise).float()


def mode_counts(points: Tensor, centres: Tensor, sigma: float) -> dict[str, float]:
    """Count covered modes.

    Args:
        points: Samples [N, D].
        centres: Modes [K, D].
        sigma: Standard deviation of each mode.

    Returns:
        `modes` covered, `high_quality` share of samples within 3σ, and over the high-quality samples' histogram of modes
        `reverse_kl` = KL(p || uniform) and `jsd` in nats (NaN without any such sample); `n`.

    Raises:
        UserError: No points [N, D] of the modes' dimension, NaN or infinite ones (a model that diverged), or σ not positive.
    """
    points = checked(points, "points", at_least=1, dims=centres.shape[1])
    if not sigma > 0:
        raise UserError(f"sigma must be more than 0, not {sigma}")
    distance = torch.cdist(points.double().cpu(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    best, which = distance.min(1)
    good = which[best <= 3 * sigma]
    histogram = torch.bincount(good, minlength=len(centres)).double()
    return {
        "modes": int((histogram > 0).sum()),
        "high_quality": len(good) / len(points),
        "reverse_kl": kl_to_uniform(histogram),
        "jsd": jsd_to_uniform(histogram),
        "n": len(points),
    }


def ring_report(points: Tensor) -> dict[str, float]:
    """Score samples [N, 2] against the ring of 8 modes; the papers take `MIXTURE_SAMPLES`. Returns what `mode_counts` does."""
    return mode_counts(points, ring_modes(), RING_SIGMA)


def grid_report(points: Tensor) -> dict[str, float]:
    """Score samples [N, 2] against the 5 x 5 grid; the papers take `MIXTURE_SAMPLES`. Returns what `mode_counts` does."""
    return mode_counts(points, grid_modes(), GRID_SIGMA)


def kl_to_uniform(histogram: Tensor) -> float:
    """KL(p || uniform) in nats of a histogram of counts; NaN where it is empty."""
    p = histogram.double() / histogram.sum()
    return float(torch.special.xlogy(p, p * len(p)).sum())


def jsd_to_uniform(histogram: Tensor) -> float:
    """Jensen-Shannon divergence to uniform in nats of a histogram of counts; NaN where it is empty."""
    p = histogram.double() / histogram.sum()
    q = torch.full_like(p, 1 / len(p))
    m = (p + q) / 2
    return float((torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)).sum() / 2)


def stack_digits(images: Tensor, n: int, *, generator: Generator) -> Tensor:
    """Build Stacked-MNIST: three random digits as the channels of one image, uint8 [n, 3, H, W] from [N, 1, H, W]."""
    return images[torch.randint(len(images), (n, 3), generator=generator)].squeeze(2)


def stacked_modes(images: Tensor, classify: Callable[[Tensor], Tensor], *, digits: int = 10) -> dict[str, float]:
    """Count the modes of Stacked-MNIST samples.

    Args:
        images: uint8 [N, 3, H, W]; the protocol takes 26,000.
        classify: uint8 [N, 1, H, W] to logits [N, digits].
        digits: Number of classes of one channel.

    Returns:
        `modes` (of digits³), `kl` = KL(p || uniform) in nats, `n`, and `ideal_kl`, what perfectly uniform samples of this
        number have on average: (K − 1) / 2n.

    Raises:
        UserError: No uint8 images [N, 3, H, W].
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or not len(images):
        raise UserError(f"Stacked-MNIST samples are uint8 [N, 3, H, W], not {images.dtype} {tuple(images.shape)}")
    read = torch.stack([classify(images[:, c : c + 1]).argmax(1).cpu() for c in range(3)], 1)
    code = (read * torch.tensor([digits**2, digits, 1])).sum(1)
    histogram = torch.bincount(code, minlength=digits**3)
    n = len(images)
    return {
        "modes": int((histogram > 0).sum()),
        "kl": kl_to_uniform(histogram),
        "n": n,
        "ideal_kl": (digits**3 - 1) / (2 * n),
    }
