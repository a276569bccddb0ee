"""Number of statistically different bins (NDB): which regions of the data does a model visit too often or too rarely?

Bins are the K cells of k-means on real data. In each, the shares of real and fake examples are compared by the two-proportion z test
(Richardson and Weiss, arXiv:1805.12462):

    z = (p̂₁ − p̂₂) / √( p̂ (1 − p̂) (1/n₁ + 1/n₂) ),        p̂ the pooled share; bins with |z| above the α quantile are counted.

About α K bins differ by chance; what two halves of the real data give is measured beside it. JSD is the Jensen-Shannon divergence of the
two histograms, in nats.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.kmeans import kmeans
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="ndb",
    line="share of bins that samples fill too often or too rarely, beside halves of the real images; JSD",
    question="variety",
    gives=(Value("NDB/K", better="lower"),),
    protocol=(("bins", "bins"),),
)


def different_bins(first: Tensor, second: Tensor, *, alpha: float = 0.05) -> dict[str, Any]:
    """Compare two histograms bin by bin.

    Args:
        first: Counts [K].
        second: Counts [K].
        alpha: Significance level of each bin's two-sided test, between 0 and 1.

    Returns:
        `ndb`, bins that differ; `z`, float64 [K], positive where `first` has more (0 where neither or both have everything);
        `jsd` in nats.

    Raises:
        UserError: Histograms that do not match, negative or empty ones, or α out of range.
    """
    a, b = (torch.as_tensor(h).double().cpu() for h in (first, second))
    if a.shape != b.shape or a.ndim != 1 or bool((a < 0).any() | (b < 0).any()) or not a.sum() > 0 or not b.sum() > 0:
        raise UserError(
            f"two histograms of counts over the same bins are needed, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not 0 < alpha < 1:
        raise UserError(f"alpha must be between 0 and 1, not {alpha}")
    n, m = a.sum(), b.sum()
    p, q, pooled = a / n, b / m, (a + b) / (n + m)
    se = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    z = torch.where(se > 0, (p - q) / se.clamp(min=1e-300), 0.0)
    threshold = float(torch.special.ndtri(torch.tensor(1 - alpha / 2, dtype=torch.float64)))
    middle = (p + q) / 2
    jsd = (torch.special.xlogy(p, p) + torch.special.xlogy(q, q)) / 2 - torch.special.xlogy(middle, middle)
    return {"ndb": int((z.abs() > threshold).sum()), "z": z, "jsd": max(0.0, float(jsd.sum()))}


def ndb(
    fake: Tensor,
    real: Tensor,
    *,
    bins: int = 100,
    alpha: float = 0.05,
    halves: int = 10,
    seed: int = 0,
    passes: int = 50,
) -> dict[str, Any]:
    """Return NDB and JSD of features or pixels, beside what halves of the real data give.

    Args:
        fake: Features [N, D].
        real: Features [M, D]; the bins are made of them.
        bins: Number of bins K.
        alpha: Significance level of each bin.
        halves: How often the real data are cut into random halves, which are compared with each other.
        seed: Seed of the clustering and of the halves.
        passes: Most passes of k-means.

    Returns:
        `value` = NDB / K; `ndb`; `jsd`; `z` [K], positive where fakes are too many; `expected` = α K; `halves`, the mean NDB / K of real
        halves, and `halves_jsd`, their mean JSD (which is larger the fewer examples there are); `bins`, `n_fake`, `n_real`.

    Raises:
        UserError: Fewer examples than bins, shapes that do not fit, NaN or infinite values.
    """
    fake, real = checked_pair(fake, real)
    if not 2 <= bins <= len(real) or halves < 1:
        raise UserError(f"2 to {len(real)} bins and at least one pair of halves, not {bins} and {halves}")
    clusters = kmeans(real, bins, seed=seed, passes=passes)
    counts = [torch.bincount(labels, minlength=bins) for labels in (clusters.assign(fake), clusters.labels)]
    found = different_bins(*counts, alpha=alpha)
    g = torch.Generator().manual_seed(seed)
    floors = []
    for _ in range(halves):
        labels = clusters.labels.cpu()[torch.randperm(len(real), generator=g)].tensor_split(2)
        floors.append(different_bins(*(torch.bincount(h, minlength=bins) for h in labels), alpha=alpha))
    return {
        "value": found["ndb"] / bins,
        **found,
        "expected": alpha * bins,
        "halves": sum(f["ndb"] for f in floors) / halves / bins,
        "halves_jsd": sum(f["jsd"] for f in floors) / halves,
        "bins": bins,
        "n_fake": len(fake),
        "n_real": len(real),
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return the share of bins that samples fill too often or too rarely."""
    start, net = time.time(), c.network
    bins = min(100, min(c.n_fake, len(c.real_features)) // 10)
    if bins < 2:
        raise UserError(
            f"NDB takes at least 20 samples and 20 real images, there are {c.n_fake} and {len(c.real_features)}"
        )
    got = ndb(c.fake_features, c.real_features, bins=bins, seed=c.seed)
    words = (
        f"share of {bins} k-means bins of {net.name} features whose share of samples differs from that of real images (z test, 5 %); "
        "floor: halves of the real images"
    )
    return [
        c.record(
            MEASURE.says("NDB/K"), float(got["value"]), words, start, floor=float(got["halves"]),
            bins=bins, jsd=float(got["jsd"]), jsd_of_halves=float(got["halves_jsd"]),
        )
    ]  # fmt: skip
