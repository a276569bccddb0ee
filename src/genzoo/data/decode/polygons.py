"""Faces with any number of corners as triangles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from genzoo.data.decode.forms import Rejected

MOST_CORNERS = 2000
"""Corners of a face that is not convex, at most: clipping its ears takes time with their square."""


def triangles(vertices: np.ndarray, polygons: Iterable[Sequence[int] | np.ndarray]) -> np.ndarray:
    """Cut polygons into triangles [T, 3]: a fan where all corners are convex, clipped ears where some are not.

    Args:
        vertices: Corners [V, 3].
        polygons: Numbers of the corners of each face, in order; faces of fewer than three are left out.

    Raises:
        Rejected: A face names a vertex that is not there.
    """
    # The geometry is the same in any unit, and products of four lengths have to be numbers.
    size = float(np.abs(vertices[np.isfinite(vertices)]).max(initial=0)) or 1.0
    scaled = vertices / size
    groups: dict[int, list[Sequence[int] | np.ndarray]] = {}
    for polygon in polygons:
        groups.setdefault(len(polygon), []).append(polygon)
    found = [np.empty((0, 3), np.int64)]
    for corners, members in groups.items():
        if corners < 3:
            continue
        faces = np.array(members, np.int64)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise Rejected("damaged: a face names a vertex that is not there; export it again")
        if not np.isfinite(vertices[faces]).all():
            raise Rejected("some corners are not finite numbers; export it again")
        if corners > 3:
            bent = _bent(scaled[faces])
            found += [face[_ears(scaled[face])] for face in faces[bent]]
            faces = faces[~bent]
        fan = [faces[:, [0, i, i + 1]] for i in range(1, corners - 1)]
        found += [np.stack(fan, 1).reshape(-1, 3)] if len(faces) else []
    return np.concatenate(found)


def _normals(points: np.ndarray) -> np.ndarray:
    """Compute Newell's normals [M, 3] of polygons [M, n, 3]."""
    normals: np.ndarray = np.cross(points - points[:, :1], np.roll(points, -1, 1) - points[:, :1]).sum(1)
    return normals


def _bent(points: np.ndarray) -> np.ndarray:
    """Tell which of the polygons [M, n, 3] have a corner that points inwards."""
    edges = np.roll(points, -1, 1) - points
    turns = (np.cross(np.roll(edges, 1, 1), edges) * _normals(points)[:, None]).sum(2)
    inwards: np.ndarray = (turns < -1e-9 * np.abs(turns).max(1, keepdims=True, initial=0)).any(1)
    return inwards


def _ears(points: np.ndarray) -> np.ndarray:
    """Cut one polygon [n, 3] without crossing edges into triangles [n - 2, 3], by clipping ears in the plane of its normal."""
    if len(points) > MOST_CORNERS:
        raise Rejected(f"a face of {len(points):,} corners that is not convex: export it as triangles")
    (normal,) = _normals(points[None])
    flat = np.delete(points, np.abs(normal).argmax(), 1)
    x, y = flat.T
    if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0:
        flat = flat * [-1, 1]
    left, found = list(range(len(points))), []
    while len(left) > 3:
        for i in range(len(left)):
            ear = [left[i - 1], left[i], left[(i + 1) % len(left)]]
            if _is_ear(flat[ear], flat[left]):
                break
        else:  # a polygon without an ear crosses itself
            i, ear = 1, left[:3]
        found.append(ear)
        del left[i]
    return np.array([*found, left])


def _is_ear(ear: np.ndarray, around: np.ndarray) -> bool:
    """Tell whether the triangle of three corners that follow one another lies in a polygon.

    A polygon with a hole comes to it and back by one edge: corners that lie at one place with those of the ear do not block it, but no
    edge may cross the cut.
    """
    a, b, c = ear
    if not _turn(a, b, c) > 0:
        return False
    others = around[(around[:, None] != ear).any(2).all(1)]
    if ((_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)).any():
        return False
    start, stop = around, np.roll(around, -1, 0)
    across = _turn(a, c, start) * _turn(a, c, stop) < 0
    from_a = (stop[:, 0] - start[:, 0]) * (a[1] - start[:, 1]) - (stop[:, 1] - start[:, 1]) * (a[0] - start[:, 0])
    from_c = (stop[:, 0] - start[:, 0]) * (c[1] - start[:, 1]) - (stop[:, 1] - start[:, 1]) * (c[0] - start[:, 0])
    return not (across & (from_a * from_c < 0)).any()


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return a number that is positive where the way from a over b to c turns left."""
    turn: np.ndarray = (b[0] - a[0]) * (c[..., 1] - a[1]) - (b[1] - a[1]) * (c[..., 0] - a[0])
    return turn
