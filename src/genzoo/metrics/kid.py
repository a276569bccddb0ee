"""KID: the unbiased squared MMD with the polynomial kernel.

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y),     k(x, y) = (xᵀy / D + 1)³

(Gretton et al. 2012, lemma 6; Bińkowski et al., arXiv:1801.01401). Every pair is used once: a hundred subsets of a thousand cost as much as
ten thousand against ten thousand and are noisier. Unbiased estimates can be negative.
"""

from __future__ import annotations

import math
import time

from torch import Tensor

from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.kernels import kernel_sums, polynomial, samples_error
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="kid",
    line="kernel distance of features, unbiased over all pairs",
    question="distance",
    gives=(Value("KID", better="lower"),),
)


def kid(fake: Tensor, real: Tensor, *, chunk: int = 1000) -> dict[str, float]:
    """Return the KID of all pairs: `value`, and `se`, its standard error over draws of the fakes, with the real examples given.

    Args:
        fake: Features [N, D], N ≥ 3.
        real: Features [M, D], M ≥ 3.
        chunk: Side of a block of the kernel matrix; memory is chunk².

    Raises:
        UserError: Shapes that do not fit, fewer than three examples on a side, NaN or infinite values.
    """
    x, y = (f.float() for f in checked_pair(fake, real, at_least=3))
    sums = kernel_sums(x, y, polynomial, chunk)
    se = samples_error(x, sums, polynomial, chunk)
    return {"value": sums.unbiased(), "se": math.nan if se is None else se, "n_fake": len(x), "n_real": len(y)}


def take(c: Comparison) -> list[Record]:
    """Return KID, unbiased over all pairs."""
    start, net = time.time(), c.network
    got = kid(c.fake_features, c.real_features)
    floor = c.floor(c.floor_features, lambda x: kid(x, c.real_features)["value"])
    words = f"squared MMD with the kernel (x·y / {net.dims} + 1)³ on {net.name} features, all pairs, unbiased"
    return [
        c.record(
            MEASURE.says("KID"), got["value"], words, start, se=got["se"], floor=floor, n_floor=count(c.floor_features)
        )
    ]
