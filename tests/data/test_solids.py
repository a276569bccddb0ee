"""What shapes become: solids by value, holes that are filled, what counts as inside, and files of other programs and sets."""

import io
import itertools
import json
import re
import struct
import sys

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.decode import solids
from genzoo.data.decode.filling import covered, solid, surface, voted
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.meshes import has_holes, mesh
from genzoo.data.drawing.solids import binvox, save_model
from tests.data.test_meshes import CUBE, PRISMS, gltf
from tests.motion_help import all_of, ball, clips

trimesh = pytest.importorskip("trimesh")
pytestmark = pytest.mark.usefixtures("fresh_cache")


def read(data, name="a.bin", side=16, **how):
    (grid,) = solids.read(io.BytesIO(data), name, solids.Form(side, **how))
    return grid


def text_of(vertices, faces):
    return ("OFF\n" + f"{len(vertices)} {len(faces)} 0\n" + "".join(" ".join(map(repr, map(float, v))) + "\n" for v in vertices)
            + "".join(f"{len(f)} " + " ".join(map(str, f)) + "\n" for f in faces)).encode()  # fmt: skip


# ---- volumes ---------------------------------------------------------------------------------------------------------

RING = trimesh.creation.torus(1, 0.4, major_sections=96, minor_sections=48)
PRISM = trimesh.creation.extrude_triangulation(
    np.array([(0, 0), (6, 0), (6, 6), (4, 6), (4, 2), (2, 2), (2, 6), (0, 6)], float),
    np.array([(0, 1, 4), (0, 4, 5), (1, 2, 3), (1, 3, 4), (0, 5, 6), (0, 6, 7)]), 3,
)  # fmt: skip
BODIES = {
    "ball": (trimesh.creation.icosphere(subdivisions=5), 4 / 3 * np.pi),
    "ring": (RING, 2 * np.pi**2 * 0.4**2),
    "a U of eight corners": (PRISM, 28 * 3),
}


@pytest.mark.parametrize("what", BODIES)
def test_the_volume_of_a_solid_lies_between_that_of_the_cells_inside_and_of_those_touched(what):
    body, volume = BODIES[what]
    side = 64
    vertices, faces = np.asarray(body.vertices), np.asarray(body.faces)
    grid, shell = solids.voxelized(vertices, faces, side)
    cell = ((side - 2) / np.ptp(vertices, axis=0).max()) ** 3
    assert int((grid & ~shell).sum()) < volume * cell < int(grid.sum())
    assert float((grid & ~shell).sum() + shell.sum() / 2) == pytest.approx(volume * cell, rel=0.05)


def test_every_cell_that_a_triangle_crosses_is_found_or_its_neighbour_is():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(2, 14, (1, 3, 3))
        shell = covered(corners, 16)
        wide = np.pad(shell, 1)
        near = np.any([np.roll(wide, s, a) for a in range(3) for s in (-1, 0, 1)], 0)[1:-1, 1:-1, 1:-1]
        for _ in range(200):
            at = rng.dirichlet([1, 1, 1]) @ corners[0]
            assert near[tuple(np.floor(at).astype(int))]


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1e12, 1e300])
def test_coordinates_are_in_any_unit(unit):
    vertices, faces = np.asarray(RING.vertices), np.asarray(RING.faces)
    assert np.array_equal(solids.voxelized(vertices * unit, faces, 24)[0], solids.voxelized(vertices, faces, 24)[0])
    assert np.array_equal(read(text_of(vertices * unit, faces), side=24), solids.voxelized(vertices, faces, 24)[0])


# ---- holes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BODIES)
def test_a_surface_with_many_small_holes_is_filled_as_the_whole_one(what):
    body = BODIES[what][0]
    vertices, faces = np.asarray(body.vertices), np.asarray(body.faces)
    whole, _ = solids.voxelized(vertices, faces, 24)
    large = faces if len(faces) > 100 else np.asarray(body.subdivide().subdivide().faces)
    vertices = vertices if len(faces) > 100 else np.asarray(body.subdivide().subdivide().vertices)
    torn = large[np.random.default_rng(0).random(len(large)) > 0.1]
    assert has_holes(vertices, torn)
    filled, shell = solids.voxelized(vertices, torn, 24, fill=True)
    assert (filled ^ whole).sum() < 0.02 * whole.sum()
    assert shell.sum() < filled.sum()
    closed = voted(((vertices - vertices.min(0)) * 11 + 1)[large], 40)
    assert closed.any(), "of a closed surface the vote is what is inside"
    assert (closed & ~solid(covered(((vertices - vertices.min(0)) * 11 + 1)[large], 40))).sum() == 0


