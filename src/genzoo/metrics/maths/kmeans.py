"""K-means by Lloyd's algorithm with a k-means++ start: the bins of PRD, NDB and the data-copying test.

Lloyd (1982); Arthur and Vassilvitskii (2007). Everything is drawn from one seed; the data are visited in chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.maths.inputs import checked, squared_distances


@dataclass(frozen=True)
class Clusters:
    """Result of `kmeans`.

    Args:
        centres: float32 [K, D].
        labels: Index of every point's centre, [N].
        inertia: Sum of squared distances to the centres.
        passes: Lloyd's steps that were made.
    """

    centres: Tensor
    labels: Tensor
    inertia: float
    passes: int

    def assign(self, x: Tensor, chunk: int = 10_000) -> Tensor:
        """Return the index of the nearest centre, [M], of points [M, D]; ties go to the lower index."""
        return nearest_centre(
            checked(x, "points", at_least=1, dims=self.centres.shape[1]).float(), self.centres, chunk
        )[0]


def nearest_centre(x: Tensor, centres: Tensor, chunk: int = 10_000) -> tuple[Tensor, Tensor]:
    """Return for float32 rows [N, D] the index of the nearest of [K, D] centres, and the squared distance, each [N]."""
    middle = centres.mean(0)
    parts = [squared_distances(part - middle, centres - middle).min(1) for part in x.split(chunk)]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])


@torch.no_grad()
def kmeans(
    x: Tensor, clusters: int, *, seed: int = 0, passes: int = 100, plus_plus: bool = True, chunk: int = 10_000
) -> Clusters:
    """Cluster points; stops when no label changes or after `passes`.

    A centre that loses all its points is put on the point that is farthest from its own.

    Args:
        x: Points [N, D], N ≥ `clusters`.
        clusters: Number of centres K.
        seed: Seed of the start.
        passes: Most steps of Lloyd's algorithm.
        plus_plus: Start with k-means++; otherwise with K points at random, which suits thousands of centres.
        chunk: Points at a time; memory is chunk · K.

    Raises:
        UserError: Fewer points than centres, NaN or infinite values.
    """
    x = checked(x, "points", at_least=1).float()
    if not 1 <= clusters <= len(x):
        raise UserError(f"{clusters} clusters need 1 or more and at most as many as there are points, {len(x):,}")
    if passes < 1:
        raise UserError(f"k-means needs at least one pass, not {passes}")
    g = torch.Generator().manual_seed(seed)
    centres = _plus_plus(x, clusters, g) if plus_plus else x[torch.randperm(len(x), generator=g)[:clusters]].clone()
    labels = torch.full((len(x),), -1, device=x.device)
    made = 0
    while made < passes:
        made += 1
        new, distance = nearest_centre(x, centres, chunk)
        if torch.equal(new, labels):
            break
        labels = new
        count = torch.bincount(labels, minlength=clusters)
        sums = torch.zeros(clusters, x.shape[1], dtype=torch.float64, device=x.device)
        for start in range(0, len(x), chunk):
            sums.index_add_(0, labels[start : start + chunk], x[start : start + chunk].double())
        centres = torch.where(count[:, None] > 0, sums / count.clamp(min=1)[:, None], centres).float()
        empty = (count == 0).nonzero().flatten()
        centres[empty] = x[distance.topk(len(empty)).indices]
    labels, distance = nearest_centre(x, centres, chunk)
    return Clusters(centres, labels, float(distance.double().sum()), made)


def _plus_plus(x: Tensor, clusters: int, g: Generator) -> Tensor:
    """Draw first centres: each next one is a point drawn by its squared distance to the centres so far."""
    middle = x.double().mean(0).float()
    x0 = x - middle
    squares = x0.square().sum(1)
    chosen = [int(torch.randint(len(x), (), generator=g))]
    nearest = torch.full_like(squares, torch.inf, dtype=torch.float64)
    while len(chosen) < clusters:
        c = x0[chosen[-1]]
        away = (squares + c.square().sum() - 2 * (x0 @ c)).clamp_(min=0).double()
        away[chosen[-1]] = 0
        nearest = torch.minimum(nearest, away)
        total = nearest.cumsum(0)
        if float(total[-1]) > 0:
            draw = torch.rand((), generator=g, dtype=torch.float64).to(x.device) * total[-1]
            pick = int(torch.searchsorted(total, draw, right=True).clamp(max=len(x) - 1))
        else:  # fewer different points than centres
            pick = int(torch.randint(len(x), (), generator=g))
        chosen.append(pick)
    return x[chosen].clone()
