"""Shapes: occupancies, meshes, what is left out and why; pictures and files of clips and shapes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import Batches, contact_sheet, describe, to_float
from genzoo.data.decode import filling, solids
from genzoo.data.decode.forms import Rejected
from genzoo.data.drawing import clips as animation
from genzoo.data.drawing import shapes as rendering
from genzoo.data.drawing.files import save_array
from genzoo.data.drawing.images import save_gif, to_uint8
from genzoo.data.kinds import picture
from genzoo.data.statistics import of_clips
from genzoo.metrics.statistics import features_of
from tests.motion_help import all_of, ball, clips, film

pytestmark = pytest.mark.usefixtures("fresh_cache")


# ---- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g, lambda g: g.astype(np.uint8), lambda g: g.astype(np.uint8) * 255, lambda g: g.astype(np.float32),
        lambda g: g.astype(np.float64) * 1.8 - 0.9, lambda g: g[:, None].astype(np.float32) * 2 - 1, lambda g: g.astype(np.int64),
    ],
)  # fmt: skip
def test_occupancies_of_every_kind(folder, change):
    grids = np.random.default_rng(0).random((5, 8, 8, 8)) > 0.5
    np.savez(folder / "a.npz", voxels=change(grids), labels=np.arange(5) % 2)
    dataset = clips(folder / "a.npz", kind="voxels", holdout=0)
    assert dataset.fields["voxels"].shape == (5, 1, 8, 8, 8)
    assert dataset.facts() == {"shape": (1, 8, 8, 8), "classes": 2, "levels": 2}
    assert {g.tobytes() for g in np.array(dataset.fields["voxels"]) > 127} == {g.tobytes() for g in grids}
    batch = to_float(Batches(dataset, 5, 0).at(0), "cpu")
    assert set(batch["voxels"].unique().tolist()) == {-1.0, 1.0}
    assert batch["label"].shape == (5,)


def test_a_resolution_is_a_whole_multiple_or_part(folder):
    grid = np.zeros((8, 8, 8), bool)
    grid[3, 4, 7] = True
    small, large = solids.resized(grid, 4), solids.resized(grid, 16)
    assert np.argwhere(small).tolist() == [[1, 2, 3]]
    assert large.sum() == 8
    assert large[6:8, 8:10, 14:16].all()
    with pytest.raises(Rejected, match="whole multiples"):
        solids.resized(grid, 12)
    np.save(folder / "a.npy", np.stack([grid, ~grid]))
    assert clips(folder / "a.npy", kind="voxels", size=16, holdout=0).facts()["shape"] == (1, 16, 16, 16)
    with pytest.raises(UserError, match="whole multiples"):
        clips(folder / "a.npy", kind="voxels", size=12)
    with pytest.raises(UserError, match="cubes"):
        clips(folder / "a.npy", kind="voxels", size=(8, 16))


def as_binvox(grid):
    """Runs of at most 255 along x, z, y (y fastest) of a grid [x, y, z]."""
    x, y, z = grid.shape
    flat, out = grid.transpose(0, 2, 1).ravel(), b""
    at = 0
    while at < len(flat):
        run = 1
        while at + run < len(flat) and run < 255 and flat[at + run] == flat[at]:
            run += 1
        out += bytes([int(flat[at]), run])
        at += run
    return f"#binvox 1\ndim {x} {z} {y}\ntranslate 0 0 0\nscale 1\ndata\n".encode() + out


def test_binvox_runs_are_read_with_y_upwards():
    grid = np.random.default_rng(0).random((4, 6, 5)) > 0.6
    assert np.array_equal(solids.binvox(as_binvox(grid)), grid)
    with pytest.raises(Rejected, match="of 120 cells"):
        solids.binvox(as_binvox(grid)[:-2])
    with pytest.raises(Rejected, match="header"):
        solids.binvox(b"#binvox 1\ndim 4 x 5\ndata\n\x00\x01")


CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SQUARES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def as_obj(vertices=CORNERS, squares=SQUARES):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    return "\n".join([*lines, *("f " + " ".join(str(i + 1) for i in s) for s in squares)]).encode() + b"\n"


def test_a_box_is_voxelized_solid_to_the_cell(folder):
    pytest.importorskip("trimesh")
    side = 16
    (folder / "cube.obj").write_bytes(as_obj())
    (folder / "tall.obj").write_bytes(as_obj(CORNERS * [7, 14, 3.5]))
    cube, tall = (
        solids.read(io.BytesIO((folder / n).read_bytes()), n, solids.Form(side))[0] for n in ("cube.obj", "tall.obj")
    )
    wanted = np.zeros((side,) * 3, bool)
    wanted[1:-1, 1:-1, 1:-1] = True
    assert np.array_equal(cube, wanted), "all but one cell on each side, and filled"
    across = [np.flatnonzero(tall.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    assert (across[1][0], across[1][-1]) == (1, side - 2), "y, the second side, points upwards and is the longest"
    assert len(across[0]) in (7, 8)
    assert len(across[2]) in (4, 5)
    assert tall.sum() == np.prod([len(a) for a in across])


@pytest.mark.parametrize("kind", ["obj", "stl", "ply", "off"])
def test_meshes_of_every_format_give_the_same_ball(folder, kind):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(subdivisions=3)
    (folder / f"a.{kind}").write_bytes(_exported(mesh, kind))
    grid = solids.read(io.BytesIO((folder / f"a.{kind}").read_bytes()), f"a.{kind}", solids.Form(32))[0]
    at = (np.arange(32) + 0.5) - 16
    distance = np.sqrt(sum(a**2 for a in np.meshgrid(at, at, at, indexing="ij")))
    assert grid[distance < 13.5].all(), "no hole inside"
    assert not grid[distance > 16].any()
    assert grid.sum() == pytest.approx(4 / 3 * np.pi * 15.5**3, rel=0.05), (
        "cells that the surface touches count as well"
    )


def _exported(mesh, kind):
    data = mesh.export(file_type=kind)
    return data.encode() if isinstance(data, str) else data


def test_what_is_closed_is_filled_and_what_is_open_stays_a_shell():
    shell = np.zeros((9, 9, 9), bool)
    shell[2:7, 2:7, 2:7] = True
    whole = shell.copy()
    shell[3:6, 3:6, 3:6] = False
    assert np.array_equal(filling.solid(shell), whole)
    shell[4, 4, 2] = False
    assert np.array_equal(filling.solid(shell), shell)
    # A winding passage, which takes several sweeps to walk through.
    maze = np.ones((7, 7, 7), bool)
    maze[3, 1:6, 1] = maze[3, 5, 1:6] = maze[3, 1:6, 5] = maze[3, 1, 3:6] = maze[3, 1:4, 3] = False
    assert np.array_equal(filling.solid(maze), np.ones_like(maze)), "closed: all is inside"
    maze[:4, 1, 1] = False
    assert np.array_equal(filling.solid(maze), maze), "open at one end: all is outside"


def test_a_folder_of_shapes_has_classes_and_bad_ones_are_left_out(folder):
    pytest.importorskip("trimesh")
    rng = np.random.default_rng(0)
    for kind in ("box", "noise"):
        (folder / kind).mkdir()
    for i in range(4):
        (folder / "box" / f"{i}.obj").write_bytes(as_obj(CORNERS * rng.uniform(1, 2, 3)))
        np.save(folder / "noise" / f"{i}.npy", rng.random((16, 16, 16)) > 0.5)
    (folder / "noise" / "run.binvox").write_bytes(as_binvox(rng.random((16, 16, 16)) > 0.5))
    np.savez(folder / "noise" / "two.npz", voxels=rng.random((2, 16, 16, 16)) > 0.5)
    bad = {
        "empty.obj": (b"# nothing\n", "no faces|damaged"), "nan.obj": (as_obj(CORNERS * np.nan), "finite|damaged"),
        "flat.obj": (as_obj(CORNERS * 0), "without extent"), "beyond.obj": (as_obj(CORNERS[:4]), "damaged|not there"),
        "torn.stl": (b"solid x" + bytes(100), "damaged|no faces"), "none.ply": (b"", "empty"), "text.txt": (b"hello\n" * 9, "text"),
        "zero.npy": (_npy(np.zeros((16, 16, 16), bool)), "empty grid"), "full.npy": (_npy(np.ones((16, 16, 16), bool)), "full grid"),
        "wide.npy": (_npy(np.ones((16, 16, 12), bool)), "cubes"), "odd.npy": (_npy(np.full((16, 16, 16), 7.0)), "give bool"),
        "cut.npy": (_npy(np.ones((16, 16, 16)))[:300], "damaged"), "flat.npy": (_npy(np.ones((16, 16))), "no array of voxels"),
        "cut.binvox": (as_binvox(np.ones((16, 16, 16), bool))[:-2], "cells are there"),
    }  # fmt: skip
    for name, (data, _) in bad.items():
        (folder / "box" / name).write_bytes(data)
    dataset = clips(folder, kind="voxels", size=16, holdout=0)
    left = dict(dataset.report)
    import re

    assert {
        n: (w, left.get(f"box/{n}")) for n, (_, w) in bad.items() if not re.search(w, left.get(f"box/{n}", "-"))
    } == {}
    assert len(left) == len(bad)
    assert dataset.class_names == ["box", "noise"]
    assert np.bincount(dataset.fields["label"]).tolist() == [4, 7]


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_no_usable_shape_says_what_was_seen(folder, monkeypatch):
    import sys

    (folder / "a.stl").write_bytes(b"solid a\nfacet normal 0 0 0\n")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match=r"no usable shape: 1 file seen .*genzoo\[voxels\]"):
        clips(folder, kind="voxels")
    np.save(folder / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="objects"):
        clips(folder / "a.npy", kind="voxels")
    np.save(folder / "b.npy", np.full((3, 8, 8, 8), 9.5))
    with pytest.raises(UserError, match=r"give bool"):
        clips(folder / "b.npy", kind="voxels")


def test_grids_of_two_sizes_need_a_size(folder):
    np.save(folder / "a.npy", ball(16))
    np.save(folder / "b.npy", ball(8))
    with pytest.raises(UserError, match=r"2 sizes.*size="):
        clips(folder, kind="voxels")
    assert all_of(folder, kind="voxels", size=8).shape == (2, 1, 8, 8, 8)


# ---- pictures and files ----------------------------------------------------------------------------------------------


def test_a_ball_looks_the_same_from_everywhere_and_a_rod_does_not():
    grid = torch.from_numpy(ball(16))[None, None] * 2.0 - 1
    views = [rendering.render(grid, azimuth=a, elevation=e, pixels=48) for a, e in ((0, 0), (90, 0), (40, 30), (0, 90))]
    seen = [int((v < 0.99).any(1).sum()) for v in views]
    # The silhouette is a disc of 6.4 cells but for what corners of cells stick out; the view shows the cube's diagonal.
    smallest, largest = (np.pi * ((6.4 + more) * 48 / (16 * np.sqrt(3))) ** 2 for more in (-0.5, 0.87))
    assert all(smallest < s < largest for s in seen), (smallest, seen, largest)
    rod = -torch.ones(1, 1, 16, 16, 16)
    rod[0, 0, 7:9, :, 7:9] = 1
    side, top = (int((rendering.render(rod, azimuth=0, elevation=e, pixels=48) < 0.99).any(1).sum()) for e in (0, 90))
    assert side > 5 * top, "a pole is long from the side and small from above"


def test_upwards_is_up_near_hides_far_and_faces_have_their_shade():
    plate = -torch.ones(1, 1, 8, 8, 8)
    plate[..., 7, :] = 1
    view = rendering.render(plate, azimuth=0, elevation=0, pixels=64)[0]
    rows = (view < 0.99).any(0).any(1).nonzero().flatten()
    assert rows.max() < 32, "the highest cells are in the upper half"
    both = -torch.ones(1, 1, 8, 8, 8)
    both[0, 0, 7], both[0, 0, 0] = 1, 1
    near = rendering.render(both, azimuth=0, elevation=0, pixels=64)
    both[0, 0, 0] = -1
    assert torch.equal(near, rendering.render(both, azimuth=0, elevation=0, pixels=64)), "what is behind is not seen"
    full = torch.ones(1, 1, 8, 8, 8)
    shades = rendering.render(full, azimuth=45, elevation=35, pixels=64)[0, 2]
    top, left, right = shades[16, 32], shades[40, 20], shades[40, 44]
    assert len({round(float(s), 1) for s in (top, left, right)}) == 3
    assert top > max(left, right)
    assert (rendering.render(-full) == 1).all(), "nothing is white"


def test_a_turn_comes_round_and_pictures_are_laid_out():
    grids = torch.from_numpy(np.stack([ball(8), ball(8, 0.2)]))[:, None] * 2.0 - 1
    frames = rendering.turn(grids, steps=4)
    assert len(frames) == 4
    assert frames[0].shape == (96, 2 * 96 + 2, 3)
    assert np.array_equal(picture(grids, kind="voxels"), frames[0])
    moving = torch.rand(3, 1, 16, 20, 20) * 2 - 1
    strips = picture(moving, kind="video")
    assert strips.shape == (3 * 40 + 4, 8 * 40 + 14, 3)
    assert np.array_equal(strips[:40:2, :40:2, 0], to_uint8(moving[0, 0, 0]).numpy())
    assert np.array_equal(strips[-40::2, -40::2, 0], to_uint8(moving[2, 0, 15]).numpy())
    assert len(animation.frames(moving)) == 16


def test_samples_of_clips_and_shapes_are_data_again(folder):
    values = torch.rand(3, 1, 6, 8, 8) * 2 - 1

    path = save_array(folder / "a.npz", values)
    back = clips(path, frames=6, holdout=0).fields["video"]
    assert sorted(np.array(back).ravel()) == sorted(to_uint8(values).numpy().ravel())
    save_gif(folder / "a.gif", animation.frames(torch.from_numpy(film()).permute(3, 0, 1, 2)[None] / 127.5 - 1), rest=1)
    with Image.open(folder / "a.gif") as gif:
        assert gif.n_frames == 6


def test_an_mp4_has_every_frame_and_even_sides(folder):
    av = pytest.importorskip("av")
    path = animation.save_mp4(folder / "a.mp4", [np.full((31, 45, 3), 20 * t, np.uint8) for t in range(9)])
    with av.open(str(path)) as opened:
        frames = [f.to_ndarray(format="rgb24") for f in opened.decode(video=0)]
    assert len(frames) == 9
    assert frames[0].shape == (32, 46, 3)
    assert np.abs(np.array([f.mean() for f in frames]) - 20 * np.arange(9)).max() < 5


def test_statistics_tell_still_from_moving_and_hardly_see_a_shuffled_set():
    rng = torch.Generator().manual_seed(0)
    still = torch.rand(40, 1, 1, 16, 16, generator=rng).expand(40, 1, 8, 16, 16) * 2 - 1
    moving = torch.rand(40, 1, 8, 16, 16, generator=rng) * 2 - 1
    a, b = of_clips(still), of_clips(moving)
    assert a.shape == (40, 3 * 16 + 6)
    assert a[:, 16:48].abs().max() == 0
    assert a[:, [48, 49, 50, 53]].abs().max() == 0
    assert torch.allclose(a[:, :16], torch.nn.functional.adaptive_avg_pool2d(still[:, :, 0], 4).flatten(1), atol=1e-6)
    assert b[:, 48].mean() == pytest.approx(2 / 3, abs=0.02), "of two uniform values in [-1, 1]"
    assert b[:, 53].mean() == pytest.approx(1 - 0.0975, abs=0.02)
    ramp = torch.linspace(-1, 1, 8).view(1, 1, 8, 1, 1).expand(2, 3, 8, 8, 8)
    assert torch.allclose(of_clips(ramp)[:, 3 * 48 : 3 * 48 + 3], torch.tensor([1.0, 2.0, 4.0]) * 2 / 7, atol=1e-6)
    with pytest.raises(UserError, match="two or more frames"):
        of_clips(moving[:, :, :1])


def test_described_sets_and_their_pages(folder):
    np.save(folder / "v.npy", np.stack([ball(16, 0.4), ball(16, 0.2)]))
    shapes = clips(folder / "v.npy", kind="voxels", holdout=0)
    assert describe(shapes)["shape"] == [1, 16, 16, 16]
    assert contact_sheet(shapes, 2).shape == (2, 1, 16, 16, 16)
    moving = clips("moving-digits", size=32, limit=5)
    assert contact_sheet(moving, 4).shape == (4, 1, 16, 32, 32)
    assert features_of(moving, 4, 0).shape == (4, 54)


# ---- the whole way ---------------------------------------------------------------------------------------------------


def test_shapes_are_trained_on_and_turned_by_the_command_line(tmp_path, folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(folder / "balls.npz", voxels=np.stack([ball(8, r) for r in np.linspace(0.2, 0.5, 40)]))
    small = ["latent=4", "width=4", "steps=2", "batch=2"]
    assert main(["train", "gan-3d", f"data={folder / 'balls.npz'}", *small]) in (0, None)
    run = tmp_path / "runs" / "gan-3d"
    assert list((run / "samples").glob("*.png"))
    main(["sample", "runs/gan-3d", "n=4", "threshold=0.5"])
    with Image.open(run / "outputs" / "sample.gif") as gif:
        assert gif.n_frames >= 1
    main(["sample", "runs/gan-3d", "n=2", "threshold=0.4", "out=x.npz"])
    with np.load(tmp_path / "x.npz") as found:
        assert found["samples"].shape == (2, 1, 8, 8, 8)
        assert set(np.unique(found["samples"])) <= {-1.0, 1.0}
    main(["walk", "runs/gan-3d", "path=linear", "rows=2", "steps=3"])
    assert (run / "outputs" / "walk.png").exists()
    assert "Fréchet distance of voxel statistics" in genzoo.evaluate(run, n=8)["measures"]
    main(["data", "show", str(folder / "balls.npz"), "kind=voxels", "out=page.png"])
    assert (tmp_path / "page.png").exists()
    capsys.readouterr()
    assert main(["animate", "runs/gan-3d", "page.png"])
    assert "cannot animate" in capsys.readouterr().err
