"""How alike different samples are: the mean MS-SSIM of random pairs (Odena et al., arXiv:1610.09585). The higher, the less variety."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.errors import pair_error
from genzoo.metrics.held import let_go
from genzoo.metrics.maths.similarity import ms_ssim
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="diversity",
    line="MS-SSIM between samples, beside real images; above it is less variety",
    question="variety",
    gives=(Value("MS-SSIM of pairs"),),
    features=False,
    also=("ms-ssim", "msssim"),
    protocol=(("scales", "scales"),),
)


VALUES = 2**19
"""Values of the images on one side of the pairs that are compared at once: it blurs five maps of them in float32."""


@torch.no_grad()
def ms_ssim_diversity(
    images: Tensor, *, data_range: float, pairs: int = 1000, scales: int = 5, window: int = 11, seed: int = 0
) -> dict[str, float]:
    """Return the mean MS-SSIM between different samples: the higher, the less variety (Odena et al., arXiv:1610.09585).

    Made for the samples of one class; compare with the same number for real images.

    Args:
        images: Samples [N, C, H, W], N ≥ 2.
        data_range: 255 for uint8, 1 for [0, 1].
        pairs: Random pairs; all of them where there are no more.
        scales: As in `ms_ssim`.
        window: As in `ms_ssim`.
        seed: Seed of the pairs.

    Returns:
        `value`; `se` over draws of the images (pairs that share one are not independent; NaN for fewer than four images); `pairs`, `n`, `scales`.
    """
    n = len(images)
    if n < 2 or pairs < 1:
        raise UserError(f"two images and one pair are needed at least, not {n} and {pairs}")
    if n * (n - 1) // 2 <= pairs:
        chosen = torch.tensor(list(itertools.combinations(range(n), 2)))
    else:
        g = torch.Generator().manual_seed(seed)
        first = torch.randint(n, (pairs,), generator=g)
        chosen = torch.stack([first, (first + torch.randint(1, n, (pairs,), generator=g)) % n], 1)
    each = []
    for part in chosen.split(max(1, min(256, VALUES // images[0].numel()))):
        i, j = part.unbind(1)
        each.append(ms_ssim(images[i], images[j], data_range=data_range, scales=scales, window=window))
        let_go(images)
    values = torch.cat(each)
    se = pair_error(values, chosen, n)
    return {
        "value": float(values.mean()),
        "se": math.nan if se is None else se,
        "pairs": len(values),
        "n": n,
        "scales": scales,
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return how alike different samples are."""
    start, side = time.time(), min(c.fake.shape[2:])
    scales = next((s for s in (5, 4, 3, 2, 1) if side >> (s - 1) >= 11), 0)
    if not scales:
        raise UserError(f"MS-SSIM takes images of at least 11 pixels, these have {side}")
    options: dict[str, Any] = {"data_range": 255, "scales": scales, "pairs": min(1000, c.n_fake * (c.n_fake - 1) // 2)}
    got = ms_ssim_diversity(c.fake, **options, seed=c.seed)
    same_form = c.real.shape[1:] == c.fake.shape[1:]
    floor = ms_ssim_diversity(c.real, **options, seed=c.seed)["value"] if same_form else None
    words = f"MS-SSIM ({scales} scales) between {got['pairs']:,} pairs of different samples; floor: of different real images; above it: less variety"
    return [
        c.record(
            MEASURE.says("MS-SSIM of pairs"), got["value"], words, start, features=False, se=got["se"], floor=floor, scales=scales
        )
    ]  # fmt: skip