def test_the_hole_of_a_ring_stays_and_a_sheet_encloses_nothing():
    vertices, faces = np.asarray(RING.vertices), np.asarray(RING.faces)
    torn = faces[np.random.default_rng(1).random(len(faces)) > 0.1]
    grid, _ = solids.voxelized(vertices, torn, 24, fill=True)
    assert not grid[11:13, 11:13, 11:13].any()
    sheet = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.2], [0, 1, 0]], float)
    flat, shell = solids.voxelized(sheet, np.array([[0, 1, 2], [0, 2, 3]]), 24, fill=True)
    assert np.array_equal(flat, shell)


def test_a_wall_of_two_sides_is_one_surface():
    corners = np.array(list(itertools.product((0, 1), repeat=3)), float)
    faces = np.concatenate([[f[:3], [f[0], f[2], f[3]]] for f in CUBE[1:]])
    both = np.concatenate([faces, faces[:, ::-1]])
    one, two = (solids.voxelized(corners, f, 16, fill=True)[0] for f in (faces, both))
    assert np.array_equal(one, two)
    assert one[1:-1, 1:-1, 1:-1].all()


def test_holes_are_filled_where_that_is_asked_for_and_said(folder):
    corners = np.array(list(itertools.product((0, 1), repeat=3)), float)
    (folder / "open.off").write_bytes(text_of(corners, CUBE[1:]))
    (folder / "closed.off").write_bytes(text_of(corners, CUBE))
    (folder / "sheet.off").write_bytes(text_of(corners, CUBE[:1]))
    kept, filled = (clips(folder, kind="voxels", size=16, holdout=0, holes=h) for h in ("keep", "fill"))
    assert sorted(int((g > 0).sum()) for g in np.array(kept.fields["voxels"])) == [196, 14**3 - 12**2 * 13, 14**3]
    assert sorted(int((g > 0).sum()) for g in np.array(filled.fields["voxels"])) == [196, 14**3, 14**3]
    assert next(n for n in kept.notes if "shells" in n).startswith("2 of 3 files stay shells")
    assert next(n for n in filled.notes if "shells" in n).startswith("1 of 3 files stay shells")
    assert any(n.startswith("1 of 3 files are meshes with holes, filled") for n in filled.notes)
    with pytest.raises(UserError, match="holes= is for meshes of shapes"):
        open_data(DataSettings("digits", holes="fill"), quiet=True)


# ---- what is inside --------------------------------------------------------------------------------------------------

AT = np.stack(np.meshgrid(*[(np.arange(12) - 5.5)] * 3, indexing="ij"))
DISTANCE = np.sqrt((AT**2).sum(0)) - 4
LABELS = np.where(DISTANCE < -2, 2, np.where(DISTANCE < 0, 1, 0))


def test_what_is_inside_can_be_said(folder):
    np.save(folder / "a.npy", -DISTANCE.clip(-9, 0.5))  # positive inside, and the border says nothing of it
    for inside, wanted in (("positive", DISTANCE < 0), ("negative", DISTANCE > 0)):
        dataset = clips(folder / "a.npy", kind="voxels", inside=inside, holdout=0)
        assert np.array_equal(np.array(dataset.fields["voxels"])[0, 0] > 0, wanted)
        full = f"{wanted.mean():.1%}"
        assert dataset.notes[0] == f"inside={inside}: grids are {full} to {full} full, the middle one {full}"
    np.save(folder / "a.npy", LABELS.astype(np.float32) * (1 - 1e-7))
    for inside, wanted in (("2", LABELS == 2), ("1", LABELS == 1), ("1,2", LABELS > 0), ("0-1", LABELS < 2)):
        assert np.array_equal(all_of(folder / "a.npy", kind="voxels", inside=inside)[0, 0] > 0, wanted)


