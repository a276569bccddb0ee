"""Pixels drawn black or white by their grey level, as dynamically and statically binarized sets have them."""

from __future__ import annotations

import numpy as np


def bernoulli(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each pixel white (255) with probability level / 255, else black."""
    return (rng.integers(0, 255, image.shape, dtype=np.uint8) < image).astype(np.uint8) * np.uint8(255)
