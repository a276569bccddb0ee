"""One careful reader of shapes: occupancy arrays, .binvox and .mat files and meshes, as bool [D, H, W] with H upwards.

What a file is, is told by its content; only what begins in no certain way (OFF without a mark, STL, OBJ) by its ending as well.

| shape | treatment |
|---|---|
| arrays (.npy, .npz) [D,H,W], [N,D,H,W], [N,1,D,H,W] | see `occupied`: bool, gray levels, labels, shares, signed values, distances |
| .mat of ModelNet, ShapeNet, 3D-GAN, Pix3D | the array `instance`, `voxels` or `voxel`, read as an array is, see `decode.matlab` |
| .binvox | its runs are read; y points upwards there |
| meshes: OBJ, STL, PLY, OFF, GLB, glTF | see `decode.meshes`; scaled to fill the cube but for one cell on each side, y upwards, and solid: |
|  | what cannot be reached from outside is filled, so a mesh with holes stays a shell, which is said; or see `filling.voted` |
| `up` | the axis of arrays and meshes that points upwards is turned to H; .binvox and glTF state theirs |
| `inside` | what of arrays is occupied, in place of what their values say: negative, positive, or labels by number |
| `size` smaller than a grid by a whole factor | a cell is occupied where any of the finer ones is |
| `size` larger | cells are repeated; empty ones around them fill up to an eighth of the side (ModelNet's 30 to 32 and 64) |
| empty, full, no faces, not finite, damaged, another size | left out, with the reason |
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode.filling import covered, solid, voted
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.matlab import array_of
from genzoo.data.decode.meshes import MESHES, MOST_CELLS, STATED_UP, has_holes, mesh, turned
from genzoo.data.decode.npy import check_header
from genzoo.data.formats import HEAD, refusal, what_is
from genzoo.data.sources import arrays

MESH_SIDE = 32
"""Resolution of meshes where no size is set."""
BINVOX_SIDE = 512
"""Cells on a side of a .binvox file, at most: its runs may stand for any number."""
MOST_AROUND = 1 / 8
"""Of a side, how much may be empty cells around a grid: ModelNet's 30 cells are brought to 32 and 64."""
TOLD = {
    "labels": "{n} of {files} hold whole numbers from 0 to less than 128: taken for labels, occupied above 0",
    "unknown": "{n} of {files} hold labels and 255: occupied above 0, but not at 255, which is taken for unknown",
    "gray": "{n} of {files} hold whole numbers up to 255: taken for gray levels, occupied from 128",
    "shares": "{n} of {files} hold floats in [0, 1]: taken for shares, occupied from 1/2",
    "signed": "{n} of {files} hold floats of both signs with few positive ones at the border: occupied above 0",
    "distances": "{n} of {files} hold floats of both signs with positive ones at the border: taken for distances, filled where "
    "they are negative",
    "stated up": "{n} of {files} state which way is up (glTF, .binvox): up= is not applied to them",
    "padded": "{n} of {files} have a few empty cells around them, since size= is no whole multiple of their side",
    "filled": "{n} of {files} are meshes with holes, filled where most of six directions say inside (holes=fill)",
    "holes": "{n} of {files} are meshes with holes, which are not solid where the outside gets in: fill them by holes=fill, or close them",
    "shells": "{n} of {files} stay shells at this size: they have holes, and nothing inside them is closed off",
}
"""What is said of the files of a set; of each is told which of these it is."""
ASSUMED = ("labels", "unknown", "gray", "shares", "signed", "distances", "filled")
"""What of it says that something was assumed of values or surfaces."""


@dataclass(frozen=True)
class Form:
    """How files of shapes are read.

    Args:
        side: Resolution; the own one of grids, `MESH_SIDE` for meshes, where not given.
        up: The axis of arrays and meshes that points upwards: x, y or z.
        inside: What of arrays is occupied: "negative", "positive", or labels such as "1" or "1,3-5"; what their values say where empty.
        fill: Fill meshes with holes.
    """

    side: int | None = None
    up: str = "y"
    inside: str = ""
    fill: bool = False


