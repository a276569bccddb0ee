"""Pairs from plain images: side A is computed from side B when a batch is made, and nothing of it is stored."""

from __future__ import annotations

from typing import Any

import numpy as np

GRAY = np.array([0.299, 0.587, 0.114])
"""ITU-R 601 luma."""
LOW = 4
"""By how much `low` reduces the resolution."""
AROUND = 7
"""Side of the window whose mean decides a label."""


class Derived:
    """An array of images computed from another one as it is read, uint8 [N, C', H, W].

    * gray: ITU-R 601 luma;
    * edges: dark lines on white: 255 minus the length of Sobel's gradient of the luma, in its own units of 1/4 of the largest;
    * masked: the middle, half the height and half the width, is gray 128;
    * low: the mean over blocks of 4 x 4 pixels, shown at the old size;
    * labels: a map of eight classes, shown as the corners of the colour cube: every channel black or white by the mean over 7 x 7 pixels
      (of gray images two classes).

    Args:
        images: uint8 [N, C, H, W].
        how: gray, edges, masked, low or labels.
    """

    def __init__(self, images: np.ndarray, how: str) -> None:
        self.images, self.how = images, how
        self.dtype, self.ndim = np.dtype(np.uint8), 4

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array that it stands for."""
        n, c, h, w = self.images.shape
        if self.how == "labels":
            return n, 3 if c >= 3 else 1, h, w
        return n, 1 if self.how in ("gray", "edges") else c, h, w

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Compute some; an index as NumPy takes it along the first axis."""
        chosen = np.asarray(self.images[index])
        one = chosen.ndim == 3
        made = derived(chosen[None] if one else chosen, self.how)
        return made[0] if one else made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Derive all images at once."""
        return np.asarray(self[:], dtype=dtype)


def derived(images: np.ndarray, how: str) -> np.ndarray:
    """Return side A of images, uint8 [N, C, H, W] to uint8 [N, 1 or C, H, W]."""
    if how == "masked":
        out = images.copy()
        h, w = images.shape[2:]
        out[:, :, h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2] = 128
        return out
    if how == "low":
        return _low(images)
    if how == "labels":
        return _labels(images)
    luma = _luma(images)
    if how == "gray":
        gray: np.ndarray = np.rint(luma).astype(np.uint8)[:, None]
        return gray
    padded = np.pad(luma, ((0, 0), (1, 1), (1, 1)), mode="edge")
    up, down, left, right = padded[:, :-2], padded[:, 2:], padded[:, :, :-2], padded[:, :, 2:]
    across = right[:, :-2] + 2 * right[:, 1:-1] + right[:, 2:] - left[:, :-2] - 2 * left[:, 1:-1] - left[:, 2:]
    along = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:] - up[:, :, :-2] - 2 * up[:, :, 1:-1] - up[:, :, 2:]
    length = np.hypot(across, along)  # of an edge from black to white: 4 · 255
    edges: np.ndarray = (255 - np.rint(length).clip(0, 255)).astype(np.uint8)[:, None]
    return edges


def _luma(images: np.ndarray) -> np.ndarray:
    """Compute the brightness, float64 [N, H, W]; transparency does not count."""
    if images.shape[1] < 3:
        return images[:, 0].astype(np.float64)
    return np.tensordot(images[:, :3].astype(np.float64), GRAY, (1, 0))


def _low(images: np.ndarray) -> np.ndarray:
    n, c, h, w = images.shape
    rows, columns = -(-h // LOW), -(-w // LOW)
    padded = np.pad(images, ((0, 0), (0, 0), (0, rows * LOW - h), (0, columns * LOW - w)), mode="edge")
    means = padded.reshape(n, c, rows, LOW, columns, LOW).mean((3, 5))
    low: np.ndarray = np.rint(means).astype(np.uint8).repeat(LOW, 2).repeat(LOW, 3)[:, :, :h, :w]
    return low


def _labels(images: np.ndarray) -> np.ndarray:
    """Make maps of two labels: 255 where the mean over the window around a pixel is bright, else 0; running totals serve any window."""
    r = AROUND // 2
    padded = np.pad(
        images[:, : 3 if images.shape[1] >= 3 else 1].astype(np.int64), ((0, 0), (0, 0), (r, r), (r, r)), mode="edge"
    )
    total = np.pad(padded.cumsum(2).cumsum(3), ((0, 0), (0, 0), (1, 0), (1, 0)))
    n = AROUND
    sums = total[:, :, n:, n:] - total[:, :, :-n, n:] - total[:, :, n:, :-n] + total[:, :, :-n, :-n]
    return np.where(sums > 127.5 * n * n, 255, 0).astype(np.uint8)
