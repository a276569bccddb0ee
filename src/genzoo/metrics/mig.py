"""Mutual information gap: does one latent dimension, and only one, know each factor of variation?

    MIG = mean over factors v of ( I(z₁; v) − I(z₂; v) ) / H(v)          (Chen et al., arXiv:1802.04942)

z₁ and z₂ are the two code dimensions that know most of v. Codes are discretized by histograms of 20 equal bins from their smallest to
their largest value, as is usual where no density of the codes is at hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.maths.inputs import checked


def discretize(codes: Tensor, bins: int = 20) -> Tensor:
    """Return the histogram bin of every value of [N, L], whole numbers 0 … bins − 1; a constant column is in one bin."""
    codes = codes.double()
    low, high = codes.min(0).values, codes.max(0).values
    width = torch.where(high > low, high - low, 1.0)
    return ((codes - low) / width * bins).long().clamp(max=bins - 1)


def mutual_information(a: Tensor, b: Tensor) -> float:
    """Return the mutual information in nats of two columns of whole numbers, from their joint histogram [N], [N].

    The plug-in estimate: too large by about (cells − rows − columns + 1) / 2N.
    """
    joint = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    joint.index_put_((a.cpu(), b.cpu()), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    joint /= len(a)
    outer = joint.sum(1, keepdim=True) * joint.sum(0)
    return max(
        0.0, float(torch.where(joint > 0, torch.special.xlogy(joint, joint / outer.clamp(min=1e-300)), 0.0).sum())
    )


def mig(codes: Tensor, factors: Tensor, *, bins: int = 20) -> dict[str, Any]:
    """Return the mutual information gap.

    Args:
        codes: Latent codes (means of q(z | x) as a rule) [N, L], L ≥ 2.
        factors: Values of the factors that made the examples, whole numbers of at least 0, [N, K].
        bins: Histogram bins of a code dimension.

    Returns:
        `value`, the mean gap, from 0 to 1; `gaps` [K]; `information`, I(z; v) in nats, [L, K]; `entropy` H(v) in nats, [K]; `best`, the
        dimension that knows most of each factor; `n`, `bins`.

    Raises:
        UserError: Numbers of examples that differ, a single code dimension, a factor that never changes, NaN or infinite codes.
    """
    codes = checked(codes, "codes").cpu()
    if factors.ndim != 2 or factors.dtype.is_floating_point or len(factors) != len(codes) or bool((factors < 0).any()):
        raise UserError(
            f"factors must be whole numbers of at least 0, [{len(codes)}, K], not {factors.dtype} {tuple(factors.shape)}"
        )
    if codes.shape[1] < 2 or bins < 2:
        raise UserError(f"a gap needs at least two code dimensions and two bins, not {codes.shape[1]} and {bins}")
    factors = factors.cpu().long()
    entropy = torch.tensor([mutual_information(v, v) for v in factors.unbind(1)], dtype=torch.float64)
    constant = [i for i, h in enumerate(entropy.tolist()) if h == 0]
    if constant:
        raise UserError(f"factors {constant} have one value only: there is nothing to know of them; leave them out")
    binned = discretize(codes, bins)
    information = torch.tensor(
        [[mutual_information(z, v) for v in factors.unbind(1)] for z in binned.unbind(1)], dtype=torch.float64
    )
    top = information.topk(2, dim=0)
    gaps = (top.values[0] - top.values[1]) / entropy
    return {
        "value": float(gaps.mean()), "gaps": gaps, "information": information, "entropy": entropy,
        "best": top.indices[0].tolist(), "n": len(codes), "bins": bins,
    }  # fmt: skip
