"""How far a progressively grown net is (arXiv:1710.10196): a level and a fade as pure functions of a run's progress."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.nn.gan.dcgan import stages


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


def smallest_map(shape: tuple[int, int, int], system: str) -> tuple[int, tuple[int, int]]:
    """Return how often images (C, H, W) are halved until the smaller side is 4 to 7, and the height and width that they have then.

    Raises:
        UserError: A side is below 8 or above 1024, or cannot be halved so often.
    """
    _, h, w = shape
    fits = min(h, w) >= 8 and max(h, w) <= 1024
    levels = stages(h, w) if fits else 0
    unit = 2**levels
    if not fits or h % unit or w % unit:
        near = f"multiples of {unit}, such as {-(-h // unit) * unit}x{-(-w // unit) * unit}" if fits else "8 to 1024"
        raise UserError(
            f"shape {'x'.join(map(str, shape))} is not possible; {system} needs sides of {near}; give size="
        )
    return levels, (h // unit, w // unit)


def enlarge(x: Tensor, factor: int = 2) -> Tensor:
    """Enlarge by repeating the nearest pixel."""
    return F.interpolate(x, scale_factor=factor) if factor > 1 else x


def real_at(x: Tensor, level: int, fade: float, levels: int) -> Tensor:
    """Return real images as `level` of `levels` sees them: averaged down, and faded like generated ones."""
    x = F.avg_pool2d(x, 2 ** (levels - level))
    return x if fade == 1 else enlarge(F.avg_pool2d(x, 2)).lerp(x, fade)
