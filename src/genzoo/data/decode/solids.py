"""One careful reader of shapes: occupancy arrays, .binvox files and meshes, as bool [D, H, W] with H upwards.

| shape | treatment |
|---|---|
| arrays (.npy, .npz) [D,H,W], [N,D,H,W], [N,1,D,H,W] | see `occupied`: bool, gray levels, labels, shares, signed values, distances |
| .binvox | its runs are read; y points upwards there |
| meshes: OBJ, STL, PLY, OFF, GLB, glTF | see `decode.meshes`; scaled to fill the cube but for one cell on each side, y upwards, and solid: |
|  | what cannot be reached from outside is filled, so a mesh with holes stays a shell, which is said |
| `up` | the axis of arrays and meshes that points upwards is turned to H; .binvox and glTF state theirs |
| `size` smaller than a grid by a whole factor | a cell is occupied where any of the finer ones is |
| `size` larger by a whole factor | cells are repeated |
| empty, full, no faces, not finite, damaged, another size | left out, with the reason |
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.meshes import MESHES, STATED_UP, has_holes, mesh, turned
from genzoo.data.decode.npy import check_header
from genzoo.data.formats import HEAD, refusal
from genzoo.data.sources import arrays

MESH_SIDE = 32
"""Resolution of meshes where no size is set."""
MOST_CELLS = 256**3
TOLD = {
    "labels": "{n} of {files} hold whole numbers from 0 to less than 128: taken for labels, occupied above 0",
    "unknown": "{n} of {files} hold labels and 255: occupied above 0, but not at 255, which is taken for unknown",
    "gray": "{n} of {files} hold whole numbers up to 255: taken for gray levels, occupied from 128",
    "shares": "{n} of {files} hold floats in [0, 1]: taken for shares, occupied from 1/2",
    "signed": "{n} of {files} hold floats of both signs with few positive ones at the border: occupied above 0",
    "distances": "{n} of {files} hold floats of both signs with positive ones at the border: taken for distances, filled where "
    "they are negative",
    "stated up": "{n} of {files} state which way is up (glTF, .binvox): up= is not applied to them",
    "holes": "{n} of {files} are meshes with holes, which are not solid where the outside gets in; close them, as with Blender or MeshLab",
    "shells": "{n} of {files} are shells at this size: they have holes, and nothing inside them is closed off",
}
"""What is said of the files of a set; of each is told which of these it is."""


def read(
    file: BinaryIO, name: str, side: int | None, up: str = "y", told: Counter[str] | None = None
) -> list[np.ndarray]:
    """Read the grids of voxels of a file, each bool [D, H, W]: one, or as many as an array holds.

    Args:
        file: The shape.
        name: Its name; the ending says which mesh it is.
        side: Resolution; the own one of grids, `MESH_SIDE` for meshes, where not given.
        up: The axis of arrays and meshes that points upwards: x, y or z.
        told: Counts what is to be said of it, see `TOLD`.

    Raises:
        Rejected: This is no usable shape.
    """
    told = Counter() if told is None else told
    head = file.read(HEAD)
    file.seek(0)
    suffix = PurePosixPath(name).suffix.lower()[1:]
    if not head:
        raise Rejected("empty file")
    suffix = "glb" if head.startswith(b"glTF") else suffix
    told["stated up"] += up != "y" and (suffix in STATED_UP or head.startswith(b"#binvox"))
    if head.startswith(b"#binvox"):
        return [resized(binvox(file.read()), side)]
    if head.startswith((b"\x93NUMPY", b"PK\x03\x04")) and suffix not in MESHES:
        return [resized(raised(grid, up), side) for grid in _array_file(file, name, told)]
    if suffix in MESHES:
        vertices, faces = mesh(file, suffix)
        grid, shell = voxelized(vertices if suffix in STATED_UP else turned(vertices, up), faces, side or MESH_SIDE)
        if has_holes(vertices, faces):
            told["shells" if np.array_equal(grid, shell) else "holes"] += 1
        return [grid]
    raise Rejected(refusal(head, name, "shape"))


def raised(grid: np.ndarray, up: str) -> np.ndarray:
    """Turn the axis `up` of a grid [x, y, z] to the second, without mirroring."""
    if up == "z":
        return grid.transpose(0, 2, 1)[:, :, ::-1]
    return grid.transpose(1, 0, 2)[::-1] if up == "x" else grid


def occupied(values: np.ndarray, told: Counter[str] | None = None) -> np.ndarray:
    """Return which cells of an array are occupied, bool.

    Bool as it is. Whole numbers: 0 and 1; from 128 of 255 where some are between; labels, occupied above 0, where all are below 128
    (255 beside them is unknown, and empty). Floats: from 1/2 in [0, 1]. Floats of both signs: above 0, unless three quarters of the cells
    at the border are above 0; then they are distances, and what is below 0 is inside.

    Raises:
        Rejected: The values have no stated meaning.
    """
    told = Counter() if told is None else told
    wanted = "give bool, 0 and 1, labels, 0 to 255, floats in [0, 1], or floats of both signs"
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "uif" or not values.size:
        raise Rejected(f"{values.dtype} values; {wanted}")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Rejected("some values are not finite numbers; replace them, as by numpy.nan_to_num")
    if values.dtype.kind == "f" and low < 0:
        border = np.ones(values.shape[-3:], bool)
        border[1:-1, 1:-1, 1:-1] = False
        outer = values[..., border]
        outside = bool((outer > 0).mean() >= 0.75 and high > 0)
        told["distances" if outside else "signed"] += 1
        return values < 0 if outside else values > 0
    if values.dtype.kind == "f" and high <= 1:
        told["shares"] += bool(((values != 0) & (values != 1)).any())
        return values >= 0.5
    if values.dtype.kind in "ui" and low >= 0 and high <= 255:
        if high <= 1:
            return values > 0
        known = values if high < 255 else np.where(values == 255, 0, values)
        if known.max() >= 128 or not known.any():
            told["gray"] += bool(known.any())
            return values >= 128
        told["labels" if high < 128 else "unknown"] += 1
        return known > 0
    raise Rejected(f"{values.dtype} values in [{low:g}, {high:g}]; {wanted}")


def resized(grid: np.ndarray, side: int | None) -> np.ndarray:
    """Bring a grid to a cube of another side by a whole factor: any of the finer cells, or cells repeated.

    Raises:
        Rejected: It is no cube, or the factor is not whole.
    """
    if side is None or grid.shape == (side,) * 3:
        return grid
    n = grid.shape[0]
    if len(set(grid.shape)) > 1 or max(n, side) % min(n, side):
        shape = "x".join(map(str, grid.shape))
        raise Rejected(f"{shape} cannot be brought to size={side}: grids have to be cubes, and sizes whole multiples")
    if side < n:
        f = n // side
        return np.asarray(grid.reshape(side, f, side, f, side, f).any((1, 3, 5)))
    return grid.repeat(side // n, 0).repeat(side // n, 1).repeat(side // n, 2)


def binvox(data: bytes) -> np.ndarray:
    """Read the grid of a .binvox file (runs of value and length, x slowest and y fastest), bool [x, y, z].

    Raises:
        Rejected: It is damaged.
    """
    head, mark, runs = data.partition(b"\ndata\n")
    lines = [line.split() for line in head.splitlines()]
    dims = next((line[1:] for line in lines if line[:1] == [b"dim"]), [])
    if not mark or len(dims) != 3 or not all(d.isdigit() and 0 < int(d) <= 1024 for d in dims):
        raise Rejected("damaged: no header with dim and data; export it again")
    x, z, y = (int(d) for d in dims)
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    if int(pairs[:, 1].sum(dtype=np.int64)) != x * y * z:
        raise Rejected(
            f"damaged: {int(pairs[:, 1].sum(dtype=np.int64))} of {x * y * z} cells are there; export it again"
        )
    return np.repeat(pairs[:, 0] > 0, pairs[:, 1]).reshape(x, z, y).transpose(0, 2, 1)


def voxelized(vertices: np.ndarray, faces: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill a mesh: return the solid that it encloses and its shell, bool [side, side, side], one cell away from each side of the cube.

    Triangles are split until no edge is longer than half a cell; the cells of their corners are the shell. A step between the
    middles of two neighbouring cells that crosses a triangle is then at most 0.29 cells away from a corner, so one of the two
    cells is of the shell: what is closed cannot leak.

    Raises:
        Rejected: It has no extent.
    """
    from trimesh.remesh import subdivide_to_size

    used = vertices[np.unique(faces)]
    low, high = used.min(0), used.max(0)
    extent = float((high - low).max())
    if not extent > 0:
        raise Rejected("a mesh without extent: all its corners are at one place")
    placed = (vertices - (low + high) / 2) * ((side - 2) * (1 - 1e-9) / extent) + side / 2
    points, _ = subdivide_to_size(placed, faces, max_edge=0.5, max_iter=16)
    shell = np.zeros((side,) * 3, bool)
    shell[tuple(np.floor(points).astype(int).clip(0, side - 1).T)] = True
    return solid(shell), shell


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


