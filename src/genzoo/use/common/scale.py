"""The size at which a picture meets a system, and whether what it shows is as large there as in what the system was trained on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.capabilities import Restores
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.files import Photo
from genzoo.use.common.images import trained_on
from genzoo.use.common.source import name_of

Side = Annotated[int, Field(ge=1, le=65536)]
Size = Side | tuple[Side, Side]
"""Of the shorter side in pixels, the proportions kept; or height and width."""
FAR = 2.0
"""How many times as large, or as small, as in training a picture is shown before it is said."""


def sides(size: Size, height: int, width: int) -> tuple[int, int]:
    """Return the height and width that a picture is brought to.

    >>> sides(64, 480, 640), sides((48, 64), 480, 640)
    ((64, 85), (48, 64))
    """
    if not isinstance(size, int):
        return size[0], size[1]
    short = min(height, width)
    return max(1, round(height * size / short)), max(1, round(width * size / short))


def at_size(photo: Photo, size: Size | None, *, numbers: bool = False) -> Photo:
    """Bring a photograph to a size, bicubic and without aliases; numbers of classes by the nearest. Transparency follows when it is written."""
    height, width, channels = photo.pixels.shape
    if size is None or (tall_wide := sides(size, height, width)) == (height, width):
        return photo
    dtype, to = photo.pixels.dtype, (tall_wide[1], tall_wide[0])
    how = Image.Resampling.NEAREST if numbers else Image.Resampling.BICUBIC
    bands = []
    for k in range(channels):
        band = np.ascontiguousarray(photo.pixels[..., k])
        if dtype != np.uint8:
            band = band.astype(np.float32)
        found = np.asarray(Image.fromarray(band).resize(to, how))
        if np.issubdtype(dtype, np.integer) and dtype != np.uint8:
            span = np.iinfo(dtype)
            found = np.rint(found.astype(np.float64)).clip(span.min, span.max)
        bands.append(found.astype(dtype))
    return replace(photo, pixels=np.stack(bands, 2))


def at_sides(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring images [N, C, H, W] in [-1, 1] to a height and width, bicubic and without aliases."""
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)


def trained_side(system: System) -> int | None:
    """Return the shorter side of the whole pictures that a system was trained on; None where it is not known, or means nothing to it.

    What restores detail from what is near to it meets pictures at any scale.
    """
    shape = system.hparams.get("shape", ())
    if len(shape) != 3 or (isinstance(system, Restores) and system.local):
        return None
    data = trained_on(system)
    if data.get("crop"):  # pieces of larger pictures
        size = data.get("size")
        return None if size is None else min((size, size) if isinstance(size, int) else size)
    return int(min(shape[1:]))


def teller(system: System) -> Callable[[Path, int, int], None]:
    """Return what says, once, that a picture of a height and width shows things much larger or smaller than those that were learned from."""
    side, said = trained_side(system), list[str]()

    def tell(path: Path, height: int, width: int) -> None:
        short = min(height, width)
        if side is None or said or 1 / FAR < short / side < FAR:
            return
        times = short / side
        how = f"{times:.3g} times as large" if times >= 1 else f"{1 / times:.3g} times as small"
        said.append(
            f"note: '{path}' is {width}x{height}, and {name_of(system)} was trained on pictures whose shorter side was {side}: what this one shows "
            f"is about {how} as in those; size={side} brings it to their scale"
        )
        print(said[0], file=sys.stderr, flush=True)

    return tell


def check_size(size: object) -> Size | None:
    """Check a size that Python code gave.

    Raises:
        UserError: It is neither one whole number nor two.
    """
    if size is None:
        return None
    given = size if isinstance(size, (tuple, list)) else (size,)
    if len(given) not in (1, 2) or not all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 65536 for n in given
    ):
        raise UserError(
            f"size={size} is not allowed; give the shorter side in pixels, such as size=64, or height and width: size=48,64"
        )
    return given[0] if len(given) == 1 else (given[0], given[1])
