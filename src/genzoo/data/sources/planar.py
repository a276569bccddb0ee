"""Two-dimensional toy sets by their exact definitions, drawn with numpy from a seed, float32 [N, 2].

* moons: t uniform in [0, pi]; the upper half circle (cos t, sin t) or the lower one (1 - cos t, 1/2 - sin t), each with
  probability 1/2; then (x, y) -> 2 (x - 1/2, y - 1/4), plus Gaussian noise of standard deviation 0.1 in each coordinate.
* ring: one of 8 centres (cos 2 pi k / 8, sin 2 pi k / 8), plus noise of standard deviation 0.01.
* grid: one of 25 centres (x, y) with x and y in {-4, -2, 0, 2, 4}, plus noise of standard deviation 0.05.
* spiral: t = 3 pi sqrt(u) with u uniform in [0, 1]; one of the two arms +-(t cos t, t sin t) / 3, plus noise of standard
  deviation 0.1.
"""

from __future__ import annotations

import zlib

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.sources.contents import Contents

SIZE = 10_000
"""Points in a split where no `limit` is set."""


def draw(name: str, n: int, *, seed: int, split: str) -> np.ndarray:
    """Draw `n` points of a named set; the training and the test part are drawn independently."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{name} {split}".encode())])
    centre: np.ndarray
    if name == "moons":
        t, lower = rng.uniform(0, np.pi, n), rng.integers(0, 2, n)
        x = np.where(lower, 1 - np.cos(t), np.cos(t))
        y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
        centre, spread = 2 * np.stack([x - 0.5, y - 0.25], 1), 0.1
    elif name == "ring":
        angle = 2 * np.pi * rng.integers(0, 8, n) / 8
        centre, spread = np.stack([np.cos(angle), np.sin(angle)], 1), 0.01
    elif name == "grid":
        centre, spread = 2.0 * rng.integers(-2, 3, (n, 2)), 0.05
    else:
        assert name == "spiral"
        t, sign = 3 * np.pi * np.sqrt(rng.uniform(0, 1, n)), rng.choice([-1.0, 1.0], n)
        centre, spread = (sign * t)[:, None] * np.stack([np.cos(t), np.sin(t)], 1) / 3, 0.1
    return (centre + spread * rng.standard_normal((n, 2))).astype(np.float32)


class Planar:
    """A set of points in the plane as a source.

    Args:
        name: Which.
        seed: Seed that its points are drawn from.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed

    def identity(self) -> list[object]:
        """Return the set's name and its seed, which all its points follow from."""
        return [self.name, self.seed]

    def contents(self, structure: str) -> Contents:
        """Refuse: the set has no images, only points."""
        raise UserError(f"{self.name} is a set of points in the plane, not {structure} data")

    def close(self) -> None:
        """Do nothing: no file is held open."""
