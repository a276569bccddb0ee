"""Meshes and grids as programs write them: polygons, headers, orders of bytes, scenes, axes, holes, ranges of values."""

import base64
import io
import itertools
import json
import re
import struct

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.decode import solids
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.meshes import has_holes, mesh, turned
from genzoo.data.decode.polygons import triangles
from tests.motion_help import all_of, clips

pytest.importorskip("trimesh")
pytestmark = pytest.mark.usefixtures("fresh_cache")


# ---- one prism in every format ---------------------------------------------------------------------------------------

OUTLINE = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
"""A pentagon with a notch, so a fan of triangles covers what is outside."""
POINTS = [(x, y, z) for z in (0, 2) for x, y in OUTLINE]
FACES = [(4, 3, 2, 1, 0), (5, 6, 7, 8, 9), *((i, (i + 1) % 5, (i + 1) % 5 + 5, i + 5) for i in range(5))]
VOLUME = 20.0


def lines(rows):
    return "".join(" ".join(f"{v:g}" for v in row) + "\n" for row in rows)


def off(head="OFF\n10 7 0\n", corner=(), face=()):
    return (head + lines((*p, *corner) for p in POINTS) + lines((len(f), *f, *face) for f in FACES)).encode()


def obj(name=lambda i: str(i + 1), between="\n", head=""):
    return (head + "".join(f"v {x} {y} {z}{between}" for x, y, z in POINTS)
            + "".join(f"f {' '.join(map(name, f))}{between}" for f in FACES)).encode()  # fmt: skip


def ply(order, name="vertex_indices", colour=False):
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    more = "property uchar red\n" if colour else ""
    head = f"ply\nformat {form} 1.0\ncomment by hand\nelement vertex 10\nproperty float x\nproperty float y\nproperty float z\n{more}"
    head += f"element face 7\nproperty list uchar int {name}\n{'property uchar flags' + chr(10) if colour else ''}end_header\n"
    tail = (7,) if colour else ()
    if not order:
        return head.encode() + (lines((*p, *tail) for p in POINTS) + lines((len(f), *f, *tail) for f in FACES)).encode()
    packed = b"".join(struct.pack(f"{order}3f{len(tail)}B", *p, *tail) for p in POINTS)
    return (
        head.encode()
        + packed
        + b"".join(struct.pack(f"{order}B{len(f)}i{len(tail)}B", len(f), *f, *tail) for f in FACES)
    )


def corners():
    return np.array(POINTS, float)[triangles(np.array(POINTS, float), FACES)]


def stl(text):
    if text:
        each = "".join(
            "facet normal 0 0 0\nouter loop\n"
            + "".join(f"vertex {x} {y} {z}\n" for x, y, z in t)
            + "endloop\nendfacet\n"
            for t in corners()
        )
        return f"solid notch\n{each}endsolid notch\n".encode()
    packed = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in corners())
    return b"solid, says the header of a binary file".ljust(80) + struct.pack("<I", len(corners())) + packed


PRISMS = {
    "off": off(), "off on one line": off("OFF 10 7 0\n"), "off without a space": off("OFF10 7 0\n"),
    "off with comments": off("# by hand\nOFF\n# counts\n\n10 7 0 # all\n"), "off without a mark": off("10 7 0\n"),
    "off without edges": off("OFF\n10 7\n"), "coff": off("COFF\n10 7 0\n", (255, 0, 0, 255)), "stnoff": off("STNOFF\n10 7 0\n", (0, 0, 1, 0, 0)),
    "off with colours of faces": off(face=(0.5, 0.5, 0.5)), "off of windows": off().replace(b"\n", b"\r\n"),
    "obj": obj(), "obj from the end": obj(lambda i: str(i - 10)), "obj with normals": obj(lambda i: f"{i + 1}//1", head="vn 0 0 1\n"),
    "obj with textures": obj(lambda i: f"{i + 1}/1/1", head="mtllib a.mtl\nvt 0 0\nvn 0 0 1\no thing\n"), "obj of windows": obj(between="\r\n"),
    "obj with long lines": obj(head="# x\n").replace(b"f 5 4 ", b"f 5 4 \\\n"),
    "ply": ply(""), "ply little": ply("<"), "ply big": ply(">"), "ply with more": ply("", colour=True), "ply little with more": ply("<", colour=True),
    "ply vertex_index": ply("<", "vertex_index"), "stl text": stl(True), "stl binary": stl(False),
}  # fmt: skip