@pytest.mark.parametrize(
    ("inside", "values", "words"),
    [
        ("negative", LABELS, "inside=negative, but its values are from 0 to 2"),
        ("7", LABELS, "inside=7, but its labels are 0, 1, 2"),
        ("1", DISTANCE, "inside=1 names labels, and some of its values are no whole numbers"),
        ("negative", np.full((4, 4, 4), np.nan), "not finite"),
    ],
)
def test_what_is_not_there_is_said(folder, inside, values, words):
    np.save(folder / "a.npy", values)
    np.save(
        folder / "b.npy",
        -ball(len(values)).astype(np.int8) if inside == "negative" else ball(len(values)) * int(inside),
    )
    dataset = clips(folder, kind="voxels", inside=inside)
    assert len(dataset) == 1
    ((name, reason),) = dataset.report
    assert name == "a.npy"
    assert words in reason


def test_inside_that_is_nothing_is_refused_before_anything_is_read(folder):
    np.save(folder / "a.npy", LABELS)
    for inside in ("out", "1-", "-1", "1;2", "2-1"):
        with pytest.raises(UserError, match="give negative or positive, or labels"):
            clips(folder, kind="voxels", inside=inside)
    with pytest.raises(UserError, match="inside= says what of grids"):
        open_data(DataSettings("digits", inside="1"), quiet=True)


def test_labels_of_a_segmentation_are_shapes_with_the_head_up(folder):
    pytest.importorskip("nibabel")
    from tests.scan_files import nifti

    labels = np.zeros((12, 12, 12), np.uint8)
    labels[4:8, 4:8, 2:6], labels[4:8, 4:8, 6:11] = 1, 2  # the second nearer to the head, in RAS
    nifti(folder / "a.nii.gz", labels, np.eye(4))
    nifti(folder / "b.nii.gz", labels * 0, np.eye(4))
    dataset = clips(folder, kind="voxels", inside="2", size=12, holdout=0)
    (grid,) = np.array(dataset.fields["voxels"])[:, 0]
    assert dataset.facts()["levels"] == 2
    wanted = np.zeros((12, 12, 12), bool)
    wanted[4:8, 6:11, 4:8] = True
    assert np.array_equal(grid > 0, wanted)
    assert set(np.unique(grid)) == {0, 255}
    assert any("none of its cells holds inside=2" in why for _, why in dataset.report)
    assert any(n.startswith("inside=2: grids are 4.6% to 4.6% full") for n in dataset.notes)
    with pytest.raises(UserError, match="give one of them"):
        clips(folder, kind="voxels", inside="2", gray_window=(0, 1))


# ---- content decides -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [w for w in PRISMS if w != "off without a mark"])
def test_a_mesh_is_what_it_holds_whatever_it_is_called(what):
    kind = next(k for k in ("off", "obj", "ply", "stl") if k in what)
    grid = read(PRISMS[what], f"a.{kind}")
    for name in ("a", "a.bin", *(f"a.{other}" for other in ("off", "obj", "ply", "stl", "npy") if other != kind)):
        assert np.array_equal(read(PRISMS[what], name), grid), name


def test_grids_and_scenes_are_what_they_hold(folder):
    grid = ball(16)
    buffer = io.BytesIO()
    np.save(buffer, grid)
    for data in (buffer.getvalue(), binvox(grid)):
        assert np.array_equal(read(data, "a.stl"), grid)
    nodes = [{"mesh": 0}]
    assert np.array_equal(read(gltf(nodes), "a.obj"), read(gltf(nodes, binary=False), "a.off"))
    assert solids.kind_of(b"v 1 2 3 is how a text begins", "a.txt") == ""
    assert solids.kind_of(b"solid ground is what this text is about\n", "a.txt") == ""


# ---- sets as they are published --------------------------------------------------------------------------------------


def mat(**arrays):
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=True)
    return buffer.getvalue()


