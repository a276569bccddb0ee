"""The sliced Wasserstein distance of features: sort random projections and compare them.

    SWₚ = ( mean over directions of Wₚᵖ of the projections )^(1/p)        (Rabin et al. 2011)

In one dimension the optimal transport is between sorted values.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="sliced",
    line="sliced Wasserstein distance of features",
    question="distance",
    gives=(Value("sliced W2", better="lower"),),
    default=False,
)


def unit_directions(dims: int, count: int, g: Generator, like: Tensor) -> Tensor:
    """Draw random unit vectors, one per column, [dims, count]."""
    d = torch.randn(dims, count, generator=g, dtype=torch.float64)
    unit: Tensor = (d / d.norm(dim=0)).to(like)
    return unit


def transport_1d(a: Tensor, b: Tensor, p: float) -> Tensor:
    """Return Wₚᵖ between the columns of [N, K] and [M, K] as empirical distributions, float64 [K]: exact for any N and M."""
    a, b = a.sort(dim=0).values, b.sort(dim=0).values
    n, m = len(a), len(b)
    if n == m:
        return (a - b).abs().double().pow(p).mean(0)
    # Both quantile functions are constant between neighbouring values of {i / n} and {j / m}, here in units of 1 / nm.
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    width = torch.diff(ends, prepend=ends.new_zeros(1)).double() / (n * m)
    first, second = ((ends - 1) // step for step in (m, n))
    gap = (a[first.to(a.device)] - b[second.to(a.device)]).abs().double().pow(p)
    return (gap * width[:, None].to(gap.device)).sum(0)


@torch.no_grad()
def sliced_wasserstein(
    fake: Tensor, real: Tensor, *, p: float = 2, directions: int = 512, seed: int = 0, group: int = 32
) -> dict[str, float]:
    """Return the sliced Wasserstein distance of features: `value`, and `directions_se`, what the choice of directions adds (delta method).

    That is no error over draws of the examples, and none is given.

    Args:
        fake: Features [N, D].
        real: Features [M, D].
        p: Order, at least 1.
        directions: Random directions; more make it less noisy.
        seed: Seed of the directions.
        group: Directions at a time; memory is (N + M) · group.

    Raises:
        UserError: Shapes that do not fit, NaN or infinite values, fewer than two directions, or p < 1.
    """
    fake, real = (f.double() for f in checked_pair(fake, real, at_least=1))
    if directions < 2 or not p >= 1:
        raise UserError(f"at least two directions and an order of at least 1, not {directions} and {p}")
    g = torch.Generator().manual_seed(seed)
    d = unit_directions(fake.shape[1], directions, g, fake)
    powers = torch.cat([transport_1d(fake @ part, real @ part, p) for part in d.split(group, dim=1)])
    mean = float(powers.mean())
    value = mean ** (1 / p)
    se = float(powers.std()) / math.sqrt(directions) * (value / (p * mean) if mean > 0 else 0.0)
    return {
        "value": value,
        "directions_se": se,
        "p": p,
        "directions": directions,
        "n_fake": len(fake),
        "n_real": len(real),
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return the sliced Wasserstein distance of features, p = 2."""
    start, net = time.time(), c.network
    got = sliced_wasserstein(c.fake_features, c.real_features, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: sliced_wasserstein(x, c.real_features, seed=c.seed)["value"])
    words = f"sliced Wasserstein distance (p = 2, {got['directions']} directions) of {net.name} features"
    return [
        c.record(
            MEASURE.says("sliced W2"), got["value"], words, start, floor=floor, n_floor=count(c.floor_features),
            directions_se=got["directions_se"],
        )
    ]  # fmt: skip
