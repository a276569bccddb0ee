"""How near translations come to their partners as people see it: LPIPS (Zhang et al., arXiv:1801.03924) with AlexNet."""

from __future__ import annotations

import time

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record
from genzoo.metrics.translations import record

MEASURE = Measure(
    name="lpips",
    line="LPIPS of translations against their partners, with AlexNet",
    question="target",
    gives=(Value("translation LPIPS", better="lower"),),
    needs=("translates",),
    fields=("b",),
    images=False,
    features=False,
    protocol=(("judged", "what is judged"),),
)


def take(c: Comparison) -> list[Record]:
    """Return LPIPS of translations against their partners."""
    return [record(c, MEASURE, "LPIPS", time.time())]
