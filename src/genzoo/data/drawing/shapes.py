"""From voxels to pictures: an orthographic renderer, and a turn around every shape."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from genzoo.data.drawing.images import grid

SIDE = 96
"""Pixels of a rendered view."""
VIEW = (35.0, 25.0)
"""Degrees around the upright axis and above the floor."""
COLOUR = (92, 140, 200)
FACES = (0.72, 1.0, 0.5)
"""Brightness of faces across D, H (upwards) and W."""


def _rays(size: tuple[int, int, int], azimuth: float, elevation: float, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow each pixel's ray: the cells that it goes through, front to back, and the axis of the face by which it enters each.

    The walk from cell face to cell face of Amanatides and Woo (1987), for all pixels at once. Cells are numbers in the flattened
    grid with one more, empty, for what lies outside: int32 [steps, pixels²]; axes are int8.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    towards = -np.array([math.cos(a) * math.cos(e), math.sin(e), math.sin(a) * math.cos(e)])
    right = np.array([-math.sin(a), 0.0, math.cos(a)])
    up = np.cross(right, -towards)
    up = up if up[1] > 0 else -up
    reach = math.sqrt(sum(s * s for s in size)) / 2
    line = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    y, x = np.meshgrid(-line * reach, line * reach, indexing="ij")
    start = np.array(size) / 2 + x.reshape(-1, 1) * right + y.reshape(-1, 1) * up - towards * (reach + 1)
    towards = np.where(np.abs(towards) < 1e-9, 1e-9, towards)
    cell, step = np.floor(start).astype(np.int64), np.sign(towards).astype(np.int64)
    next_face = (cell + (step > 0) - start) / towards
    between, entered = 1 / np.abs(towards), np.zeros(len(start), np.int8)
    each, cells, axes = np.arange(len(start)), [], []
    for _ in range(math.ceil((2 * reach + 2) * np.abs(towards).sum()) + 3):
        inside = ((cell >= 0) & (cell < size)).all(1)
        number = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
        cells.append(np.where(inside, number, math.prod(size)).astype(np.int32))
        axes.append(entered)
        entered = next_face.argmin(1).astype(np.int8)
        cell[each, entered] += step[entered]
        next_face[each, entered] += between[entered]
    return np.stack(cells), np.stack(axes)


def render(
    voxels: Tensor, *, azimuth: float = VIEW[0], elevation: float = VIEW[1], pixels: int = SIDE, threshold: float = 0.0
) -> Tensor:
    """Render voxels [N, 1, D, H, W] on white, float32 [N, 3, pixels, pixels] in [-1, 1].

    Faces are shaded by their direction, and darker the farther away they are.

    Args:
        voxels: Values in [-1, 1].
        azimuth: Degrees around the upright axis H.
        elevation: Degrees above the floor, from -90 to 90.
        pixels: Side of a view.
        threshold: What is occupied: values above it.
    """
    depth, height, width = voxels.shape[2:]
    size = (depth, height, width)
    cells, axes = _rays(size, azimuth, elevation, pixels)
    used = (cells < math.prod(size)).any(1)
    cells, axes = cells[used], axes[used]
    full = (voxels.detach().float() > threshold).flatten(1).cpu().numpy()
    colour, views = np.array(COLOUR, np.float32), []
    for one in full:
        hit = np.append(one, False)[cells]
        first, seen = hit.argmax(0), hit.any(0)
        face = axes[first, np.arange(len(first))]
        light = np.array(FACES, np.float32)[face] * (1 - 0.35 * first / len(cells)).astype(np.float32)
        view = np.where(seen[:, None], light[:, None] * colour, np.float32(255))
        views.append(view.reshape(pixels, pixels, 3))
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2) / 127.5 - 1


def views(voxels: Tensor, *, columns: int | None = None) -> np.ndarray:
    """Draw voxels [N, 1, D, H, W] as a picture: one view of each in a grid, uint8 [H, W, 3]."""
    return grid(render(voxels), columns=columns, scale=1)


def turn(voxels: Tensor, *, steps: int = 24, columns: int | None = None) -> list[np.ndarray]:
    """Return the frames of a whole turn around voxels [N, 1, D, H, W], side by side: uint8 pictures."""
    return [grid(render(voxels, azimuth=VIEW[0] + 360 * i / steps), columns=columns, scale=1) for i in range(steps)]
