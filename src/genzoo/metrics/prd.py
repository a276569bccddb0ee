"""Precision and recall for distributions (PRD): the whole trade-off as a curve, with its two F-scores.

    precision(λ) = Σ min(λ p, q)        recall(λ) = Σ min(p, q / λ) = precision(λ) / λ            λ = tan of 0 … 90°

for the real distribution p and the model's q (Sajjadi et al., arXiv:1806.00035), over bins by k-means of both sets of features together.
F_8 weighs recall, F_⅛ precision; a curve is the mean over several clusterings.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.kmeans import kmeans
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="prd",
    line="precision and recall for distributions (Sajjadi): the two F-scores of the curve",
    question="variety",
    gives=(Value("PRD F8", better="higher"), Value("PRD F1/8", better="higher")),
)


def prd_curve(fake: Tensor, real: Tensor, *, angles: int = 1001, epsilon: float = 1e-10) -> tuple[Tensor, Tensor]:
    """Return precision and recall, float64 [angles] each, of two distributions over the same bins.

    Args:
        fake: Probabilities or counts of the model [K].
        real: Probabilities or counts of the data [K].
        angles: Number of slopes λ, spread evenly by angle, from `epsilon` to 90° − `epsilon` in radians.
        epsilon: Distance of the first and last angle from the axes, between 0 and 0.1.

    Raises:
        UserError: Bins that do not match, negative or empty histograms, fewer than three angles, or ε out of range.
    """
    q, p = (torch.as_tensor(h).double().cpu() for h in (fake, real))
    if p.ndim != 1 or p.shape != q.shape:
        raise UserError(f"two histograms over the same bins are needed, not {tuple(q.shape)} and {tuple(p.shape)}")
    if not all(h.isfinite().all() and (h >= 0).all() and h.sum() > 0 for h in (p, q)):
        raise UserError("histograms must be finite, without negative values, and not empty")
    if not 0 < epsilon < 0.1:
        raise UserError(f"epsilon must be between 0 and 0.1, not {epsilon}")
    if not isinstance(angles, int) or not 3 <= angles <= 1_000_000:
        raise UserError(f"the number of angles must be a whole number from 3 to 1,000,000, not {angles}")
    p, q = p / p.sum(), q / q.sum()
    slope = torch.linspace(epsilon, math.pi / 2 - epsilon, angles, dtype=torch.float64).tan()
    precision = torch.stack([torch.minimum(s * p, q).sum() for s in slope])
    return precision.clamp(max=1), (precision / slope).clamp(max=1)


def f_beta(precision: Tensor, recall: Tensor, beta: float) -> Tensor:
    """Return (1 + β²) · precision · recall / (β² · precision + recall), 0 where both are 0.

    Raises:
        UserError: β is not positive, or a value is outside [0, 1].
    """
    if not beta > 0:
        raise UserError(f"beta must be more than 0, not {beta}")
    if any(bool(((v < 0) | (v > 1) | v.isnan()).any()) for v in (precision, recall)):
        raise UserError("precision and recall must lie in [0, 1]")
    below = beta**2 * precision + recall
    return torch.where(below > 0, (1 + beta**2) * precision * recall / below.clamp(min=1e-300), 0.0)


def prd(
    fake: Tensor, real: Tensor, *, clusters: int = 20, runs: int = 10, angles: int = 1001, seed: int = 0
) -> dict[str, Any]:
    """Return the PRD curve of two sets of features: `f_8` (recall), `f_1_8` (precision), and the curve itself.

    Where the numbers of examples differ, a random part of the larger set is used: bins are made of both sets together, and the
    larger would have the most of them.

    Args:
        fake: Features [N, D].
        real: Features [M, D].
        clusters: Bins.
        runs: Clusterings to average over.
        angles: Points of the curve.
        seed: Seed of the clusterings; run i takes seed + i.

    Raises:
        UserError: Fewer examples than bins, NaN or infinite values, shapes that do not fit.
    """
    fake, real = checked_pair(fake, real)
    n = min(len(fake), len(real))
    if not 1 <= clusters <= n or runs < 1:
        raise UserError(
            f"{clusters} clusters and {runs} runs: at least one run, and at least as many examples as clusters on each side, there are "
            f"{len(fake)} and {len(real)}"
        )
    curves = []
    for run in range(runs):
        g = torch.Generator().manual_seed(seed + run)
        part = [x if len(x) == n else x[torch.randperm(len(x), generator=g)[:n]] for x in (fake, real)]
        labels = kmeans(torch.cat([x.float() for x in part]), clusters, seed=seed + run).labels
        curves.append(
            torch.stack(prd_curve(*(torch.bincount(h, minlength=clusters) for h in labels.split(n)), angles=angles))
        )
    precision, recall = torch.stack(curves).mean(0)
    return {
        "f_8": float(f_beta(precision, recall, 8).max()),
        "f_1_8": float(f_beta(precision, recall, 1 / 8).max()),
        "precision": precision,
        "recall": recall,
        "clusters": clusters,
        "runs": runs,
        "n": n,
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return the two F-scores of the PRD curve."""
    start, net = time.time(), c.network
    got = prd(c.fake_features, c.real_features, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: prd(x, c.real_features, seed=c.seed))
    return [
        c.record(
            MEASURE.says(name), float(got[key]), f"{text} of the PRD curve, mean of 10 clusterings into 20 bins of {net.name} features",
            start, floor=float(floor[key]) if floor else None, n_floor=count(c.floor_features),
        )
        for name, key, text in (
            ("PRD F8", "f_8", "F score that weighs recall 8 times"),
            ("PRD F1/8", "f_1_8", "F score that weighs precision 8 times"),
        )
    ]  # fmt: skip
