"""KID as its paper reports it: the mean and the deviation over random subsets of a thousand (Bińkowski et al., arXiv:1801.01401)."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.kid import kid
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.kernels import kernel_sums, polynomial
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="kid-subsets",
    line="kernel distance as its paper reports it: the mean over a hundred subsets of a thousand",
    question="distance",
    gives=(Value("KID of subsets", better="lower"),),
    default=False,
    known=(
        Known(
            "kid50k",
            n=50_000,
            n_real=50_000,
            split="train",
            extractor="inception",
            note="the mean over 100 subsets of 1,000 by Inception, of 50,000 samples and at most 50,000 training images, as NVIDIA's code has it "
            "(there mirrored as well, where the training was)",
        ),
        Known(
            "kid50k-full",
            n=50_000,
            n_real=-1,
            split="train",
            extractor="inception",
            note="the mean over 100 subsets of 1,000 by Inception, of 50,000 samples and all training images, as NVIDIA's code has it "
            "(there mirrored as well, where the training was)",
        ),
    ),
    protocol=(("subset", "size of the subsets"),),
)
SUBSETS, SIZE = 100, 1000
"""The paper's; with fewer examples a subset is a half of them."""


def kid_subsets(fake: Tensor, real: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return KID as its paper reports it: the mean and the standard deviation over random subsets.

    The deviation is that of one subset's value and not the error of the mean: subsets share examples, and the mean over ever more of them is the
    value of all pairs. So the mean's variance is that of all pairs plus the deviation² over the number of subsets, which is `se`².

    Args:
        fake: Features [N, D].
        real: Features [M, D].
        subsets: Number of subsets.
        size: Examples of each side in a subset, drawn without replacement.
        seed: Seed of the draws.

    Raises:
        UserError: Fewer examples than a subset takes, or what `kid` refuses.
    """
    x, y = (f.float() for f in checked_pair(fake, real, at_least=3))
    if size < 2 or subsets < 2 or size > min(len(x), len(y)):
        raise UserError(
            f"{subsets} subsets of {size} need two subsets and 2 to {min(len(x), len(y)):,} examples in each; "
            f"there are {len(x):,} and {len(y):,} examples"
        )
    g = torch.Generator().manual_seed(seed)
    values = torch.tensor(
        [
            kernel_sums(
                x[torch.randperm(len(x), generator=g)[:size]], y[torch.randperm(len(y), generator=g)[:size]], polynomial
            ).unbiased()
            for _ in range(subsets)
        ],
        dtype=torch.float64,
    )
    return {
        "value": float(values.mean()),
        "sd": float(values.std(correction=0)),
        "se": math.hypot(kid(x, y)["se"], float(values.std()) / math.sqrt(subsets)),
        "subsets": subsets,
        "size": size,
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return the mean over subsets; the deviation that papers print after ± is `sd` of the record."""
    start, net = time.time(), c.network
    size = min(SIZE, min(c.n_fake, len(c.real_features)) // 2)
    got = kid_subsets(c.fake_features, c.real_features, subsets=SUBSETS, size=size, seed=c.seed)
    floor = c.floor(
        c.floor_features, lambda x: kid_subsets(x, c.real_features, subsets=SUBSETS, size=size, seed=c.seed)["value"]
    )
    words = (
        f"mean over {SUBSETS} random subsets of {size:,} of the squared MMD with the kernel (x·y / {net.dims} + 1)³ on {net.name} features; "
        f"deviation of one subset {got['sd']:.2g}"
    )
    return [
        c.record(
            MEASURE.says("KID of subsets"), got["value"], words, start, se=got["se"], floor=floor, n_floor=count(c.floor_features),
            sd=got["sd"], subset=size,
        )
    ]  # fmt: skip