def read(file: BinaryIO, name: str, form: Form, told: Counter[str] | None = None) -> list[np.ndarray]:
    """Read the grids of voxels of a file, each bool [D, H, W]: one, or as many as an array holds.

    Args:
        file: The shape.
        name: Its name; see `kind_of`.
        form: How it is read.
        told: Counts what is to be said of it, see `TOLD`.

    Raises:
        Rejected: This is no usable shape.
    """
    told = Counter() if told is None else told
    head, size = file.read(HEAD), file.seek(0, io.SEEK_END)
    file.seek(0)
    if not head:
        raise Rejected("empty file")
    kind = kind_of(head, name, size)
    told["stated up"] += form.up != "y" and kind in (*STATED_UP, "binvox")
    if kind == "binvox":
        return [resized(binvox(file.read()), form.side, told)]
    if kind in ("array", "mat"):
        found = (
            grids(array_of(file.read()), told, form.inside) if kind == "mat" else _array_file(file, name, told, form)
        )
        own = Counter[str]()
        told["grids"] += 1
        made = [resized(raised(grid, form.up), form.side, own) for grid in found]
        told["padded"] += own["padded"] > 0
        return made
    if kind in MESHES:
        vertices, faces = mesh(file, kind)
        placed, holes = vertices if kind in STATED_UP else turned(vertices, form.up), has_holes(vertices, faces)
        grid, shell = voxelized(placed, faces, form.side or MESH_SIDE, fill=holes and form.fill)
        if np.array_equal(grid, shell) and holes:
            told["shells"] += 1
        elif holes:
            told["filled" if form.fill else "holes"] += 1
        return [grid]
    raise Rejected(refusal(head, name, "shape"))


_BEGINNINGS: dict[str, re.Pattern[bytes]] = {
    "binvox": re.compile(rb"#binvox"),
    "array": re.compile(rb"\x93NUMPY|PK\x03\x04"),
    "mat": re.compile(rb"MATLAB [57]"),
    "glb": re.compile(rb"glTF"),
    "gltf": re.compile(rb"(\xef\xbb\xbf)?\s*\{(?s:.*)\"(asset|accessors|bufferViews|buffers|meshes|nodes)\"\s*:"),
    "ply": re.compile(rb"ply\r?\n"),
    "off": re.compile(rb"(\xef\xbb\xbf)?(\s*#[^\n]*\n)*\s*(ST)?C?N?4?n?OFF"),
    "stl": re.compile(rb"\s*solid\b[^\0]*\bfacet\s+normal\b"),
    "obj": re.compile(
        rb"(\xef\xbb\xbf)?(\s*(#|(mtllib|usemtl|o|g|s|vn|vt)\b)[^\n]*\n)*"
        rb"\s*v([ \t]+-?[\d.]+(e[-+]?\d+)?){3,7}[ \t]*(#[^\n]*)?(\r?\n|$)", re.IGNORECASE),
}  # fmt: skip
"""How files of shapes begin, those that begin for certain first."""


def kind_of(head: bytes, name: str, size: int = 0) -> str:
    """Tell what a file of a shape is by how it begins, and by its ending where that says nothing; empty where neither does.

    Args:
        head: Its first bytes.
        name: Its name.
        size: Bytes in all: those of a binary STL file follow from its number of triangles.
    """
    found = next((kind for kind, begins in _BEGINNINGS.items() if begins.match(head)), "")
    if not found and size > 84 and size == 84 + 50 * int.from_bytes(head[80:84], "little"):
        return "stl"
    ending = PurePosixPath(name).suffix.lower()[1:]
    if found or ending not in MESHES:
        return found
    other = what_is(head)
    return "" if other and other.group not in ("shape", "text") else ending