def _array_file(file: BinaryIO, name: str, told: Counter[str]) -> list[np.ndarray]:
    data = io.BytesIO(file.read())
    try:
        if zipfile.is_zipfile(data):
            found = arrays._load_npz(data, name)
        else:
            data.seek(0)
            check_header(data, len(data.getvalue()), name)
            data.seek(0)
            found = {name: np.lib.format.read_array(data, allow_pickle=False)}
    except UserError as error:
        raise Rejected(str(error)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError, RuntimeError):
        raise Rejected("damaged: it is no whole array file; save it again") from None
    parts = chosen(found, name)
    if len(parts) > 1:
        raise Rejected(f"it has parts of its own ({', '.join(sorted(parts))}): give this file alone as data=")
    return list(grids(next(iter(parts.values()))[1], told))


def chosen(found: dict[str, np.ndarray], where: str) -> dict[str, tuple[str, np.ndarray]]:
    """Choose the arrays of a file that are grids of voxels, by split, each with its name."""
    try:
        return arrays._examples(found, where, (3, 4, 5), "voxels [N,D,H,W]")
    except UserError as error:
        raise Rejected(str(error)) from None


def grids(array: np.ndarray, told: Counter[str] | None = None) -> np.ndarray:
    """Read an array of a file as grids of voxels, bool [N, D, H, W].

    Raises:
        Rejected: Another shape, or values without a meaning.
    """
    if array.ndim == 5 and array.shape[1] == 1:
        array = array[:, 0]
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape or np.prod(array.shape[1:]) > MOST_CELLS:
        raise Rejected(f"shape {array.shape} is none of [D,H,W], [N,D,H,W], [N,1,D,H,W] with at most 256x256x256 cells")
    return occupied(array, told)
