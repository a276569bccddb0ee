"""Solids from surfaces (what is closed off from the outside; of surfaces with holes what most lines call inside), and surfaces of solids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

OFF_CENTRE = (0.0123456789, 0.0271828182)
"""Shares of a cell by which lines miss the middles of cells, so that none meets an edge of a triangle that lies on a round number."""
FINE = 0.5
"""Distance of points on a triangle's sides, in cells, at most."""
ROUNDING = 1e-11
"""What is so little below a face of cells lies on it: a flat surface there is one layer of cells, and not a ragged two."""
CHUNK = 2**18
"""Points, or pieces of triangles, that are computed at once."""
MOST = 4
"""Of six directions, how many have to call a cell inside."""


def solid(shell: np.ndarray) -> np.ndarray:
    """Fill what cannot be reached from the outside of a grid along faces of empty cells."""
    empty = np.pad(~shell, 1, constant_values=True)
    outside = np.zeros_like(empty)
    outside[0] = True
    count = 0
    while count != (count := int(outside.sum())):
        for axis in range(3):
            for order in (slice(None), slice(None, None, -1)):
                # One sweep along an axis carries the outside on until a cell is not empty.
                line = np.moveaxis(outside, axis, 0)[order]
                free = np.moveaxis(empty, axis, 0)[order]
                for i in range(1, len(line)):
                    line[i] |= line[i - 1] & free[i]
    return ~outside[1:-1, 1:-1, 1:-1]


def covered(corners: np.ndarray, side: int) -> np.ndarray:
    """Tell which cells a surface goes through, bool [side, side, side].

    Points are laid over each triangle, no farther apart than half a cell along its sides. A step between the middles of two neighbouring
    cells that crosses a triangle is then at most 0.29 cells away from a point, so one of the two cells is found: what is closed cannot leak.

    Args:
        corners: Triangles [F, 3, 3] in units of cells.
        side: Cells on a side.
    """
    found = np.zeros((side,) * 3, bool)
    for n, some in _by_length(corners):
        i, j = np.tril_indices(n + 1)
        at = np.stack([n - i, i - j, j], 1) / n  # [P, 3]
        for k in range(0, len(some), step := max(1, CHUNK // len(at))):
            cells = np.floor(at @ some[k : k + step] + ROUNDING).astype(np.int64).reshape(-1, 3)
            found[tuple(cells.clip(0, side - 1).T)] = True
    return found


def _by_length(corners: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Group triangles [F, 3, 3] by the parts that their longest side has to be cut into."""
    longest = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
    parts = np.ceil(longest / FINE).astype(np.int64).clip(1)
    order = np.argsort(parts, kind="stable")
    numbers, first = np.unique(parts[order], return_index=True)
    for n, some in zip(numbers, np.split(order, first[1:]), strict=True):
        yield int(n), corners[some]


def _pieces(corners: np.ndarray) -> Iterator[np.ndarray]:
    """Cut triangles into ones whose sides are at most half a cell long, some at a time: [F, 3, 3]."""
    for n, some in _by_length(corners):
        i, j = np.tril_indices(n)
        upward = np.stack([np.stack([i, j], 1), np.stack([i + 1, j], 1), np.stack([i + 1, j + 1], 1)], 1)
        within = j < i
        downward = np.stack([upward[within, 0], upward[within, 2], upward[within, 0] + [0, 1]], 1)
        place = np.concatenate([upward, downward])  # [n², 3, 2]
        at = np.stack([n - place[..., 0], place[..., 0] - place[..., 1], place[..., 1]], -1).reshape(-1, 3) / n
        for k in range(0, len(some), step := max(1, CHUNK // len(at))):
            yield (at @ some[k : k + step]).reshape(-1, 3, 3)


def voted(corners: np.ndarray, side: int) -> np.ndarray:
    """Tell which cells are inside of a surface with holes, bool [side, side, side], by the vote of six directions.

    From the middle of a cell a line goes out in both directions along each axis; one that crosses the surface an odd number of times says
    inside. This is the parity count of Nooruddin and Turk, "Simplification and repair of polygonal models using volumetric techniques"
    (2003), section 3.1, along the axes of the grid.

    Args:
        corners: Triangles [F, 3, 3] in units of cells; none is there twice.
        side: Cells on a side.
    """
    found = np.zeros((3, side, side, side + 1), np.int32)
    for some in _pieces(corners):
        for axis in range(3):
            _count(found[axis], np.roll(some, -axis - 1, 2))
    votes = np.zeros((side,) * 3, np.uint8)
    for axis in range(3):
        below = found[axis].cumsum(2, dtype=np.int32)
        for count in (below[..., :-1], below[..., -1:] - below[..., :-1]):
            votes += np.moveaxis(count % 2, (0, 1, 2), ((axis + 1) % 3, (axis + 2) % 3, axis)).astype(np.uint8)
    return votes >= MOST


def _count(found: np.ndarray, corners: np.ndarray) -> None:
    """Count where lines along the last axis cross small triangles, at the first cell whose middle is above: into int [side, side, side + 1]."""
    side = len(found)
    low = corners[..., :2].min(1)
    # The only line that so small a triangle can meet is the next one above its lowest corner.
    number = np.ceil(low - 0.5 - np.array(OFF_CENTRE)).astype(np.int64)
    place = number + 0.5 + np.array(OFF_CENTRE)
    a, b, c = (corners[:, k, :2] - place for k in range(3))
    areas = np.stack([p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0] for p, q in ((b, c), (c, a), (a, b))], 1)
    met = ((areas > 0).all(1) | (areas < 0).all(1)) & ((number >= 0) & (number < side)).all(1)
    shares = areas[met] / areas[met].sum(1, keepdims=True)
    depth = (shares * corners[met, :, 2]).sum(1)
    cell = np.ceil(depth - 0.5).astype(np.int64).clip(0, side)
    np.add.at(found, (number[met, 0], number[met, 1], cell), 1)


def surface(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the faces between occupied and empty cells as vertices [V, 3], whole numbers, and triangles [F, 3] seen from outside.

    Cells that touch along an edge share it, so it belongs to four faces; every edge belongs to an even number: the surface is closed.
    """
    padded = np.pad(grid.astype(bool), 1)
    corners = [np.empty((0, 4, 3), np.int64)]
    for axis in range(3):
        across = np.roll(np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]]), axis, 1)
        for towards in (1, -1):
            bare = padded & ~np.roll(padded, -towards, axis)
            cells = np.argwhere(bare) - 1
            cells[:, axis] += towards > 0
            corners.append(cells[:, None] + across[::towards])
    squares = np.concatenate(corners)
    vertices, number = np.unique(squares.reshape(-1, 3), axis=0, return_inverse=True)
    number = number.reshape(-1, 4)
    return vertices, np.concatenate([number[:, [0, 1, 2]], number[:, [0, 2, 3]]])