def raised(grid: np.ndarray, up: str) -> np.ndarray:
    """Turn the axis `up` of a grid [x, y, z] to the second, without mirroring."""
    if up == "z":
        return grid.transpose(0, 2, 1)[:, :, ::-1]
    return grid.transpose(1, 0, 2)[::-1] if up == "x" else grid


def occupied(values: np.ndarray, told: Counter[str] | None = None, inside: str = "") -> np.ndarray:
    """Return which cells of an array are occupied, bool: those that `inside` names, or where it is empty what the values say.

    Bool as it is. Whole numbers: 0 and 1; from 128 of 255 where some are between; labels, occupied above 0, where all are below 128
    (255 beside them is unknown, and empty). Floats: from 1/2 in [0, 1]. Floats of both signs: above 0, unless three quarters of the cells
    at the border are above 0; then they are distances, and what is below 0 is inside.

    Raises:
        Rejected: The values have no stated meaning.
    """
    told = Counter() if told is None else told
    if inside:
        return named(values, inside)
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


def named(values: np.ndarray, inside: str) -> np.ndarray:
    """Return which cells hold what is named: negative or positive values, or labels such as "1" or "1,3-5".

    Raises:
        Rejected: There are no such values, or they have no such meaning.
    """
    found = chosen_cells(values, inside)
    if found.any():
        return found
    if inside in ("negative", "positive"):
        raise Rejected(f"inside={inside}, but its values are from {values.min():g} to {values.max():g}")
    raise Rejected(f"inside={inside}, but its labels are {', '.join(f'{v:g}' for v in np.unique(values)[:10])}")


def chosen_cells(values: np.ndarray, inside: str) -> np.ndarray:
    """Return which cells hold what is named, as `named` does, also where none does.

    Raises:
        Rejected: The values are no finite numbers, or labels are named and they are not whole.
    """
    if values.dtype.kind not in "uifb" or not np.isfinite(values).all():
        raise Rejected("some values are not finite numbers; replace them, as by numpy.nan_to_num")
    if inside in ("negative", "positive"):
        return np.asarray(values < 0 if inside == "negative" else values > 0)
    rounded = np.rint(values) if values.dtype.kind == "f" else values
    if rounded is not values and np.abs(values - rounded).max(initial=0) > 1e-3:
        raise Rejected(f"inside={inside} names labels, and some of its values are no whole numbers")
    return np.isin(rounded, labels_in(inside))


