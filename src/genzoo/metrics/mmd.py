"""The squared MMD of features with a Gaussian kernel, whose width is the median distance of real examples.

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y),     k(x, y) = exp(−|x − y|² / 2σ²)            (Gretton et al. 2012, lemma 6)

It is CMMD's statistic (Jayasumana et al., arXiv:2401.09603) on whatever network suits the data: published CMMD values are of CLIP ViT-L/14
embeddings at σ = 10, and compare with nothing here.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import centred_pair, checked_pair
from genzoo.metrics.maths.kernels import gaussian, kernel_sums, samples_error
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="mmd",
    line="squared MMD of features with a Gaussian kernel of median width, unbiased; not CMMD, whose network is CLIP",
    question="distance",
    gives=(Value("MMD (Gaussian kernel)", better="lower"),),
    default=False,
    also=("rbf-mmd",),
    known=(
        Known(
            "cmmd",
            note="CMMD looks through CLIP, which genzoo does not have; this is the same kernel on the features that the record names",
        ),
    ),
    protocol=(("sigma", "width of the kernel"),),
)
MEDIAN_OF = 1000
"""Real examples that the width is the median distance of."""


def rbf_mmd(fake: Tensor, real: Tensor, *, sigma: float, chunk: int = 1000) -> dict[str, float]:
    """Return the squared MMD under a Gaussian kernel of width σ: unbiased `value` with its `se` over draws of the fakes, and `biased`.

    Args:
        fake: Features [N, D], N ≥ 3.
        real: Features [M, D], M ≥ 3.
        sigma: Width of the kernel, in the units of the features.
        chunk: Side of a block.

    Raises:
        UserError: σ is not positive, or what `kid` refuses.
    """
    if not sigma > 0:
        raise UserError(f"the kernel's width must be more than 0, not {sigma}")
    x, y = centred_pair(*checked_pair(fake, real, at_least=3))
    kernel = gaussian(sigma)
    sums = kernel_sums(x, y, kernel, chunk)
    se = samples_error(x, sums, kernel, chunk)
    return {
        "value": sums.unbiased(), "se": math.nan if se is None else se, "biased": sums.biased(), "sigma": sigma,
        "n_fake": len(x), "n_real": len(y),
    }  # fmt: skip


def median_distance(features: Tensor) -> float:
    """Return the median distance between different rows [N, D], the first `MEDIAN_OF` of them, to four digits.

    Raises:
        UserError: At least half of the pairs are equal: there is no width.
    """
    sigma = float(torch.nn.functional.pdist(features[:MEDIAN_OF].double()).median())
    if not sigma > 0:
        raise UserError(
            "at least half of the pairs of real examples have equal features, so that a kernel has no width"
        )
    return float(f"{sigma:.4g}")


def take(c: Comparison) -> list[Record]:
    """Return the squared MMD, unbiased over all pairs."""
    start, net = time.time(), c.network
    sigma = median_distance(c.real_features)
    got = rbf_mmd(c.fake_features, c.real_features, sigma=sigma)
    floor = c.floor(c.floor_features, lambda x: rbf_mmd(x, c.real_features, sigma=sigma)["value"])
    words = (
        f"squared MMD with the kernel exp(−|x − y|² / 2σ²) on {net.name} features, σ = {sigma:g}, the median distance of real ones; all pairs, "
        "unbiased"
    )
    return [
        c.record(
            MEASURE.says("MMD (Gaussian kernel)"), got["value"], words, start, se=got["se"], floor=floor,
            n_floor=count(c.floor_features), sigma=sigma,
        )
    ]  # fmt: skip
