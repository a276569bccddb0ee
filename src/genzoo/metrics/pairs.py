"""How near translations come to their partners, pixel by pixel: PSNR, SSIM and L1. They reward blur; take LPIPS beside them."""

from __future__ import annotations

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record
from genzoo.metrics.translations import fidelity

MEASURE = Measure(
    name="pairs",
    line="PSNR, SSIM and L1 of translations against their partners",
    question="target",
    gives=(
        Value("translation PSNR", unit="dB", better="higher"),
        Value("translation SSIM", better="higher"),
        Value("translation L1", unit="%", better="lower"),
    ),
    needs=("translates",),
    fields=("b",),
    images=False,
    features=False,
    also=("psnr", "ssim"),
    protocol=(("judged", "what is judged"),),
)


def take(c: Comparison) -> list[Record]:
    """Return PSNR, SSIM and L1 of translations against their partners."""
    return fidelity(c, MEASURE)