@pytest.mark.parametrize("what", PRISMS)
def test_a_prism_of_pentagons_and_squares_is_the_same_solid_in_every_format(what):
    kind = next(k for k in ("off", "obj", "ply", "stl") if k in what)
    vertices, faces = mesh(io.BytesIO(PRISMS[what]), kind)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(VOLUME)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(2 * 10 + 2 * (12 + 2 * 13**0.5)), (
        "no triangle reaches beyond its face"
    )
    assert not has_holes(vertices, faces)
    (grid,) = solids.read(io.BytesIO(PRISMS[what]), f"a.{kind}", solids.Form(18))
    # 16 cells for 4 units in x and y, 8 for z; cells whose middle is inside, and those that the surface touches.
    x, y = np.meshgrid((np.arange(18) - 0.5) / 4, (np.arange(18) - 0.5) / 4, indexing="ij")
    inside = (x > 0) & (x < 4) & (y > 0) & (y < np.where(x < 2, 4 - 1.5 * x, 1.5 * x - 2))
    notch = (x > 0) & (x < 4) & (y > np.where(x < 2, 4 - 1.5 * x, 1.5 * x - 2) + 0.75)
    for z in range(18):
        layer = grid[:, :, z]
        assert layer[inside].all() if 5 <= z <= 12 else not layer.any()
        assert not layer[notch].any()


def test_numbers_from_the_end_count_from_where_they_stand():
    far = "".join(f"v {x + 10} {y} {z}\n" for x, y, z in POINTS).encode()
    faces = "".join(f"f {' '.join(str(i - 10) for i in f)}\n" for f in FACES).encode()
    vertices, found = mesh(io.BytesIO(b"o a\n" + obj(lambda i: str(i - 10)) + b"o b\n" + far + faces), "obj")
    assert sorted(np.unique(vertices[found][..., 0])) == [0, 2, 4, 10, 12, 14]


@pytest.mark.parametrize(
    ("outline", "area"),
    [
        ([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], 3),
        ([(0, 0), (4, 0), (4, 3), (3, 3), (3, 1), (1, 1), (1, 3), (0, 3)], 8),
        ([(0, 0), (1, 3), (2, 0), (3, 3), (4, 0), (4, -1), (0, -1)], 10),
        ([(0, 0), (3, 0), (1, 1), (0, 3)], 3),
        # a square with a square hole, to which one edge leads and back
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)], 12),
    ],
)
@pytest.mark.parametrize("unit", [1, 1e-70, 1e70])
def test_faces_that_are_not_convex_are_covered_exactly(outline, area, unit):
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    for points in (outline, outline[::-1], outline[2:] + outline[:2]):
        vertices = np.array(points, float) @ frame * unit
        a, b, c = vertices[triangles(vertices, [range(len(points))])].transpose(1, 0, 2)
        across = np.cross(b - a, c - a)
        assert len(across) == len(points) - 2
        assert np.linalg.norm(across, axis=1).sum() / 2 == pytest.approx(area * unit**2)
        assert (across @ across[0] > -1e-9 * unit**4).all(), "all face the same way"


# ---- scenes ----------------------------------------------------------------------------------------------------------

CUBE = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def gltf(nodes, *, binary=True, uri=None, **more):
    """A scene of cubes [0, 1]³ from its nodes."""
    vertices = np.array(list(itertools.product((0, 1), repeat=3)), "<f4")
    faces = triangles(vertices.astype(float), CUBE).astype("<u2")
    data = vertices.tobytes() + faces.tobytes()
    told = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 96}, {"buffer": 0, "byteOffset": 96, "byteLength": 72}],
        "buffers": [{"byteLength": len(data)}], **more,
    }  # fmt: skip
    if not binary:
        told["buffers"][0]["uri"] = uri or "data:application/octet-stream;base64," + base64.b64encode(data).decode()
        return json.dumps(told).encode()
    text = json.dumps(told).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


