"""Standard errors of measures: the spread of a value over independent draws of the samples, with the real images given.

Two sets of samples are compared against the same real images, so that chance is in the samples alone. Where a value is a mean over independent
examples its error is the deviation over √n. Other values take one of these:

* of pairs (KID, MS-SSIM): pairs that share an example are not independent. With ζ₁ and ζ₂ the covariance of two pairs that share one example and
  the variance of a pair, a mean over P pairs has the variance (D₁ ζ₁ + D₂ ζ₂) / P², where D₁ and D₂ count the ordered pairs of pairs that share one
  and both (Hoeffding 1948; for random pairs Blom 1976). Both are estimated without bias: products of pairs without a common example give the
  squared mean.
* smooth ones (Fréchet): a value of both halves of the samples. With V₁ and V₂ the variances of the value's linear and quadratic part,
  half the difference of two halves has the variance V₁ + 2 V₂, and their mean varies over random halves by V₂. Near equality, where the linear
  part vanishes, a jackknife would be √2 too large.
* of neighbourhoods (recall, coverage): no jackknife and no bootstrap is right, because the value hangs on examples that are alone in a
  neighbourhood, and copies have neighbours at distance 0. The value of a part of the samples against an equal part of the real images
  is the same functional at a lower number, whose variance is that many times larger (Politis and Romano 1994); parts without
  a common sample are independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from genzoo.metrics.held import let_go

HALVINGS = 24
"""Random halves that the error of a smooth value is the mean of."""
FREEDOM, FEWEST, PARTS = 32, 500, 8
"""Of parts: how many independent differences an error is the mean of, examples in a part where there are enough, and most parts."""


def mean_error(values: Tensor) -> float | None:
    """Return the standard error of the mean of independent values [N]; None for fewer than two."""
    return float(values.double().std() / math.sqrt(len(values))) if len(values) > 1 else None


def group_error(values: Tensor, groups: list[object]) -> float | None:
    """Return the standard error of the mean of values [N] that are independent between groups only; None for fewer than two groups.

    Args:
        values: [N].
        groups: Of each value what it shares with others: a caption, a photograph.
    """
    place = {g: k for k, g in enumerate(dict.fromkeys(groups))}
    if len(place) < 2:
        return None
    index = torch.tensor([place[g] for g in groups])
    centred = values.double().cpu() - values.double().mean().cpu()
    sums = torch.zeros(len(place), dtype=torch.float64).index_add_(0, index, centred)
    return float((sums.square().sum() * len(place) / (len(place) - 1)).sqrt() / len(values))


def pair_error(values: Tensor, pairs: Tensor, n: int) -> float | None:
    """Return the standard error of the mean of a symmetric function of pairs of independent examples.

    Args:
        values: Of each pair, [P].
        pairs: Indices of the two examples, [P, 2]; pairs may occur again.
        n: Number of examples.

    Returns:
        None where there are no two pairs without a common example.
    """
    v = values.double().cpu()
    pairs = pairs.cpu().sort(dim=1).values
    sums, degree = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for side in pairs.unbind(1):
        sums.index_add_(0, side, v)
        degree.index_add_(0, side, torch.ones(len(v), dtype=torch.float64))
    key, same = (pairs[:, 0] * n + pairs[:, 1]).unique(return_inverse=True)
    times = torch.bincount(same, minlength=len(key)).double()
    together = torch.zeros(len(key), dtype=torch.float64).index_add_(0, same, v)
    return variance_of_pairs(
        float(v.sum()), float(sums.square().sum()), float(together.square().sum()),
        (len(v), float(degree.square().sum()), float(times.square().sum())),
    )  # fmt: skip


def variance_of_pairs(
    total: float, by_example: float, by_pair: float, counts: tuple[float, float, float], *, root: bool = True
) -> float | None:
    """Return the standard error (or variance) of a mean over pairs from sums of squares.

    Args:
        total: Σ v over pairs.
        by_example: Σ over examples of the squared sum of their pairs.
        by_pair: Σ over different pairs of the squared sum of their occurrences.
        counts: The same three where every v is 1, the first not squared.
        root: Whether the standard error is wanted.

    Returns:
        None where no two pairs are without a common example.
    """
    p, examples, both = counts
    one, none = examples - 2 * both, p * p - examples + both
    if none <= 0:
        return None
    square = (total * total - by_example + by_pair) / none  # the squared mean, without bias
    covariance = max((by_example - 2 * by_pair) / one - square, 0.0) if one > 0 else 0.0
    variance = (both * max(by_pair / both - square, 0.0) + one * covariance) / (p * p)
    return math.sqrt(variance) if root else variance


def smooth_error(
    statistic: Callable[[Tensor], float], samples: Tensor, *, halvings: int = HALVINGS, seed: int = 0
) -> float:
    """Return the standard error of a smooth statistic of independent samples.

    Args:
        statistic: From samples [n, ...] to its value.
        samples: [N, ...], N ≥ 4.
        halvings: Random halves.
        seed: Seed of the halves.
    """
    g = torch.Generator().manual_seed(seed)

    def half(rows: Tensor) -> float:
        chosen = samples[rows]
        let_go(samples)
        return statistic(chosen)

    halves = torch.tensor(
        [[half(rows) for rows in _parts(len(samples), 2, g)] for _ in range(halvings)], dtype=torch.float64
    )
    spread = float((halves[:, 0] - halves[:, 1]).square().mean() / 4)
    quadratic = float(halves.mean(1).var())
    return math.sqrt(max(spread - quadratic, spread / 2))


def local_errors(
    statistic: Callable[[Tensor, Tensor], Mapping[str, float]],
    fake: Tensor,
    real: Tensor,
    names: tuple[str, ...],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Return the standard errors of statistics of neighbourhoods.

    Args:
        statistic: From samples and real examples to values by name.
        fake: Features [N, D].
        real: Features [M, D].
        names: The values that are wanted.
        seed: Seed of the parts.
    """
    g = torch.Generator().manual_seed(seed)
    parts = max(2, min(PARTS, min(len(fake), len(real)) // FEWEST))
    rounds = -(-FREEDOM // (parts - 1))
    variance = dict.fromkeys(names, 0.0)
    for _ in range(rounds):
        some = real[_parts(len(real), parts, g)[0].to(real.device)]
        found = [statistic(fake[rows.to(fake.device)], some) for rows in _parts(len(fake), parts, g)]
        for name in names:
            values = torch.tensor([f[name] for f in found], dtype=torch.float64)
            variance[name] += float(values.var()) / parts / rounds
    return {name: math.sqrt(v) for name, v in variance.items()}


def _parts(n: int, count: int, g: Generator) -> tuple[Tensor, ...]:
    """Split rows at random into so many parts."""
    return torch.randperm(n, generator=g).tensor_split(count)
