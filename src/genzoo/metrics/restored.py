"""How near restored images come to the images, pixel by pixel: PSNR, SSIM and L1; of enlarged ones on the luma, as the field does."""

from __future__ import annotations

from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record
from genzoo.metrics.translations import fidelity

MEASURE = Measure(
    name="restored",
    line="PSNR, SSIM and L1 of restored images against the images",
    question="target",
    gives=(
        Value("translation PSNR", unit="dB", better="higher"),
        Value("translation SSIM", better="higher"),
        Value("translation L1", unit="%", better="lower"),
    ),
    needs=("translates", "restores"),
    fields=("image",),
    images=False,
    features=False,
    also=("psnr", "ssim"),
    protocol=(("judged", "what is judged"),),
)


def take(c: Comparison) -> list[Record]:
    """Return PSNR, SSIM and L1 of what a system restores of images that it has degraded itself."""
    return fidelity(c, MEASURE)
