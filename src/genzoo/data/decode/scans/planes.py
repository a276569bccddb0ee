"""Which side of a patient is up: planes through a volume, from the matrix that leads from its cells to millimetres.

Everything is counted in DICOM's directions: L to the patient's left, P to the back, S to the head (LPS). Slices lie as radiologists look at them,
whatever the file:

| plane | columns go | rows go | slices go |
|---|---|---|---|
| axial | to the patient's left (his right is at the left of the picture) | to the back | to the head |
| coronal | to the patient's left | to the feet | to the back |
| sagittal | to the back | to the feet | to the patient's left |

A tilted volume is not resampled: its slices are those of its own axes that lie nearest.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

PLANES = {"axial": (2, 0, 1, 1), "coronal": (1, 0, 2, -1), "sagittal": (0, 1, 2, -1)}
"""By plane: the axis of the patient (0 L, 1 P, 2 S) that it is passed along, those of its columns and of its rows, and which way rows go."""


@dataclass(frozen=True)
class View:
    """How slices of a volume are cut and laid.

    Args:
        plane: axial, coronal or sagittal; empty where the file does not say how the patient lies.
        axis: The axis of cells that slices are counted along.
        turned: The first of the other two axes is that of the columns, and not of the rows.
        flips: Whether rows and columns are turned round.
        back: Slices are counted from the last cell to the first.
        spacing: Millimetres from row to row and from column to column.
    """

    plane: str
    axis: int
    turned: bool
    flips: tuple[bool, bool]
    back: bool
    spacing: tuple[float, float]

    def lay(self, cells: np.ndarray) -> np.ndarray:
        """Bring cells [first other axis, second other axis, ...] to rows and columns."""
        picture = cells.swapaxes(0, 1) if self.turned else cells
        return picture[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def unlay(self, picture: np.ndarray) -> np.ndarray:
        """Bring a picture back to the order of the cells."""
        cells = picture[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]
        return cells.swapaxes(0, 1) if self.turned else cells

    def cell(self, index: int, count: int) -> int:
        """Return which cell along `axis` the slice of a number is."""
        return count - 1 - index if self.back else index


def axes_of(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Find for each axis of the patient (L, P, S) the axis of cells nearest to it, and whether it goes that way (1) or the other (-1).

    Args:
        affine: From cells to millimetres in LPS, [4, 4].
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, back, up = max(
        itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[row, p[row]]) for row in range(3))
    )
    ways = np.where(cosines[[0, 1, 2], [left, back, up]] >= 0, 1, -1)
    return (left, back, up), (int(ways[0]), int(ways[1]), int(ways[2]))


def tilt(affine: np.ndarray) -> float:
    """Return by how many degrees the axes of cells lie off those of the patient, at most."""
    best, _ = axes_of(affine)
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(min(abs(cosines[row, best[row]]) for row in range(3)).clip(0, 1))))


def view(affine: np.ndarray | None, plane: str | None, axis: int = 2) -> View:
    """Say how slices are cut.

    Args:
        affine: From cells to millimetres in LPS; None where the file says nothing of it.
        plane: Which; None for those along `axis`, as the file has them.
        axis: The axis of cells that the file's own slices are counted along.
    """
    if affine is None:
        assert plane is None, "without a matrix no plane has a name"
        return View("", axis, True, (False, False), False, (1.0, 1.0))
    best, signs = axes_of(affine)
    if plane is None:
        plane = next(name for name, (through, *_) in PLANES.items() if best[through] == axis)
    through, across, down, way = PLANES[plane]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return View(
        plane, best[through], best[across] < best[down], (signs[down] != way, signs[across] < 0), signs[through] < 0,
        (float(spacing[best[down]]), float(spacing[best[across]])),
    )  # fmt: skip
