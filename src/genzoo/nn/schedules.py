"""Learning rates over a run: `lr_scale` of systems, borrowed by name in their class bodies."""

from __future__ import annotations

import math


def half_cosine(self: object, progress: float) -> float:
    """Fall along half a cosine, from 1 to 0."""
    return 0.5 + 0.5 * math.cos(math.pi * progress)


def constant_then_cosine(self: object, progress: float) -> float:
    """Stay at 1 for the first half, then fall along half a cosine to 0."""
    return 1.0 if progress < 0.5 else half_cosine(self, 2 * progress - 1)


def constant_then_linear(self: object, progress: float) -> float:
    """Stay at 1 for the first half, then fall linearly to 0."""
    return min(1.0, 2.0 * (1.0 - progress))
