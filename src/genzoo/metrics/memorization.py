"""AuthPct: how many samples are not suspiciously near to a training example (Alaa et al., arXiv:2102.08921).

A fake is authentic where its nearest training example is no nearer to it than that example is to its own nearest other training example.
"""

from __future__ import annotations

import math
import time

from torch import Tensor

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.neighbours import nearest_rows
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="memorization",
    line="AuthPct: per cent of samples that are not suspiciously near to a training image",
    question="copies",
    gives=(Value("AuthPct", unit="%", warns=("copies",)),),
    features=False,
    train=True,
    also=("memorisation",),
    protocol=(("n_train", "number of training images"), ("points", "space of distances")),
)


def authenticity(fake: Tensor, train: Tensor, *, chunk: int = 2000) -> dict[str, float]:
    """Return AuthPct: the per cent of fakes that are not suspiciously near to a training example: `value`, binomial `se`, `n_fake`.

    A fake is authentic when its distance to the nearest training example is at least that example's distance to its own nearest other
    training example. Fresh data are near 50 % or above; copies are at 0. Compare with the number of held-out data.

    Args:
        fake: Features [N, D].
        train: Features [T, D], T ≥ 2.
        chunk: Side of a block of a distance matrix.

    Raises:
        UserError: Fewer than two training examples, shapes that do not fit, NaN or infinite values.
    """
    fake, train = checked_pair(fake, train, ("fake features", "training features"), at_least=1)
    own, _ = nearest_rows(train, train, leave_one_out=True, chunk=chunk)
    distance, where = nearest_rows(fake, train, chunk=chunk)
    authentic = (distance >= own[where]) & (distance > 0)  # a copy of a duplicated example is a copy
    share = float(authentic.double().mean())
    return {"value": 100 * share, "se": 100 * math.sqrt(share * (1 - share) / len(fake)), "n_fake": len(fake)}


def take(c: Comparison) -> list[Record]:
    """Return how many samples are not suspiciously near to a training image: AuthPct."""
    start = time.time()
    fake, train, test, points = c.train_points
    got = authenticity(fake, train)
    fresh = authenticity(test, train)["value"]
    words = (
        f"per cent of samples no nearer to a training image than that image is to another one, by {points} of {len(train):,} training images; "
        "floor: the real images in place of the samples"
    )
    return [
        c.record(
            MEASURE.says("AuthPct"), got["value"], words, start, features=not points.startswith("pixels"), se=got["se"], floor=fresh,
            n_train=len(train), points=points,
        )
    ]  # fmt: skip
