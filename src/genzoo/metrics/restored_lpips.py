"""How near restored images come to the images as people see it: LPIPS (Zhang et al., arXiv:1801.03924) with AlexNet."""

from __future__ import annotations

import time

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record
from genzoo.metrics.translations import record

MEASURE = Measure(
    name="restored-lpips",
    line="LPIPS of restored images against the images, with AlexNet",
    question="target",
    gives=(Value("translation LPIPS", better="lower"),),
    also=("lpips",),
    needs=("translates", "restores"),
    fields=("image",),
    images=False,
    features=False,
    protocol=(("judged", "what is judged"),),
)


def take(c: Comparison) -> list[Record]:
    """Return LPIPS of what a system restores of images that it has degraded itself."""
    return [record(c, MEASURE, "LPIPS", time.time())]
