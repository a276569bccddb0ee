"""How far an invertible map stretches and squeezes: the condition of its Jacobian.

    log₁₀ (σ_max / σ_min) of ∂f / ∂x, the median over examples

Large values mean that float32 cannot invert the map where it squeezes (Behrmann et al., arXiv:2006.09347).
"""

from __future__ import annotations

import math
import time

from genzoo.core.capabilities import Inverts
from genzoo.core.errors import UserError
from genzoo.data import Batches, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="condition",
    line="condition of the Jacobian of an invertible map",
    question="codes",
    gives=(Value("condition of the Jacobian", unit="log10", better="lower"),),
    needs=("inverts",),
    offers="likelihood",
    images=False,
    features=False,
)
LARGEST = 1024
"""Dimensions. A Jacobian costs as much as one training example for each; beyond this, an evaluation would be mostly that."""


def take(c: Comparison) -> list[Record]:
    """Return log10 of the ratio of the Jacobian's extreme singular values."""
    start, system, test = time.time(), c.asked_system, c.real_set
    assert isinstance(system, Inverts)
    field = next(f for f in MEASURE.defined_on if f in test.fields)
    dims = math.prod(test.fields[field].shape[1:])
    if dims > LARGEST:
        raise UserError(
            f"{dims} dimensions; evaluate takes it up to {LARGEST}, system.jacobian_condition(images) further"
        )
    n = min(c.n_scored, 2 if field == "image" else 200, len(test))
    x = to_float(Batches(test, n, c.seed).in_order(0), system.device)[field]
    largest, smallest = system.jacobian_condition(x).T
    protocol = (
        f"median over {n} examples of {test.name} {test.split} of log10 of the ratio of the largest ({largest.max():.3g} at most) to the "
        f"smallest ({smallest.min():.3g} at least) singular value of the Jacobian, by autograd"
    )
    return [
        Record(
            **MEASURE.says("condition of the Jacobian"), value=float((largest / smallest).log10().median()), n=n,
            protocol=protocol, data=test.name, split=test.split, seed=c.seed, seconds=round(time.time() - start, 1),
        )
    ]  # fmt: skip