SCENE = [
    {"children": [1, 2], "scale": [2, 2, 2]},
    {"mesh": 0, "translation": [0, 3, 0]},
    {"mesh": 0, "rotation": [0, 0, 2**-0.5, 2**-0.5]},  # a quarter turn about z: x to y, y to -x
]


@pytest.mark.parametrize("binary", [True, False])
def test_every_node_of_a_scene_stands_at_its_place_with_y_upwards(binary):
    kind = "glb" if binary else "gltf"
    vertices, faces = mesh(io.BytesIO(gltf(SCENE, binary=binary)), kind)
    blocks = vertices[faces].reshape(2, -1, 3)
    assert {tuple(np.rint([b.min(0), b.max(0)]).astype(int).ravel()) for b in blocks} == {
        (0, 6, 0, 2, 8, 2),
        (-2, 0, 0, 0, 2, 2),
    }
    for up in ("y", "z"):
        (grid,) = solids.read(io.BytesIO(gltf(SCENE, binary=binary)), f"a.{kind}", solids.Form(18, up))
        filled = np.flatnonzero(grid.any((0, 2)))
        assert (filled[0], filled[-1]) == (1, 16), "8 units high, in 16 cells"
        assert not grid[:, 6:12].any()
        assert grid[9:13, 14, 9].all()
        assert not grid[:8, 14].any()
        assert grid[5:8, 3, 9].all()
        assert not grid[11:, 3].any()


def test_scenes_whose_geometry_is_elsewhere_or_compressed_are_named():
    for data, word in (
        (gltf(SCENE, binary=False, uri="cube.bin"), "stands in other files; save it as one .glb"),
        (gltf(SCENE, extensionsRequired=["KHR_draco_mesh_compression"]), "compressed.*KHR_draco_mesh_compression"),
        (gltf(SCENE)[:300], "damaged: it is no whole GLB file"),
    ):
        with pytest.raises(Rejected, match=word):
            solids.read(io.BytesIO(data), "a.glb" if data[:4] == b"glTF" else "a.gltf", solids.Form(16))


# ---- upwards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_the_axis_that_points_upwards_is_the_second_and_nothing_is_mirrored(folder, up):
    axis = "xyz".index(up)
    tall = np.array(list(itertools.product((0, 1), repeat=3)), float)
    tall[:, axis] *= 3
    tall[tall[:, axis] > 0] *= [0.5 if a != axis else 1 for a in range(3)]  # narrower above
    body = "".join(f"v {x} {y} {z}\n" for x, y, z in tall) + "".join(
        f"f {' '.join(str(i + 1) for i in f)}\n" for f in CUBE
    )
    (grid,) = solids.read(io.BytesIO(body.encode()), "a.obj", solids.Form(18, up))
    layers = grid.sum((0, 2))
    assert (np.flatnonzero(layers)[[0, -1]] == [1, 16]).all()
    assert layers[1] > layers[8] > layers[16] > 0
    (own,) = solids.read(io.BytesIO(body.encode()), "a.obj", solids.Form(18))
    assert np.array_equal(solids.raised(own, up), grid), "grids are turned as meshes are"
    basis = turned(np.eye(3), up)
    assert np.linalg.det(basis) == pytest.approx(1)
    assert np.array_equal(basis[axis], [0, 1, 0])
    (folder / "a.obj").write_bytes(body.encode())
    np.save(folder / "b.npy", own)
    first, second = all_of(folder, kind="voxels", size=18, up=up)
    assert np.array_equal(first, second)
    assert np.array_equal(first[0] > 0, grid)