def test_grids_of_matlab_have_the_sides_that_matlab_numbers(folder):
    pytest.importorskip("scipy")
    grid = np.zeros((8, 8, 8), np.uint8)
    grid[1, 2:4, 5:8] = 1
    for data in (mat(instance=grid, type="chair"), mat(voxels=grid > 0), mat(a=grid.astype(float), b=np.eye(3))):
        assert np.array_equal(read(data, side=None), grid > 0)
        turned = read(data, side=None, up="z")
        assert np.array_equal(np.argwhere(turned.any((0, 2))).ravel(), [5, 6, 7])
    many = solids.read(io.BytesIO(mat(voxels=np.stack([grid, 1 - grid, grid]))), "a.mat", solids.Form())
    assert [int(g.sum()) for g in many] == [6, 506, 6]


def test_thirty_cells_are_brought_to_thirty_two_and_sixty_four(folder):
    grid = np.zeros((30, 30, 30), np.uint8)
    grid[0], grid[29, 3, 4] = 1, 1
    for k in range(3):
        (folder / f"chair_{k}.mat").write_bytes(mat(instance=grid))
    for side, f, around in ((32, 1, 1), (64, 2, 2)):
        dataset = clips(folder, kind="voxels", size=side, holdout=0)
        found = np.array(dataset.fields["voxels"])[0, 0] > 0
        inner = found[around:-around, around:-around, around:-around]
        assert np.array_equal(inner[::f, ::f, ::f], grid > 0)
        assert found.sum() == f**3 * grid.sum()
        assert any(n.startswith("3 of 3 files have a few empty cells around them") for n in dataset.notes)
    with pytest.raises(UserError, match="whole multiples"):
        clips(folder, kind="voxels", size=48)


def test_of_one_shape_in_several_formats_one_is_taken(folder):
    whole = ball(16)
    for k in range(3):
        place = folder / "02691156" / f"{k:032x}" / "models"
        place.mkdir(parents=True)
        vertices, faces = surface(whole)
        (place / "model_normalized.obj").write_text(trimesh.Trimesh(vertices, faces).export(file_type="obj"))
        (place / "model_normalized.solid.binvox").write_bytes(binvox(whole) if k else b"#binvox 1\n")
        (place / "model_normalized.surface.binvox").write_bytes(binvox(whole & ~np.roll(whole, 1, 0)))
    dataset = clips(folder, kind="voxels", size=16, holdout=0)
    assert len(dataset) == 3
    assert sum(np.array_equal(g[0] > 0, whole) for g in np.array(dataset.fields["voxels"])) == 2, "filled grids first"
    told = dict(dataset.report)
    assert told["*.obj"].startswith("2 files of shapes that are here in another format")
    assert told["*.surface.binvox"].startswith("3 files")
    assert any("no header with dim" in why for why in told.values()), "the damaged one is named, and the mesh taken"


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_voxel_grids_of_open3d_are_their_cells(order):
    cells = np.argwhere(ball(12)) - [40, 3, -7]
    head = f"ply\nformat {order} 1.0\ncomment Created by Open3D\nelement origin 1\n"
    head += "".join(f"property double {a}\n" for a in "xyz") + "element voxel_size 1\nproperty double val\n"
    head += f"element vertex {len(cells)}\n" + "".join(f"property double {a}\n" for a in "xyz") + "end_header\n"
    rows = [(0.0, 0.0, 0.0), (0.1,), *map(tuple, cells.astype(float))]
    body = "".join(" ".join(map(str, r)) + "\n" for r in rows).encode() if order == "ascii" else b""
    body = body or b"".join(struct.pack(f"<{len(r)}d", *r) for r in rows)
    vertices, faces = mesh(io.BytesIO(head.encode() + body), "ply")
    found = trimesh.Trimesh(vertices, faces, process=False)
    assert found.volume == pytest.approx(len(cells))
    assert not has_holes(vertices, faces)
    far = (
        head.encode().replace(b"binary_little_endian", b"ascii")
        + b"0 0 0\n1\n"
        + b"0 0 0\n"
        + b"900 900 900\n" * (len(cells) - 1)
    )
    with pytest.raises(Rejected, match="901x901x901 cells: too many"):
        mesh(io.BytesIO(far), "ply")