def labels_in(inside: str) -> list[int]:
    """Read labels, such as "1,3-5".

    Raises:
        UserError: They are none.
    """
    parts = [re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", p.strip()) for p in inside.split(",")]
    found = [n for p in parts if p for n in range(int(p[1]), int(p[2] or p[1]) + 1)]
    if None in parts or not found:
        raise UserError(
            f"inside={inside}: give negative or positive, or labels that are occupied, such as inside=1 or inside=1,3-5"
        )
    return found


def resized(grid: np.ndarray, side: int | None, told: Counter[str] | None = None) -> np.ndarray:
    """Bring a grid to a cube of another side: any of a whole factor of finer cells, or cells repeated, with a few empty ones around them.

    Raises:
        Rejected: It is no cube, or a finer one by no whole factor, or more than an eighth of the side would be empty.
    """
    if side is None or grid.shape == (side,) * 3:
        return grid
    n = grid.shape[0]
    around = side % n if side > n else 0
    if len(set(grid.shape)) > 1 or (side < n and n % side) or around > side * MOST_AROUND:
        shape = "x".join(map(str, grid.shape))
        raise Rejected(f"{shape} cannot be brought to size={side}: grids have to be cubes, and sizes whole multiples")
    if side < n:
        f = n // side
        return np.asarray(grid.reshape(side, f, side, f, side, f).any((1, 3, 5)))
    if told is not None:
        told["padded"] += around > 0
    f = side // n
    return np.pad(
        grid.repeat(f, 0).repeat(f, 1).repeat(f, 2), [(around // 2, around - around // 2)] * 3, constant_values=False
    )


def binvox(data: bytes) -> np.ndarray:
    """Read the grid of a .binvox file (runs of value and length, x slowest and y fastest), bool [x, y, z].

    Raises:
        Rejected: It is damaged.
    """
    head, mark, runs = data.partition(b"\ndata\n")
    lines = [line.split() for line in head.splitlines()]
    dims = next((line[1:] for line in lines if line[:1] == [b"dim"]), [])
    if not mark or len(dims) != 3 or not all(d.isdigit() and int(d) > 0 for d in dims):
        raise Rejected("damaged: no header with dim and data; export it again")
    if max(int(d) for d in dims) > BINVOX_SIDE:
        raise Rejected(
            f"{b'x'.join(dims).decode()[:40]} cells: more than {BINVOX_SIDE} on a side; write it smaller, as by binvox -d 256"
        )
    x, z, y = (int(d) for d in dims)
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    if int(pairs[:, 1].sum(dtype=np.int64)) != x * y * z:
        raise Rejected(
            f"damaged: {int(pairs[:, 1].sum(dtype=np.int64))} of {x * y * z} cells are there; export it again"
        )
    return np.repeat(pairs[:, 0] > 0, pairs[:, 1]).reshape(x, z, y).transpose(0, 2, 1)


def voxelized(
    vertices: np.ndarray, faces: np.ndarray, side: int, *, fill: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Fill a mesh: return the solid that it encloses and its shell, bool [side, side, side], one cell away from each side of the cube.

    Args:
        vertices: Corners [V, 3].
        faces: Triangles [F, 3].
        side: Cells on a side.
        fill: It has holes, and what is inside all the same is filled, see `filling.voted`.

    Raises:
        Rejected: It has no extent.
    """
    used = vertices[np.unique(faces)]
    unit = float(np.abs(used).max()) or 1.0  # the extent of coordinates near the largest number is none
    low, high = used.min(0) / unit, used.max(0) / unit
    extent = float((high - low).max())
    if not extent > 0:
        raise Rejected("a mesh without extent: all its corners are at one place")
    placed = (vertices / unit - (low + high) / 2) * ((side - 2) * (1 - 1e-9) / extent) + side / 2
    if fill:
        faces = _once(placed, faces)
    shell = covered(placed[faces], side)
    return solid(shell | voted(placed[faces], side)) if fill else solid(shell), shell


def _once(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Leave out triangles that are there before, on whichever side they are seen: a wall of two sides is one surface."""
    corners = np.ascontiguousarray(vertices[faces].round(6)) + 0.0
    order = np.lexsort((corners[..., 2], corners[..., 1], corners[..., 0]), axis=1)
    same = np.take_along_axis(corners, order[..., None], 1).reshape(len(faces), 9)
    _, first = np.unique(same, axis=0, return_index=True)
    return faces[np.sort(first)]


def _array_file(file: BinaryIO, name: str, told: Counter[str], form: Form) -> np.ndarray:
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
    return grids(next(iter(parts.values()))[1], told, form.inside)


def chosen(found: dict[str, np.ndarray], where: str) -> dict[str, tuple[str, np.ndarray]]:
    """Choose the arrays of a file that are grids of voxels, by split, each with its name."""
    try:
        return arrays._examples(found, where, (3, 4, 5), "voxels [N,D,H,W]")
    except UserError as error:
        raise Rejected(str(error)) from None


def grids(array: np.ndarray, told: Counter[str] | None = None, inside: str = "") -> np.ndarray:
    """Read an array of a file as grids of voxels, bool [N, D, H, W].

    Raises:
        Rejected: Another shape, or values without a meaning.
    """
    if array.ndim == 5 and array.shape[1] == 1:
        array = array[:, 0]
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape or np.prod(array.shape[1:]) > MOST_CELLS:
        raise Rejected(f"shape {array.shape} is none of [D,H,W], [N,D,H,W], [N,1,D,H,W] with at most 256x256x256 cells")
    return occupied(array, told, inside)