def test_up_is_for_shapes_and_files_that_state_their_axis_are_said(folder):
    with pytest.raises(UserError, match="up= is the upward axis of shapes"):
        open_data(DataSettings("digits", up="z"), quiet=True)
    (folder / "a.glb").write_bytes(gltf(SCENE))
    (folder / "b.obj").write_bytes(obj())
    assert any("1 of 2 files state which way is up" in n for n in clips(folder, kind="voxels", up="z").notes)
    assert not any("way is up" in n for n in clips(folder, kind="voxels").notes)
    with pytest.raises(UserError, match="size=300 is too fine"):
        clips(folder, kind="voxels", size=300)


# ---- holes -----------------------------------------------------------------------------------------------------------


def cube(*, without=None, shift=0, first=0):
    points = "".join(f"v {x + shift} {y} {z}\n" for x, y, z in itertools.product((0, 1), repeat=3))
    return points + "".join(f"f {' '.join(str(i + 1 + first) for i in f)}\n" for f in CUBE if f != without)


def test_meshes_with_holes_are_said_and_shells_apart(folder):
    (folder / "closed.obj").write_text(cube())
    (folder / "open.obj").write_text(cube(without=CUBE[0]))
    (folder / "both.obj").write_text(cube() + cube(without=CUBE[0], shift=3, first=8))
    dataset = clips(folder, kind="voxels", size=16, holdout=0)
    assert len(dataset) == 3
    for words in ("1 of 3 files are meshes with holes", "1 of 3 files stay shells at this size"):
        assert any(words in n for n in dataset.notes)
    (shell,) = solids.read(io.BytesIO(cube(without=CUBE[0]).encode()), "a.obj", solids.Form(16))
    assert not shell[4:12, 4:12, 4:12].any()
    assert not any("holes" in n for n in clips(folder / "closed.obj", kind="voxels").notes)


# ---- what is occupied ------------------------------------------------------------------------------------------------

AT = np.stack(np.meshgrid(*[(np.arange(12) - 5.5)] * 3, indexing="ij"))
DISTANCE = np.sqrt((AT**2).sum(0)) - 4
BALL = DISTANCE < 0
NOISE = np.random.default_rng(0).integers(0, 60, BALL.shape)
VALUES = {
    "bool": (BALL, None), "0 and 1": (BALL.astype(np.uint8), None), "0 and 255": (BALL.astype(np.uint8) * 255, None),
    "0 and 2": (BALL.astype(np.int64) * 2, "labels"), "0 and 200": (BALL.astype(np.uint8) * 200, "gray"),
    "labels": ((BALL * (1 + AT[0].astype(int) % 7)).astype(np.uint8), "labels"),
    "labels as int32": ((BALL * (1 + AT[0].astype(int) % 7)).astype(np.int32), "labels"),
    "labels and 255": (np.where(AT[1] > 4, 255, BALL * (1 + AT[0].astype(int) % 7)).astype(np.uint8), "unknown"),
    "gray levels": ((BALL * 140 + NOISE).astype(np.uint8), "gray"),
    "gray levels to 255": (np.where(BALL, 255 - NOISE, NOISE).astype(np.uint8), "gray"),
    "floats 0 and 1": (BALL.astype(np.float32), None), "shares": (np.where(BALL, 0.51, 0.49), "shares"),
    "-1 and 1": (BALL * 2.0 - 1, "signed"), "tanh": (np.tanh(-DISTANCE), "signed"), "logits": (-DISTANCE * 9, "signed"),
    "distances": (DISTANCE.astype(np.float32), "distances"), "short distances": (DISTANCE / 12, "distances"),
    "truncated distances": (DISTANCE.clip(-1, 1), "distances"), "half floats": (DISTANCE.astype(np.float16), "distances"),
}  # fmt: skip


@pytest.mark.parametrize("what", VALUES)
def test_what_is_occupied(folder, what):
    values, key = VALUES[what]
    np.save(folder / "a.npy", np.stack([values, values]))
    (folder / "many").mkdir()
    for i in range(2):
        np.save(folder / "many" / f"{i}.npy", values)
    for source, told in ((folder / "a.npy", "1 of 1 array"), (folder / "many", "2 of 2 files")):
        dataset = clips(source, kind="voxels", holdout=0)
        assert all(np.array_equal(g[0] > 0, BALL) for g in np.array(dataset.fields["voxels"]))
        full = f"grids are {BALL.mean():.1%} to {BALL.mean():.1%} full, the middle one {BALL.mean():.1%}"
        assert dataset.notes == ([solids.TOLD[key].format(n=told.split()[0], files=told[5:]), full] if key else [])