# ---- what cannot be -----------------------------------------------------------------------------------------------------


def changed(scene, change):
    told = json.loads(scene)
    change(told)
    return json.dumps(told).encode()


TEXT = gltf([{"mesh": 0}], binary=False)
BAD = {
    "count.gltf": (changed(TEXT, lambda t: t["accessors"].append({"count": 10**13, "componentType": 5126, "type": "VEC3"})), "promises more"),
    "copies.gltf": (changed(TEXT, lambda t: t.update(nodes=[{"mesh": 0}] * 200_000)), "promises more than 2,000,000 faces"),
    "nan.off": (text_of([(0, 0, 0), (1, 0, 0), (0, float("nan"), 0), (0, 1, 1), (1, 1, 1)], [(0, 1, 2, 3, 4)]), "not finite"),
    "huge.off": (b"OFF\n999999999999 999999999999 0\n0 0 0\n", "1 of 1,999,999,999,998 lines are there"),
    "huge.binvox": (b"#binvox 1\ndim 99999 99999 99999\ntranslate 0 0 0\nscale 1\ndata\n\x01\x01", "more than 512 on a side"),
    "short.binvox": (binvox(ball(16))[:-2], "of 4096 cells are there"),
    "v73.mat": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(512), "version 7.3 .HDF5.: save it with '-v7'"),
    "cut.mat": (mat(voxels=ball(16))[:-40], "damaged: it is no whole MATLAB file"),
    "names.mat": (mat(a=ball(8), b=ball(8)), "it has several arrays .a, b.: call the grid 'voxels'"),
    "flat.mat": (mat(x=np.eye(4)), "without a grid of voxels"),
    "empty.mat": (mat(voxels=np.zeros((8, 8, 8), np.uint8)), "an empty grid: no cell counts as occupied"),
    "many.ply": (b"ply\nformat binary_big_endian 1.0\nelement vertex 3000000000\nproperty float x\nproperty float y\nproperty float z\n"
                 b"element face 1\nproperty list uchar int vertex_indices\nend_header\n" + bytes(90), "damaged: it is no whole PLY file"),
    "other.ply": (PRISMS["ply little"].replace(b"little_endian", b"big_endian"), "damaged|not there|not finite"),
}  # fmt: skip


def test_what_cannot_be_is_named_and_the_rest_is_used(folder):
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    np.save(folder / "good.npy", ball(16))
    dataset = clips(folder, kind="voxels", size=16)
    assert len(dataset) == 1
    told = dict(dataset.report)
    assert told.keys() == BAD.keys()
    for name, (_, words) in BAD.items():
        with pytest.raises(Rejected, match=words):
            raise Rejected(told[name])
        assert "\n" not in told[name]


def test_a_header_of_absurd_size_takes_no_memory():
    import tracemalloc

    from scipy.io import savemat

    raw = io.BytesIO()
    savemat(raw, {"voxels": ball(16).astype(np.uint8)})
    promised = bytearray(raw.getvalue())
    at = bytes(promised).index(struct.pack("<iii", 16, 16, 16))
    promised[at : at + 12] = struct.pack("<iii", 4000, 4000, 4000)
    tracemalloc.start()
    try:
        with pytest.raises(Rejected, match="4000x4000x4000 values, which are too many"):
            read(bytes(promised), "a.mat")
        for name in ("count.gltf", "huge.off", "huge.binvox", "many.ply"):
            with pytest.raises(Rejected):
                read(BAD[name][0], name)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


# ---- files of other programs ---------------------------------------------------------------------------------------------


def values(*grids):
    return torch.from_numpy(np.stack(grids))[:, None] * 2.0 - 1


def test_faces_of_cells_enclose_them_and_look_outwards():
    grid = np.random.default_rng(0).random((6, 7, 8)) > 0.6
    vertices, faces = surface(grid)
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(float)
    assert (np.cross(a, b) * c).sum() / 6 == pytest.approx(grid.sum())
    assert not has_holes(vertices, faces)
    bare = sum(
        int((grid != np.roll(np.pad(grid, 1), s, x)[1:-1, 1:-1, 1:-1])[grid].sum()) for x in range(3) for s in (1, -1)
    )
    assert len(faces) == 2 * bare


