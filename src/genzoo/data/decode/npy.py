"""NumPy's array files: what their headers promise, read before anything is allocated; Python objects in them are never loaded."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from genzoo.core.errors import UserError


def check_header(file: IO[Any], size: int, where: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array; refuses objects, and headers that promise more than the file has, before anything is allocated.

    Raises:
        UserError: The array is refused. What NumPy throws at damaged headers passes.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects, which could run code when loaded; save it as a plain array")
    need = dtype.itemsize
    for side in shape:
        need *= side
    if any(side < 0 for side in shape) or need > size:
        raise UserError(f"{where} is damaged: its header promises {need} bytes, the file has {size}")
    return shape, dtype


def channels_last(sides: tuple[int, ...]) -> bool:
    """Tell whether three sides of a picture are [H, W, C] and not [C, H, W]."""
    return sides[-1] <= 4 and not (sides[0] <= 4 < sides[1] and sides[-1] not in (1, 3, 4))
