"""Numbers as colors: dark to light in even steps, so that they read without colors as well."""

from __future__ import annotations

import numpy as np

SCALE = ((0, 0, 4), (51, 10, 95), (120, 28, 109), (187, 55, 84), (237, 105, 37), (252, 180, 24), (252, 255, 164))
"""From nothing to the most."""


def heat(levels: np.ndarray) -> np.ndarray:
    """Draw numbers from 0 to 1, [...], in colors, uint8 [..., 3].

    >>> heat(np.array([0.0, 1.0])).tolist()
    [[0, 0, 4], [252, 255, 164]]
    """
    places = np.linspace(0, 1, len(SCALE))
    return np.stack([np.interp(levels, places, band) for band in zip(*SCALE, strict=True)], -1).round().astype(np.uint8)
