"""Planes of floats made much smaller, by matrix products: the same numbers as Pillow's bicubic filter, in half of its time.

A slice of 512x512 brought to 64x64 costs Pillow as much as pydicom takes to read it. Both directions of the filter are matrices that are nearly
all zero, with the others beside the diagonal; so a few neighbouring outputs at a time are one small dense product. Sums are taken in double
precision and kept in single precision between the directions, across first and down then, as Pillow has it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

WORTH = 3
"""From this ratio of the sides on products are the faster way; below it most of a dense product is zeros."""
TOGETHER = 8
"""Outputs of a product."""


class Block(NamedTuple):
    """What some neighbouring outputs are made of: inputs `start` to `stop`, with weights float64 [stop - start, outputs]."""

    start: int
    stop: int
    weights: np.ndarray


def cubic(x: np.ndarray) -> np.ndarray:
    """Weigh distances by the cubic of Keys (1981, eq. 4 with a = -1/2)."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=64)
def blocks(low: float, high: float, size: int, outputs: int) -> list[Block]:
    """Make the matrices of one direction.

    Args:
        low: Where the part begins that is looked at.
        high: Where it ends; at most `size`.
        size: Inputs.
        outputs: How many inputs become; fewer than high - low.
    """
    low, high = float(np.float32(low)), float(np.float32(high))  # as Pillow keeps them
    scale = (high - low) / outputs
    found = []
    for at in range(0, outputs, TOGETHER):
        centres = low + (np.arange(at, min(at + TOGETHER, outputs)) + 0.5) * scale
        starts = np.maximum((centres - 2 * scale + 0.5).astype(int), 0)
        stops = np.minimum((centres + 2 * scale + 0.5).astype(int), size)
        places = np.arange(starts[0], stops[-1])[:, None]
        weights = cubic((places - centres + 0.5) / scale)
        weights[(places < starts) | (places >= stops)] = 0
        found.append(Block(int(starts[0]), int(stops[-1]), weights / weights.sum(0)))
    return found


def worth(box: tuple[float, float, float, float], target: tuple[int, int]) -> bool:
    """Return True where products are the faster way to the same numbers: both sides shrink much, and the part is not taller than wide.

    (Of tall images Pillow takes some down first and some across first, which rounds differently.)
    """
    sides = box[2] - box[0], box[3] - box[1]
    return sides[0] >= sides[1] and all(s >= WORTH * t for s, t in zip(sides, target, strict=True))


def shrunk(values: np.ndarray, box: tuple[float, float, float, float], target: tuple[int, int]) -> np.ndarray:
    """Scale a part of a plane down, bicubic with antialiasing.

    Args:
        values: float32 [H, W].
        box: Left, upper, right and lower edge of the part.
        target: Width and height of the result, each less than the part's.

    Returns:
        float32 [height, width].
    """
    (height, width), (left, upper, right, lower) = values.shape, box
    down = blocks(upper, lower, height, target[1])
    first = down[0].start
    wide = values[first : down[-1].stop].astype(np.float64)
    narrow = np.empty((len(wide), target[0]))
    at = 0
    for start, stop, weights in blocks(left, right, width, target[0]):
        np.matmul(wide[:, start:stop], weights, out=narrow[:, at : (at := at + weights.shape[1])])
    narrow = narrow.astype(np.float32).astype(np.float64)
    return np.concatenate([w.T @ narrow[a - first : b - first] for a, b, w in down]).astype(np.float32)
