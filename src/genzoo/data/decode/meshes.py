"""One careful reader of meshes: OFF, OBJ, PLY here, STL and glTF by `trimesh`, all as vertices and triangles.

`trimesh` 5.2 refuses OFF and binary PLY with pentagons beside squares, and takes negative numbers in an OBJ of several objects for
vertices of the last one, so these three are read here.

| mesh | treatment |
|---|---|
| OFF, COFF, NOFF, STOFF; counts on the first line; comments | corners and faces; colours, normals and texture places are not looked at |
| OBJ | `v` and `f` lines, numbers from the beginning or (negative) from the end |
| PLY, ASCII and binary, either order of bytes | `vertex` and `face` |
| STL, ASCII and binary | by `trimesh` |
| GLB, and glTF with its buffers inside | by `trimesh`, every node at its place; y upwards by definition |
| PLY of Open3D's voxel grids (an element `voxel_size`) | the surface of the cells |
| faces of any number of corners | triangles, see `genzoo.data.decode.polygons` |
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from genzoo.data.decode.filling import surface
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.polygons import triangles

STATED_UP = ("glb", "gltf")
"""Formats that say which way is up: y."""
MOST_FACES = 2_000_000
"""Meshes with more triangles are refused."""
MOST_CELLS = 256**3
"""Grids with more cells are refused."""
_AGAIN = "export it again"
Found = tuple[np.ndarray, np.ndarray]
"""Vertices [V, 3] and triangles [F, 3]."""


def mesh(file: BinaryIO, kind: str) -> Found:
    """Read the vertices [V, 3] and triangles [F, 3] of a mesh file, as the file has them.

    Raises:
        Rejected: It is damaged, empty, or the library is not installed.
    """
    try:
        vertices, faces = _READERS[kind](file.read())
    except Rejected:
        raise
    except ImportError:
        raise Rejected(f"{kind.upper()} needs the extra: pip install 'genzoo[voxels]'") from None
    except Exception:  # whatever a parser throws at a hostile file
        raise Rejected(f"damaged: it is no whole {kind.upper()} file; {_AGAIN}") from None
    if vertices.ndim != 2 or faces.ndim != 2 or not len(faces):
        raise Rejected("an empty mesh: no faces; clouds of points are not read")
    if len(faces) > MOST_FACES:
        raise Rejected(f"{len(faces):,} faces: more than {MOST_FACES:,}; simplify it")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise Rejected(f"damaged: a face names a vertex that is not there; {_AGAIN}")
    if not np.isfinite(vertices[faces]).all():
        raise Rejected(f"some corners are not finite numbers; {_AGAIN}")
    return vertices, faces


def turned(vertices: np.ndarray, up: str) -> np.ndarray:
    """Turn the axis `up` (x, y or z) of vertices [V, 3] to y, without mirroring."""
    x, y, z = vertices.T
    return np.stack({"x": (-y, x, z), "y": (x, y, z), "z": (x, z, -y)}[up], 1)


def has_holes(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Tell whether some edge belongs to an odd number of faces: the surface ends there. Vertices at one place are one."""
    corners = np.ascontiguousarray(vertices[faces].reshape(-1, 3)) + 0.0  # -0 is 0
    _, number = np.unique(corners.view([("", corners.dtype)] * 3), return_inverse=True)
    number = number.reshape(-1, 3)
    whole = number[(number != np.roll(number, 1, 1)).all(1)]  # without faces that are lines
    edges = np.sort(np.stack([whole, np.roll(whole, -1, 1)], -1).reshape(-1, 2), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    return bool((count % 2).any())


def _off(data: bytes) -> Found:
    lines = (line.split(b"#")[0].split() for line in data.splitlines())
    rows = [line for line in lines if line]
    head = re.fullmatch(rb"(?:ST)?C?N?(4?n?)OFF(.*)", b" ".join(rows[0]), re.DOTALL)
    if head:
        if head[1]:
            raise Rejected("an OFF file of other than three dimensions; project it first")
        if b"BINARY" in head[2]:
            raise Rejected("a binary OFF file; save it as text, or as PLY")
        rest = head[2].split()
        rows = [rest, *rows[1:]] if rest else rows[1:]
    count, faces = int(rows[0][0]), int(rows[0][1])
    if len(rows) < 1 + count + faces:
        raise Rejected(f"damaged: {len(rows) - 1:,} of {count + faces:,} lines are there; {_AGAIN}")
    vertices = np.array([row[:3] for row in rows[1 : 1 + count]], np.float64)
    polygons = ([int(v) for v in row[1 : 1 + int(row[0])]] for row in rows[1 + count : 1 + count + faces])
    return vertices, triangles(vertices, polygons)


def _obj(data: bytes) -> Found:
    vertices: list[list[float]] = []
    polygons = []
    for line in data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines():
        key, *values = line.split(b"#")[0].split() or [b""]
        if key == b"v":
            vertices.append([float(v) for v in values[:3]])
        elif key == b"f":
            numbers = [int(v.split(b"/")[0]) for v in values]
            if 0 in numbers:
                raise Rejected(f"damaged: a face names vertex 0, and they begin at 1; {_AGAIN}")
            polygons.append([n - 1 if n > 0 else len(vertices) + n for n in numbers])
    corners = np.array(vertices, np.float64).reshape(-1, 3)
    return corners, triangles(corners, polygons)


_TYPES = {
    **dict.fromkeys((b"char", b"int8"), "i1"), **dict.fromkeys((b"uchar", b"uint8"), "u1"),
    **dict.fromkeys((b"short", b"int16"), "i2"), **dict.fromkeys((b"ushort", b"uint16"), "u2"),
    **dict.fromkeys((b"int", b"int32"), "i4"), **dict.fromkeys((b"uint", b"uint32"), "u4"),
    **dict.fromkeys((b"float", b"float32"), "f4"), **dict.fromkeys((b"double", b"float64"), "f8"),
}  # fmt: skip


def _ply(data: bytes) -> Found:
    end = re.search(rb"\nend_header[ \t]*\r?\n", data)
    if end is None:
        raise Rejected(f"damaged: its header has no end; {_AGAIN}")
    elements: list[tuple[bytes, int, list[tuple[bytes, str, str]]]] = []
    order = ""
    for words in (line.split() for line in data[: end.start()].splitlines()):
        if words[:1] == [b"format"]:
            order = {b"ascii": "", b"binary_little_endian": "<", b"binary_big_endian": ">"}[words[1]]
        elif words[:1] == [b"element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:2] == [b"property", b"list"]:
            elements[-1][2].append((words[4], order + _TYPES[words[3]], order + _TYPES[words[2]]))
        elif words[:1] == [b"property"]:
            elements[-1][2].append((words[2], order + _TYPES[words[1]], ""))
    body = data[end.end() :]
    rows = _rows_of_bytes(body, elements) if order else _rows_of_text(body, elements)
    vertices, polygons = np.empty((0, 3)), []
    cells = any(name == b"voxel_size" for name, _, _ in elements)
    for (name, count, properties), found in zip(elements, rows, strict=True):
        names = [p[0] for p in properties]
        if name == b"vertex":
            places = [names.index(axis) for axis in (b"x", b"y", b"z")]
            vertices = np.stack([np.asarray(found[p], np.float64) for p in places], 1).reshape(count, 3)
        elif name == b"face":
            place = next(i for i, n in enumerate(names) if n in (b"vertex_indices", b"vertex_index"))
            polygons = found[place]
    if cells:
        return _cells(vertices)
    return vertices, triangles(vertices, polygons)


def _cells(places: np.ndarray) -> Found:
    """Return the surface of the cells that a PLY file of Open3D's names by their places in a grid."""
    if not len(places) or not np.isfinite(places).all() or np.abs(places).max() > 2**20:
        raise Rejected(f"damaged: a grid of voxels without cells, or with cells far away; {_AGAIN}")
    places = np.rint(places).astype(np.int64)
    places -= places.min(0)
    sides = places.max(0) + 1
    if sides.prod() > MOST_CELLS:
        raise Rejected(f"{'x'.join(map(str, sides))} cells: too many; make it coarser")
    grid = np.zeros(sides, bool)
    grid[tuple(places.T)] = True
    vertices, faces = surface(grid)
    return vertices.astype(np.float64), faces


def _rows_of_text(body: bytes, elements: list[Any]) -> Iterator[list[list[Any]]]:
    """Yield the values of every property in a PLY file of text, element by element."""
    lines = iter(line for line in body.splitlines() if line.strip())
    for _, count, properties in elements:
        columns: list[list[Any]] = [[] for _ in properties]
        for _ in range(count):
            values = iter(next(lines).split())
            for column, (_, kind, length) in zip(columns, properties, strict=True):
                read = float if kind[-2] == "f" else int
                column.append([read(next(values)) for _ in range(int(next(values)))] if length else read(next(values)))
        yield columns


def _rows_of_bytes(body: bytes, elements: list[Any]) -> Iterator[list[Any]]:
    at = 0
    for _, count, properties in elements:
        if count:
            # All rows are like the first, or, where lists differ in length, each is read by itself.
            row = _row_at(body, at, properties)
            table = np.frombuffer(body, row, min(count, (len(body) - at) // row.itemsize), at)
            alike = len(table) == count and all((table[n] == table[n][0]).all() for n in row.names or () if n[0] == "n")
            if not alike:
                rows, place = [], at
                for _ in range(count):
                    row = _row_at(body, place, properties)
                    rows.append(np.frombuffer(body, row, 1, place)[0])
                    place += row.itemsize
            at = at + count * row.itemsize if alike else place
            yield [table[f"v{i}"] if alike else [r[f"v{i}"] for r in rows] for i in range(len(properties))]
        else:
            yield [[] for _ in properties]


def _row_at(body: bytes, at: int, properties: list[tuple[bytes, str, str]]) -> np.dtype[Any]:
    """Return the layout of the row that begins at a place: v0, v1 ... for the properties, and n0, n1 ... for the lengths of lists."""
    fields: list[Any] = []
    for i, (_, kind, length) in enumerate(properties):
        if length:
            fields.append((f"n{i}", length))
            end = at + np.dtype(fields).itemsize
            size = int(np.frombuffer(body, length, 1, end - np.dtype(length).itemsize)[0])
            fields.append((f"v{i}", kind, (size,)))
        else:
            fields.append((f"v{i}", kind))
    return np.dtype(fields)


def _stl(data: bytes) -> Found:
    import trimesh

    return _taken(trimesh.load_mesh(io.BytesIO(data), file_type="stl", process=False))


def _gltf(data: bytes) -> Found:
    import trimesh

    binary = data[:4] == b"glTF"
    told = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")] if binary else data)
    needed = [e for e in told.get("extensionsRequired", []) if "compression" in e]
    if needed:
        raise Rejected(f"its geometry is compressed ({needed[0]}); save it without: gltf-transform copy, or Blender")
    if any(not b["uri"].startswith("data:") for b in told.get("buffers", []) if "uri" in b):
        raise Rejected("its geometry stands in other files; save it as one .glb")
    accessors = [a["count"] for a in told.get("accessors", [])]
    each = [
        sum(accessors[p.get("indices", p["attributes"]["POSITION"])] for p in m["primitives"]) // 3
        for m in told.get("meshes", [])
    ]
    faces = sum(each[n["mesh"]] for n in told.get("nodes", []) if "mesh" in n)
    if max([faces, *(n // 3 for n in accessors)]) > MOST_FACES:
        raise Rejected(f"its header promises more than {MOST_FACES:,} faces; simplify it")
    kind = "glb" if binary else "gltf"
    return _taken(trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False, skip_materials=True).to_mesh())


def _taken(loaded: Any) -> Found:
    return np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int64)


_READERS: dict[str, Callable[[bytes], Found]] = {
    "off": _off, "obj": _obj, "ply": _ply, "stl": _stl, "glb": _gltf, "gltf": _gltf,
}  # fmt: skip
MESHES = tuple(_READERS)
"""Endings of the meshes that are read."""