@pytest.mark.parametrize("ending", ["glb", "stl"])
def test_meshes_of_shapes_are_read_by_another_library_at_their_places(folder, ending):
    one, two = ball(16), np.zeros((16, 16, 16), bool)
    two[2:5, 12:16, 0:2] = True
    path = save_model(folder / f"a.{ending}", values(one, np.zeros_like(one), two), columns=3)
    found = trimesh.load_scene(path, process=False)
    scale = 16 if ending == "glb" else 1
    whole = found.to_mesh()
    whole.merge_vertices()
    parts = sorted(whole.split(only_watertight=True), key=lambda m: m.bounds[0][2])
    assert [round(p.volume * scale**3) for p in parts] == [int(one.sum()), 3 * 4 * 2]
    assert np.allclose(parts[1].bounds * scale, [[2, 12, 40], [5, 16, 42]]), "y upwards, the third of a row"
    if ending == "glb":
        assert sorted(found.geometry) == ["shape-0", "shape-2"]
    (grid,) = solids.read(
        io.BytesIO(save_model(folder / f"b.{ending}", values(two)).read_bytes()), "x", solids.Form(16)
    )
    across = [int(np.ptp(np.argwhere(grid)[:, a])) + 1 for a in range(3)]
    assert across[1] == 14
    assert across[0] == pytest.approx(14 * 3 / 4, abs=1.5)


def test_a_grid_of_binvox_is_the_same_for_another_library(folder):
    grid = np.random.default_rng(0).random((9, 9, 9)) > 0.5
    grid[3:] = False
    grid[3, 3, 3] = True  # runs of more than 255 cells
    path = save_model(folder / "a.binvox", values(grid))
    with open(path, "rb") as file:
        assert np.array_equal(trimesh.load(file, file_type="binvox").matrix, grid)
    assert np.array_equal(read(path.read_bytes(), side=None), grid)
    assert np.array_equal(read(binvox(grid[:, :7]), side=None), np.pad(grid[:, :7], [(0, 0), (0, 2), (0, 0)]))


def test_what_cannot_be_written_is_said(folder, monkeypatch):
    with pytest.raises(UserError, match="can hold one shape, and there are 2: take n=1"):
        save_model(folder / "a.binvox", values(ball(8), ball(8)))
    with pytest.raises(UserError, match="no cell is occupied in any of 2 shapes"):
        save_model(folder / "a.stl", values(ball(8), ball(8)) * 0 - 1)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match=r"a.glb needs the extra: .*genzoo\[voxels\]"):
        save_model(folder / "a.glb", values(ball(8)))
    assert not list(folder.iterdir())


def test_samples_and_walks_are_files_of_other_programs(tmp_path, runs, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(runs("gan-3d").path)
    assert main(["sample", run, "n=3", "out=each/", "ending=binvox"]) in (0, None)
    drawn = genzoo.sample(run, n=3)[:, 0].numpy() > 0
    for i, grid in enumerate(drawn):
        assert np.array_equal(read((tmp_path / "each" / f"{i}.binvox").read_bytes(), side=None), grid)
    assert main(["sample", run, "n=3", "out=a.glb"]) in (0, None)
    volume = sum(m.volume for m in trimesh.load_scene(tmp_path / "a.glb").geometry.values())
    assert volume * drawn.shape[-1] ** 3 == pytest.approx(drawn.sum())
    assert main(["walk", run, "rows=1", "steps=2", "out=a.stl"]) in (0, None)
    ends = genzoo.walk(run, rows=1, steps=2).numpy() > 0
    assert trimesh.load_mesh(tmp_path / "a.stl").volume == pytest.approx(ends.sum())
    capsys.readouterr()
    for words in (["out=a.obj"], ["out=each/", "ending=obj"], ["ending=glb"]):
        assert main(["sample", run, *words]) == 2
        assert re.search("cannot be written; give|is for a folder", capsys.readouterr().err)
