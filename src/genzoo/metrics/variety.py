"""Total variance of the samples' features over that of real images: a cheap sign of collapse.

    tr Σ of samples / tr Σ of real images

Well below 1 samples have lost their variety. It says nothing of what they show: noise of the right size has 1 as well.
"""

from __future__ import annotations

import time

from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="variety",
    line="variance of features over that of real images; well below 1 is collapse",
    question="variety",
    gives=(Value("variety", warns=("collapse", "sameness")),),
    watched=True,
)


def total_variance(features: Tensor) -> float:
    """Return the trace of the unbiased covariance of features [N, D]."""
    return float(features.double().var(0).sum())


def take(c: Comparison) -> list[Record]:
    """Return the total variance of the samples' features over that of real images."""
    start, net = time.time(), c.network
    real = total_variance(c.real_features)
    if not real > 0:
        raise UserError(
            f"all {len(c.real_features)} real images have the same features; there is no variety to compare with"
        )
    value = total_variance(c.fake_features) / real
    floor = None if c.floor_features is None else total_variance(c.floor_features) / real
    words = f"total variance of {net.name} features of samples over that of real images; well below 1 is collapse"
    return [c.record(MEASURE.says("variety"), value, words, start, floor=floor, n_floor=count(c.floor_features))]
