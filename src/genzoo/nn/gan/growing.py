"""How far a progressively grown net is (arXiv:1710.10196): a level and a fade as pure functions of a run's progress."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def growth(progress: float, levels: int, share: float) -> tuple[int, float]:
    """Return the level (doublings so far) and the weight of its images, from 0 to 1, at `progress` of the run.

    The first `share` of the run is cut into 2 · levels equal parts: train at a level, fade in the next, and so on; what is left is
    trained at the last level. A pure function, so that a resumed run grows like one that never stopped.

    >>> [growth(p, 2, 0.8) for p in (0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.8, 0.99)]
    [(0, 1.0), (0, 1.0), (1, 0.25), (1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0), (2, 1.0)]
    """
    if levels == 0 or progress >= share:
        return levels, 1.0
    at = progress / share * 2 * levels
    part = int(at)
    return ((part + 1) // 2, round(at - part, 12)) if part % 2 else (part // 2, 1.0)


def enlarge(x: Tensor, factor: int = 2) -> Tensor:
    """Nearest-neighbour enlargement."""
    return F.interpolate(x, scale_factor=factor) if factor > 1 else x


def real_at(x: Tensor, level: int, fade: float, levels: int) -> Tensor:
    """Return real images as `level` of `levels` sees them: averaged down, and faded like generated ones."""
    x = F.avg_pool2d(x, 2 ** (levels - level))
    return x if fade == 1 else enlarge(F.avg_pool2d(x, 2)).lerp(x, fade)
