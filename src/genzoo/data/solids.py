"""One careful reader of shapes: occupancy arrays, .binvox files and meshes, as bool [D, H, W] with H upwards.

| shape | treatment |
|---|---|
| arrays (.npy, .npz) [D,H,W], [N,D,H,W], [N,1,D,H,W] | bool as it is; whole numbers: 0 and 1, else occupied from 128 of 255; |
|  | floats: occupied from 1/2 in [0, 1], above 0 in [-1, 1] |
| .binvox | its runs are read; y points upwards there |
| meshes: OBJ, STL, PLY, OFF | read by `trimesh` (the extra `voxels`); scaled to fill the cube but for one cell on each side, y upwards, and solid: |
|  | what cannot be reached from outside is filled, so a mesh with holes stays a shell |
| `size` smaller than a grid by a whole factor | a cell is occupied where any of the finer ones is |
| `size` larger by a whole factor | cells are repeated |
| empty, full, no faces, not finite, damaged, another size | left out, with the reason |
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data import arrays
from genzoo.data.decode import Refused, _is_text

MESHES = ("obj", "stl", "ply", "off")
MOST_FACES = 2_000_000
"""Meshes with more triangles are refused."""
MESH_SIDE = 32
"""Resolution of meshes where no size is set."""
MOST_CELLS = 256**3


def read(file: BinaryIO, name: str, side: int | None) -> list[np.ndarray]:
    """The grids of a file, each bool [D, H, W]: one, or as many as an array holds.

    Raises:
        Refused: This is no usable shape.
    """
    head = file.read(512)
    file.seek(0)
    suffix = PurePosixPath(name).suffix.lower()[1:]
    if not head:
        raise Refused("empty file")
    if head.startswith(b"#binvox"):
        return [resized(binvox(file.read()), side)]
    if head.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        return [resized(grid, side) for grid in _array_file(file, name)]
    if suffix in MESHES:
        return [voxelised(*mesh(file, suffix), side or MESH_SIDE)]
    raise Refused("text, not a shape" if _is_text(head) and head.isascii() else "not a shape of a known format")


def occupied(values: np.ndarray) -> np.ndarray:
    """What of an array of occupancies is occupied, bool.

    Raises:
        Refused: The values have no stated meaning.
    """
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "uif" or not values.size:
        raise Refused(f"{values.dtype} values; give bool, 0 and 1, 0 to 255, or floats in [0, 1] or [-1, 1]")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Refused("some values are not finite numbers")
    if values.dtype.kind == "f" and low >= -1 and high <= 1:
        return values > 0 if low < 0 else values >= 0.5
    if values.dtype.kind in "ui" and low >= 0 and high <= 255:
        return values >= (1 if high <= 1 else 128)
    raise Refused(
        f"{values.dtype} values in [{low:g}, {high:g}]; give bool, 0 and 1, 0 to 255, or floats in [0, 1] or [-1, 1]"
    )


def resized(grid: np.ndarray, side: int | None) -> np.ndarray:
    """A grid brought to a cube of another side by a whole factor: any of the finer cells, or cells repeated.

    Raises:
        Refused: It is no cube, or the factor is not whole.
    """
    if side is None or grid.shape == (side,) * 3:
        return grid
    n = grid.shape[0]
    if len(set(grid.shape)) > 1 or max(n, side) % min(n, side):
        shape = "x".join(map(str, grid.shape))
        raise Refused(f"{shape} cannot be brought to size={side}: grids have to be cubes, and sizes whole multiples")
    if side < n:
        f = n // side
        return grid.reshape(side, f, side, f, side, f).any((1, 3, 5))
    return grid.repeat(side // n, 0).repeat(side // n, 1).repeat(side // n, 2)


def binvox(data: bytes) -> np.ndarray:
    """The grid of a .binvox file (runs of value and length, x slowest and y fastest), bool [x, y, z].

    Raises:
        Refused: It is damaged.
    """
    head, mark, runs = data.partition(b"\ndata\n")
    lines = [line.split() for line in head.splitlines()]
    dims = next((line[1:] for line in lines if line[:1] == [b"dim"]), [])
    if not mark or len(dims) != 3 or not all(d.isdigit() and 0 < int(d) <= 1024 for d in dims):
        raise Refused("damaged: no header with dim and data")
    x, z, y = (int(d) for d in dims)
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    if int(pairs[:, 1].sum(dtype=np.int64)) != x * y * z:
        raise Refused(f"damaged: {int(pairs[:, 1].sum(dtype=np.int64))} of {x * y * z} cells are there")
    return np.repeat(pairs[:, 0] > 0, pairs[:, 1]).reshape(x, z, y).transpose(0, 2, 1)


def mesh(file: BinaryIO, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and triangles [F, 3] of a mesh file.

    Raises:
        Refused: It is damaged, empty, or the library is not installed.
    """
    try:
        import trimesh
    except ImportError:
        raise Refused("a mesh needs the extra: pip install 'genzoo[voxels]'") from None
    try:
        loaded = trimesh.load_mesh(io.BytesIO(file.read()), file_type=kind, process=False, skip_materials=True)
        vertices, faces = np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int64)
    except Exception as error:  # whatever a parser throws at a hostile file
        raise Refused(f"damaged: {(str(error) or type(error).__name__).splitlines()[0][:80]}") from None
    if vertices.ndim != 2 or faces.ndim != 2 or not len(faces):
        raise Refused("an empty mesh: no faces")
    if len(faces) > MOST_FACES:
        raise Refused(f"{len(faces):,} faces: more than {MOST_FACES:,}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise Refused("damaged: a face names a vertex that is not there")
    if not np.isfinite(vertices[faces]).all():
        raise Refused("some corners are not finite numbers")
    return vertices, faces


def voxelised(vertices: np.ndarray, faces: np.ndarray, side: int) -> np.ndarray:
    """The solid that a mesh encloses, bool [side, side, side], scaled to fill the cube but for one cell on each side.

    Triangles are split until no edge is longer than half a cell; the cells of their corners are the shell. A step between the
    middles of two neighbouring cells that crosses a triangle is then at most 0.29 cells away from a corner, so one of the two
    cells is of the shell: what is closed cannot leak.

    Raises:
        Refused: It has no extent.
    """
    from trimesh.remesh import subdivide_to_size

    used = vertices[np.unique(faces)]
    low, high = used.min(0), used.max(0)
    extent = float((high - low).max())
    if not extent > 0:
        raise Refused("a mesh without extent")
    placed = (vertices - (low + high) / 2) * ((side - 2) * (1 - 1e-9) / extent) + side / 2
    points, _ = subdivide_to_size(placed, faces, max_edge=0.5, max_iter=16)
    shell = np.zeros((side,) * 3, bool)
    shell[tuple(np.floor(points).astype(int).clip(0, side - 1).T)] = True
    return solid(shell)


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


def _array_file(file: BinaryIO, name: str) -> list[np.ndarray]:
    data = io.BytesIO(file.read())
    try:
        if zipfile.is_zipfile(data):
            found = arrays._load_npz(data, name)
        else:
            data.seek(0)
            arrays._check_header(data, len(data.getvalue()), name)
            data.seek(0)
            found = {name: np.lib.format.read_array(data, allow_pickle=False)}
    except UserError as error:
        raise Refused(str(error)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError) as error:
        raise Refused(f"damaged: {str(error).splitlines()[0][:80] or type(error).__name__}") from None
    return list(grids(next(iter(chosen(found, name).values()))[1]))


def chosen(found: dict[str, np.ndarray], where: str) -> dict[str, tuple[str, np.ndarray]]:
    """The arrays of grids of a file, by split."""
    try:
        return arrays._examples(found, where, (3, 4, 5), "voxels [N,D,H,W]")
    except UserError as error:
        raise Refused(str(error)) from None


def grids(array: np.ndarray) -> np.ndarray:
    """An array of a file as bool [N, D, H, W].

    Raises:
        Refused: Another shape, or values without a meaning.
    """
    if array.ndim == 5 and array.shape[1] == 1:
        array = array[:, 0]
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape or np.prod(array.shape[1:]) > MOST_CELLS:
        raise Refused(f"shape {array.shape} is none of [D,H,W], [N,D,H,W], [N,1,D,H,W] with at most 256x256x256 cells")
    return occupied(array)
