"""How many modes a generator reaches on the ring and on the grid of Gaussians, whose centres are known.

Protocols of VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): ring of 8 modes, radius 1, σ 0.01; 5 x 5 grid, spacing 2, σ 0.05;
2,500 samples, of high quality within 3σ of the nearest mode, which is then covered.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw, finite
from genzoo.metrics.maths.inputs import checked
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, content_digest

MEASURE = Measure(
    name="modes",
    line="modes of the ring or the grid that samples reach, and the share of samples that are near one",
    question="variety",
    gives=(
        Value("modes covered", better="higher"),
        Value("high-quality samples", better="higher"),
        Value("KL of modes", unit="nats", better="lower"),
    ),
    offers="coordinates",
    images=False,
    features=False,
)

RING_SIGMA, GRID_SIGMA = 0.01, 0.05
MIXTURE_SAMPLES = 2_500


def ring_modes(count: int = 8, radius: float = 1.0) -> Tensor:
    """Place the centres of the ring, float64 [count, 2]."""
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def grid_modes(side: int = 5, spacing: float = 2.0) -> Tensor:
    """Place the centres of the grid around the origin, float64 [side², 2]."""
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
    """Compute KL(p || uniform) in nats of a histogram of counts; NaN where it is empty."""
    p = histogram.double() / histogram.sum()
    return float(torch.special.xlogy(p, p * len(p)).sum())


def jsd_to_uniform(histogram: Tensor) -> float:
    """Compute the Jensen-Shannon divergence to uniform in nats of a histogram of counts; NaN where it is empty."""
    p = histogram.double() / histogram.sum()
    q = torch.full_like(p, 1 / len(p))
    m = (p + q) / 2
    return float((torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)).sum() / 2)


CENTRES = {"ring": (ring_modes, RING_SIGMA), "grid": (grid_modes, GRID_SIGMA)}
"""Data sets whose modes are known."""
KEYS = {"modes covered": "modes", "high-quality samples": "high_quality", "KL of modes": "reverse_kl"}


@torch.no_grad()
def take(c: Comparison) -> list[Record]:
    """Return how many modes samples cover, the share near one, and how unevenly; the floor is of as many held-out points."""
    start, test, system = time.time(), c.real_set, c.asked_system
    if test.name not in CENTRES:
        raise UserError(f"the modes of {test.name} are not known; they are of {' and '.join(CENTRES)}")
    centres, sigma = CENTRES[test.name][0](), CENTRES[test.name][1]
    n = min(c.n, MIXTURE_SAMPLES, len(test))
    was_training = system.training
    system.eval()
    try:
        fake = finite(draw(system, n, c.seed))
    finally:
        system.train(was_training)
    points = torch.from_numpy(test.examples[:n])
    got, real = mode_counts(fake, centres, sigma), mode_counts(points, centres, sigma)
    share = got["high_quality"]
    words = {
        "modes covered": f"modes, of {len(centres)}, with a sample within 3σ, σ = {sigma}",
        "high-quality samples": f"share of samples within 3σ of a mode, σ = {sigma}",
        "KL of modes": "KL of the histogram of high-quality samples over modes against the uniform one",
    }
    said = f"{n:,} samples; floor: as many points of {test.name} {test.split}; seed {c.seed}"
    return [
        Record(
            **MEASURE.says(name), value=got[key], floor=real[key], protocol=f"{words[name]}; {said}", n=n, n_fake=n, n_floor=n, data=test.name,
            se=math.sqrt(share * (1 - share) / n) if key == "high_quality" else None,
            split=test.split, data_digest=content_digest(points), seed=c.seed, seconds=round(time.time() - start, 1),
        )
        for name, key in KEYS.items()
    ]  # fmt: skip
