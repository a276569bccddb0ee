"""Which of the numbers that pixels are stored as is black, and which is white: read off a whole set, never off one image.

| stored as | black and white |
|---|---|
| bool, one bit | 0 and 1 |
| whole numbers, in all images 0 and 1 only | 0 and 1: masks, and a note says so |
| uint8 | 0 and 255 |
| uint16, or 16 bits of a file | 0 and 65535 |
| other whole numbers | 0 and 255 where none is larger, else 0 and 65535, with a note; negative and larger ones are left out |
| floats of arrays | 0 and 1, or -1 and 1 where some are negative, with a note; others are left out |
| floats of image files | not known: left out |
| anything, with `gray_window=` | its ends |

Values that fill less than a tenth of that range are said as well. How many images have to be looked at depends on what is found: one
photograph with contrast is enough to know that a set is no set of masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Protocol

import numpy as np

Ends = tuple[float, float]
"""Black and white."""
WHOLE: dict[str, Ends] = {"bool": (0, 1), "uint8": (0, 255), "uint16": (0, 65535)}
"""The ends of types that state them; `whole` (other integers), `float` (arrays) and `reals` (floats of image files) state none."""
BITS_8, BITS_16, SIGNED = WHOLE["uint8"], WHOLE["uint16"], (-1.0, 1.0)
FEW = 0.1
"""Share of the range; values that fill less are worth a note."""
MOST_HOLES = 0.1
"""Share of an image that may be no finite number; more, and it is left out."""


class Ranged(Protocol):
    """Pictures that can be asked for their values."""

    def kinds(self) -> set[str]:
        """Name the types of number that the images are stored as (see `kind_of`); known after `probe`."""

    def extents(self, kind: str, pool: Executor) -> Iterator[Ends]:
        """Yield the least and the largest value of each image that is stored as `kind`, one after the other."""


class Values:
    """The values of an array of examples.

    Args:
        array: [N, ...].
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def kinds(self) -> set[str]:
        """Name the one type that all examples are stored as."""
        return {kind_of(self.array.dtype)}

    def extents(self, kind: str, pool: Executor) -> Iterator[Ends]:
        """Yield the least and the largest value of one example after the other."""
        found = (extent(np.asarray(one)) for one in self.array) if kind in self.kinds() else ()
        return (e for e in found if e is not None)


def kind_of(dtype: np.dtype) -> str:
    """Name what numbers of a dtype are read as: bool, uint8, uint16, whole (other integers) or float."""
    return dtype.name if dtype.name in WHOLE else "float" if dtype.kind == "f" else "whole"


