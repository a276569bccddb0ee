"""Shapes as files of other programs: meshes of the faces of cells as GLB and STL, by `trimesh`, and grids as .binvox."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.decode.filling import surface

APART = 1.25
"""From one shape to the next where several stand in a file, in sides of the cube."""


def save_model(path: Path, voxels: Tensor, *, columns: int | None = None, threshold: float = 0.0) -> Path:
    """Write shapes, occupied where their values are above a threshold.

    A cell [d, h, w] is the cube from (d, h, w) to the next whole numbers: y points upwards, as in grids. In .glb the whole grid is one
    unit on a side, in .stl each cell; several shapes stand beside one another on the floor, in rows. A .binvox file holds one.

    Args:
        path: The file, which ends in .glb, .stl or .binvox.
        voxels: Values [N, 1, D, H, W] in [-1, 1].
        columns: Shapes in a row.
        threshold: What is occupied: values above it.

    Raises:
        UserError: Nothing is occupied, there are several shapes for one .binvox file, or `trimesh` is not installed.
    """
    grids = (voxels.detach()[:, 0].float().cpu() > threshold).numpy()
    if not grids.any():
        raise UserError(f"{path.name} is not written: no cell is occupied in any of {len(grids)} shapes")
    if path.suffix.lower() == ".binvox":
        if len(grids) > 1:
            raise UserError(
                f"{path.name} can hold one shape, and there are {len(grids)}: take n=1, or sample with out=FOLDER/ ending=.binvox"
            )
        return write_atomic(path, binvox(grids[0]))
    try:
        import trimesh
    except ImportError:
        raise UserError(f"{path.name} needs the extra: pip install 'genzoo[voxels]'") from None
    side = max(grids.shape[1:])
    row = columns or math.ceil(math.sqrt(len(grids)))
    unit = 1 / side if path.suffix.lower() == ".glb" else 1.0
    scene = trimesh.Scene()
    for i, grid in enumerate(grids):
        if grid.any():
            vertices, faces = surface(grid)
            placed = (vertices + np.array([i // row, 0, i % row]) * side * APART) * unit
            scene.add_geometry(
                trimesh.Trimesh(placed, faces, process=False), geom_name=f"shape-{i}", node_name=f"shape-{i}"
            )
    data = scene.export(file_type=path.suffix.lower()[1:])
    return write_atomic(path, data)


def binvox(grid: np.ndarray) -> bytes:
    """Write a grid bool [x, y, z] as .binvox: runs of value and length, x slowest and y fastest, in the unit cube.

    A grid that is no cube gets empty cells: programs do not agree on the order of unequal sides.
    """
    side = max(grid.shape)
    grid = np.pad(grid, [(0, side - n) for n in grid.shape])
    flat = grid.transpose(0, 2, 1).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff([*starts, flat.size])
    parts = -(-lengths // 255)  # a run is at most 255 long
    runs = np.full((parts.sum(), 2), 255, np.uint8)
    runs[:, 0] = np.repeat(flat[starts], parts)
    runs[parts.cumsum() - 1, 1] = lengths - (parts - 1) * 255
    return f"#binvox 1\ndim {side} {side} {side}\ntranslate 0 0 0\nscale 1\ndata\n".encode() + runs.tobytes()
