"""A figure of a paper: many images of a model in rows, and what they show."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Figure:
    """A picture of many images, as a paper shows it.

    Args:
        images: [n, C, H, W] in [-1, 1], row by row.
        columns: Images in a row.
        words: What it shows.
        gap: Pixels between images.
    """

    images: Tensor
    columns: int
    words: str
    gap: int = 2