def extent(values: np.ndarray) -> Ends | None:
    """Return the least and the largest finite value, or None where there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def decide(
    pictures: Iterable[Ranged], pool: Executor, *, window: Ends | None = None, gray: bool = True, where: str = ""
) -> tuple[tuple[tuple[str, Ends], ...], list[str]]:
    """Choose black and white for everything that pictures of one field are stored as, and say what has to be said about it.

    Args:
        pictures: All parts of the field, probed.
        pool: Where they are decoded.
        window: What was set; then only how far it is filled is looked at.
        gray: They are wanted as gray images, which `gray_window=` is for.
        where: What notes begin with: "side A: ".
    """
    parts = list(pictures)
    ends, notes = [], []
    for kind in sorted({k for p in parts for k in p.kinds()}):
        if kind in ("reals", "scan") and not window:
            continue
        low, high = _extent(parts, kind, pool, window)
        if low > high:  # nothing that could be used was seen
            continue
        found, said = (window, "") if window else ends_of(kind, low, high)
        if found is None:
            continue
        ends.append((kind, found))
        notes += [f"{where}{said}"] if said else []
        low, high = max(low, found[0]), min(high, found[1])
        if kind != "bool" and high - low < FEW * (found[1] - found[0]):
            notes.append(f"{where}{_narrow(low, high, found, gray and not window)}")
    return tuple(ends), notes


def _extent(parts: list[Ranged], kind: str, pool: Executor, window: Ends | None) -> Ends:
    """Return the least and the largest value of all images stored as `kind`, as far as something depends on it."""
    least, most = np.inf, -np.inf
    known = window or WHOLE.get(kind)
    for part in parts:
        for low, high in part.extents(kind, pool):
            if kind == "whole" and not window and (low < 0 or high > 65535):
                continue  # this one is left out by itself
            least, most = min(least, low), max(most, high)
            if known and min(most, known[1]) - max(least, known[0]) >= FEW * (known[1] - known[0]):
                return least, most
    return least, most


def ends_of(kind: str, low: float, high: float) -> tuple[Ends | None, str]:
    """Choose black and white of what has these values, with a note where that was guessed."""
    if kind == "float":
        if low < -1 or high > 1:
            return None, ""
        found = SIGNED if low < 0 else (0.0, 1.0)
        return found, f"float pixels taken as [{found[0]:g}, {found[1]:g}]: they lie between {low:g} and {high:g}"
    found = WHOLE.get(kind) or (BITS_8 if high <= 255 else BITS_16)
    if kind != "bool" and high == 1:
        return (0, 1), (
            f"pixels are 0 and 1 only and taken as masks, 1 as white; gray_window={found[0]:g},{found[1]:g} reads them as levels of gray"
        )
    if kind == "whole":
        return found, f"whole numbers from {low:g} to {high:g} taken as levels from 0 to {found[1]:g}"
    return found, ""


def _narrow(low: float, high: float, ends: Ends, gray: bool) -> str:
    """Write the note on values that fill little of their range."""
    seen = f"every value is {low:g}" if low >= high else f"values lie between {low:g} and {high:g}"
    middle = ((low + high) / 2 - ends[0]) / (ends[1] - ends[0])
    alike = "nearly black" if middle < 0.25 else "nearly white" if middle > 0.75 else "without contrast"
    todo = f": gray_window={low:g},{high:g} makes these black and white" if gray and low < high else ""
    return f"{seen}, less than a tenth of {ends[0]:g} to {ends[1]:g}; such images are {alike}{todo}"


def unstated(values: np.ndarray, kind: str) -> str:
    """Say why pixels without a stated black and white are left out."""
    low, high = extent(values) or (np.nan, np.nan)
    name = (
        f"{8 * values.dtype.itemsize}-bit float" if kind != "whole" else "signed whole" if low < 0 else "32-bit whole"
    )
    outside = "outside 0..65535" if kind == "whole" else "whose black and white are not known"
    return f"{name} pixels from {low:g} to {high:g}, {outside}: give gray_window=LOW,HIGH, the values that are black and white in all images"


def levels(values: np.ndarray, ends: Ends) -> np.ndarray:
    """Bring pixels of any type to uint8, black 0 and white 255, rounded to the nearest."""
    if values.dtype == np.uint8 and ends == BITS_8:
        return values
    if values.dtype.kind in "uib" and ends == BITS_16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    scale = 255 / (ends[1] - ends[0])
    rounded: np.ndarray = np.rint((values.astype(np.float64) * scale - ends[0] * scale).clip(0, 255)).astype(np.uint8)
    return rounded


def shares(values: np.ndarray, ends: Ends) -> np.ndarray:
    """Bring pixels of any type to float32 from 0 (black) to 1 (white); what lies outside is cut off."""
    low, high = ends
    return ((values.astype(np.float32) - low) / (high - low)).clip(0, 1).astype(np.float32)


def filled(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Give the pixels that are no finite number the mean of the nearest ones that are.

    Means are taken over squares of 2, 4, 8 ... pixels, until every square has a finite pixel in it.

    Args:
        values: floats [H, W] or [C, H, W].

    Returns:
        The same without holes, and how many there were; more than a tenth of the image, and nothing was filled.
    """
    if values.dtype.kind != "f":
        return values, 0
    known = np.isfinite(values)
    holes = int(values.size - known.sum())
    if not holes or holes > MOST_HOLES * values.size:
        return values, holes
    planes = values.reshape(-1, *values.shape[-2:])
    whole = [
        _fill(np.where(k, p, 0).astype(np.float64), k) for p, k in zip(planes, known.reshape(planes.shape), strict=True)
    ]
    return np.where(known, values, np.stack(whole).reshape(values.shape)).astype(values.dtype), holes


def _fill(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    if known.all():
        return values
    height, width = values.shape
    edge = ((0, height % 2), (0, width % 2))
    blocks = [
        np.pad(a.astype(np.float64), edge).reshape(-(-height // 2), 2, -(-width // 2), 2).sum((1, 3))
        for a in (values * known, known)
    ]
    coarse = _fill(blocks[0] / np.maximum(blocks[1], 1), blocks[1] > 0)
    return np.where(known, values, coarse.repeat(2, 0).repeat(2, 1)[:height, :width])
