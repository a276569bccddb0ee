"""Pixels drawn black or white by their grey level, as dynamically and statically binarized sets have them."""

from __future__ import annotations

import numpy as np


def bernoulli(
    image: np.ndarray, rng: np.random.Generator, n: int | None = None, share: slice = slice(None)
) -> np.ndarray:
    """Draw each pixel white (255) with probability level / 255, else black.

    Args:
        image: Levels, uint8.
        rng: What draws.
        n: Examples of the whole batch, where `image` is a share of one: all of it is drawn for, so that shares together are the whole.
        share: Which.
    """
    drawn = rng.integers(0, 255, image.shape if n is None else (n, *image.shape[1:]), dtype=np.uint8)[share]
    return (drawn < image).astype(np.uint8) * np.uint8(255)