def test_random_grids_of_both_signs_are_no_distances():
    grid = np.random.default_rng(0).random((8, 8, 8)) > 0.5
    assert np.array_equal(solids.occupied(grid * 1.8 - 0.9), grid)


def test_values_without_a_meaning_are_refused_with_what_has_one():
    for values in (
        np.full((4, 4, 4), 300),
        np.full((4, 4, 4), -1),
        np.full((4, 4, 4), 7.5),
        np.zeros((4, 4, 4), complex),
    ):
        with pytest.raises(Rejected, match="give bool, 0 and 1, labels"):
            solids.occupied(values)
    with pytest.raises(Rejected, match="not finite numbers; replace them"):
        solids.occupied(np.full((4, 4, 4), np.nan))


# ---- what is left out ------------------------------------------------------------------------------------------------


def zipped(**more):
    buffer = io.BytesIO()
    np.savez(buffer, **more)
    return buffer.getvalue()


OBJECT = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
BAD = {
    "binary.off": (b"OFF BINARY\n" + bytes(90), "binary OFF file; save it as text"),
    "deep.off": (b"4OFF\n1 1 0\n0 0 0 0\n3 0 0 0\n", "other than three dimensions"),
    "cut.off": (off()[:60], "lines are there; export it again"),
    "words.off": (b"OFF\nten seven\n", "damaged: it is no whole OFF file"),
    "beyond.off": (off().replace(b"5 4 3 2 1 0", b"5 4 3 2 1 90"), "a vertex that is not there"),
    "zero.obj": (obj().replace(b"f 5 4 3", b"f 0 4 3"), "vertex 0"),
    "cloud.obj": (b"v 0 0 0\nv 1 1 1\n", "no faces; clouds of points"),
    "cloud.ply": (ply("").replace(b"element face 7", b"element face 0"), "no faces"),
    "head.ply": (b"ply\nformat ascii 1.0\n", "no end"),
    "cut.ply": (ply("<")[:-20], "damaged: it is no whole PLY file"),
    "list.ply": (ply("").replace(b"uchar int", b"uchar what"), "damaged: it is no whole PLY file"),
    "noise.stl": (bytes(range(128, 256)) * 3, "damaged|no faces"),
    "flat.off": (b"OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n", "without extent"),
    "far.off": (b"OFF\n3 1 0\ninf 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "not finite"),
    "a.fbx": (b"Kaydara FBX Binary  \0" + bytes(90), "an FBX shape, which is not read: save it as"),
    "a.png": (b"\x89PNG\r\n\x1a\n" + bytes(90), "a PNG picture, not a shape"),
    "a.txt": (b"hello\n" * 9, "text, not a shape"),
    "cut.npz": (zipped(voxels=BALL)[:-90], "damaged"),
    "parts.npz": (zipped(x_train=BALL[None], x_test=BALL[None]), "parts of its own .test, train.: give this file alone"),
    "object.npy": (b"\x93NUMPY\x01\0" + struct.pack("<H", 62) + OBJECT.ljust(61) + b"\n" + bytes(9), "objects"),
    "zero.npy": (b"", "empty file"),
}  # fmt: skip


def test_what_is_left_out_is_named_in_words_of_our_own(folder):
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    np.save(folder / "good.npy", BALL)
    left = dict(clips(folder, kind="voxels").report)
    assert {n: (w, left.get(n)) for n, (_, w) in BAD.items() if not re.search(w, left.get(n, "-"))} == {}
    assert left.keys() == BAD.keys()
    inner = (
        "kwarg",
        "numpy",
        "ndarray",
        "index",
        "NoneType",
        "BadZip",
        "Expecting",
        "invalid literal",
        "buffer",
        "dtype",
    )
    assert not [r for r, w in itertools.product(left.values(), inner) if w in r]
