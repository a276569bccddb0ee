"""Clips and shapes: what is read, what is left out and why, cutting, moving digits, meshes, pictures and files of them."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core import motion, turntable
from genzoo.core.errors import UserError
from genzoo.core.pictures import picture, save_gif, to_uint8
from genzoo.data import Batches, DataSettings, contact_sheet, describe, open_data, solids, to_float
from genzoo.data.decode import Refused
from genzoo.data.moving import SPEED
from genzoo.metrics.moving import features_of
from genzoo.metrics.simple_features import video_statistics

pytestmark = pytest.mark.usefixtures("fresh_cache")


def film(t=6, seed=0, size=(10, 12), gray=False):
    """Frames [T, H, W, 3] of few colours, which a GIF keeps exactly."""
    levels = np.random.default_rng(seed).integers(0, 3, (t, *size, 1 if gray else 3)) * 100
    return levels.repeat(3 if gray else 1, -1).astype(np.uint8)


def animated(path, frames, **more):
    images = [Image.fromarray(f) for f in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0, **more)
    return path


def numbered(folder, frames, prefix="frame-", first=0, step=1):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{prefix}{first + step * i}.png")
    return folder


def clips(path, kind="video", **keys):
    split = keys.pop("split", "train")
    return open_data(DataSettings(str(path), **keys), kind=kind, split=split, quiet=True)


def all_of(path, kind="video", **keys):
    """Every example, both parts together."""
    parts = [clips(path, kind, split=s, **keys) for s in ("train", "test")]
    return np.concatenate([np.array(p.fields[kind]) for p in parts])


# ---- clips: reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "more"), [("gif", {}), ("png", {}), ("webp", {"lossless": True})])
def test_animated_pictures_are_read_frame_by_frame(folder, suffix, more):
    for i in range(3):
        animated(folder / f"{i}.{suffix}", film(seed=i), **more)
    found = all_of(folder, frames=6)
    assert found.shape == (3, 3, 6, 10, 12)
    wanted = {film(seed=i).transpose(3, 0, 1, 2).tobytes() for i in range(3)}
    assert {np.ascontiguousarray(c).tobytes() for c in found} == wanted


def test_a_gray_gif_has_one_channel_and_one_that_turns_colourful_three(folder):
    animated(folder / "gray" / "a.gif", film(gray=True))
    assert all_of(folder / "gray" / "a.gif", frames=2).shape[1] == 1
    late = film(gray=True)
    late[4:] = film()[4:]
    animated(folder / "late" / "a.gif", late)
    assert all_of(folder / "late" / "a.gif", frames=2).shape[1] == 3
    assert all_of(folder / "late" / "a.gif", frames=2, channels=1).shape[1] == 1


def test_video_files_are_read_by_av(folder):
    pytest.importorskip("av")
    smooth = np.stack([np.full((32, 48, 3), 20 * t + 30, np.uint8) for t in range(8)])
    motion.save_mp4(folder / "a.mp4", list(smooth))
    motion.save_mp4(folder / "b.mp4", list(smooth[::-1]))
    found = all_of(folder, frames=8)
    assert found.shape == (2, 3, 8, 32, 48)
    rising = next(c for c in found if c[0, 0, 0, 0] < c[0, -1, 0, 0])
    assert np.abs(rising.transpose(1, 2, 3, 0).astype(int) - smooth).max() <= 6, "a lossy codec"
    assert all_of(folder, frames=4, size=(16, 24), channels=1).shape == (4, 1, 4, 16, 24)


def test_without_av_the_reason_names_the_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (folder / "a.mp4").write_bytes(struct.pack(">I", 24) + b"ftypisom" + bytes(500))
    with pytest.raises(UserError, match=r"genzoo\[video\]"):
        clips(folder)
    with pytest.raises(UserError, match=r"genzoo\[video\].*gif"):
        motion.save_mp4(folder / "b.mp4", [np.zeros((8, 8, 3), np.uint8)])


def test_folders_of_numbered_frames_are_clips_in_the_order_of_their_numbers(folder):
    for i in range(4):
        numbered(folder / "set" / f"clip-{i}", film(t=12, seed=i), first=5)
    found = all_of(folder, frames=12)
    assert len(found) == 4
    wanted = {film(t=12, seed=i).transpose(3, 0, 1, 2).tobytes() for i in range(4)}
    assert {np.ascontiguousarray(c).tobytes() for c in found} == wanted
    assert clips(folder, frames=12).class_names == [], "a clip is no class"


def test_two_clips_may_share_a_folder_and_folders_of_clips_are_classes(folder):
    for i, kind in enumerate(("run", "walk")):
        numbered(folder / kind, film(seed=10 * i), prefix="a-")
        numbered(folder / kind, film(seed=10 * i + 1), prefix="b-", step=2)
        numbered(folder / kind / "c", film(seed=10 * i + 2))
        animated(folder / kind / "7.gif", film(seed=10 * i + 3))
        animated(folder / kind / "clip-1.webp", film(seed=10 * i + 4), lossless=True)
        animated(folder / kind / "clip-2.webp", film(seed=10 * i + 5), lossless=True)
    dataset = clips(folder, frames=6, holdout=0)
    assert dataset.class_names == ["run", "walk"]
    assert len(dataset) == 12
    assert np.bincount(dataset.fields["label"]).tolist() == [6, 6]
    for clip, label in zip(dataset.fields["video"], dataset.fields["label"], strict=True):
        seeds = [s for s in (*range(6), *range(10, 16)) if (film(seed=s).transpose(3, 0, 1, 2) == clip).all()]
        assert seeds[0] // 10 == label


def test_frames_right_below_train_and_test_are_the_parts(folder):
    for part, seed in (("train", 1), ("test", 2)):
        numbered(folder / part, film(seed=seed))
    for part, seed in (("train", 1), ("test", 2)):
        (clip,) = clips(folder, split=part, frames=6).fields["video"]
        assert np.array_equal(clip, film(seed=seed).transpose(3, 0, 1, 2))


def damaged(folder):
    """Bad clips by the words that their reason has to hold."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film()[0]).save(folder / "still.png")
    whole = animated(folder / "whole.gif", film(t=8, size=(60, 60))).read_bytes()
    (folder / "whole.gif").unlink()
    (folder / "cut.gif").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.gif").write_bytes(b"Dear diary, nothing moved today.\n" * 30)
    (folder / "noise.bin").write_bytes(bytes(range(128, 256)) * 4)
    animated(folder / "short.gif", film(t=3))
    numbered(folder / "gap", np.delete(film(t=9), [4, 5], axis=0))
    (folder / "gap" / "frame-6.png").rename(folder / "gap" / "frame-9.png")
    numbered(folder / "sizes", film(t=7))
    Image.fromarray(film(size=(5, 5))[0]).save(folder / "sizes" / "frame-3.png")
    numbered(folder / "torn", film(t=7))
    (folder / "torn" / "frame-5.png").write_bytes((folder / "torn" / "frame-5.png").read_bytes()[:60])
    numbered(folder / "twice", film(t=7))
    (folder / "twice" / "frame-03.png").write_bytes((folder / "twice" / "frame-3.png").read_bytes())
    return {
        "still.png": "one frame", "cut.gif": "", "empty.mp4": "empty", "text.gif": "text", "noise.bin": "known format",
        "short.gif": "3 frames: shorter than a clip of 6", "gap": "jump from", "sizes": "different sizes (10x12 and 5x5)",
        "torn": "frame-5.png", "twice": "same number",
    }  # fmt: skip


def test_bad_clips_are_left_out_each_with_its_reason(folder):
    words = damaged(folder)
    for i in range(3):
        animated(folder / f"good-{i}.gif", film(seed=i))
    dataset = clips(folder, frames=6)
    left = dict(dataset.report)
    assert {n: (w, left.get(n)) for n, w in words.items() if w not in left.get(n, "-")} == {}
    assert set(left) == set(words)
    assert sum(dataset.sizes["video"].values()) == 3


def test_damaged_video_files_have_a_reason(folder):
    pytest.importorskip("av")
    whole = motion.save_mp4(folder / "a.mp4", list(film(t=20, size=(64, 64)))).read_bytes()
    (folder / "b.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "c.mp4").write_bytes(whole[:8] + bytes(400))
    dataset = clips(folder, frames=4)
    assert {n: r for n, r in dataset.report if not r} == {}
    assert {n for n, _ in dataset.report} == {"b.mp4", "c.mp4"}


def test_a_folder_without_a_clip_says_what_was_seen(folder):
    damaged(folder)
    with pytest.raises(UserError, match=r"no usable clip: .* files seen"):
        clips(folder, frames=6)
    (folder / "nothing").mkdir()
    with pytest.raises(UserError, match="no clip"):
        clips(folder / "nothing")


@pytest.mark.parametrize(
    ("shape", "key", "wanted"),
    [
        ((5, 6, 8, 9), "clips", (5, 1, 6, 8, 9)),
        ((6, 8, 9, 3), "data", (1, 3, 6, 8, 9)),
        ((5, 6, 8, 9, 3), "video", (5, 3, 6, 8, 9)),
        ((5, 3, 6, 8, 9), "samples", (5, 3, 6, 8, 9)),
        ((5, 6, 3, 8, 9), "x", (5, 3, 6, 8, 9)),
        ((6, 8, 9), "x", (1, 1, 6, 8, 9)),
    ],
)
def test_arrays_of_the_usual_orders_hold_clips(folder, shape, key, wanted):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(folder / "a.npz", **{key: values})
    dataset = clips(folder / "a.npz", frames=6, holdout=0)
    assert dataset.fields["video"].shape == wanted
    assert sorted(dataset.fields["video"].ravel()) == sorted(values.ravel())
    if key == "samples":
        assert {c.tobytes() for c in values} == {np.ascontiguousarray(c).tobytes() for c in dataset.fields["video"]}


def test_arrays_that_are_no_clips_are_refused(folder):
    np.savez(folder / "a.npz", x=np.zeros((4, 7, 6, 8, 9), np.uint8))
    with pytest.raises(UserError, match="shape"):
        clips(folder / "a.npz", frames=4)
    np.save(folder / "b.npy", np.zeros((4, 8)))
    with pytest.raises(UserError, match="no array of clips"):
        clips(folder / "b.npy")
    np.save(folder / "c.npy", np.zeros((4, 3, 8, 8), np.uint8))
    with pytest.raises(UserError, match="3 frames: shorter than a clip of 16"):
        clips(folder / "c.npy")


# ---- clips: cutting and splits ---------------------------------------------------------------------------------------


def counted(folder, t=60, files=1):
    """Clips whose pixels are the number of the file and of the frame."""
    values = np.zeros((files, t, 8, 8, 3), np.uint8)
    values[..., 0] = np.arange(t)[None, :, None, None]
    values[..., 1] = np.arange(files)[:, None, None, None]
    np.savez(folder / "counted.npz", clips=values)
    return folder / "counted.npz"


def test_frames_stride_and_hop_cut_a_file(folder):
    path = counted(folder, t=30)
    for keys, starts, step in (
        ({"frames": 4}, range(0, 27, 4), 1),
        ({"frames": 4, "stride": 3}, range(0, 21, 12), 3),
        ({"frames": 4, "stride": 2, "hop": 5}, range(0, 24, 5), 2),
        ({"frames": 30}, [0], 1),
    ):
        found = clips(path, holdout=0, **keys).fields["video"][:, 0, :, 0, 0]
        assert found.tolist() == [[s + step * i for i in range(keys["frames"])] for s in starts]
    assert any("not used" in note for note in clips(path, frames=8, holdout=0).notes)


def test_of_one_file_the_end_is_held_out_and_no_frame_is_in_both_parts(folder):
    path = counted(folder)
    for keys in ({"frames": 8, "hop": 1}, {"frames": 4, "stride": 2, "hop": 3}, {"frames": 5}):
        train, test = (
            clips(path, split=s, holdout=0.2, **keys).fields["video"][:, 0, :, 0, 0] for s in ("train", "test")
        )
        assert train.max() < test.min(), "a frame is in both parts"
        assert len(test) > 1
    with pytest.raises(UserError, match="common frame"):
        clips(path, frames=40, hop=5)


def test_of_several_files_whole_ones_are_held_out(folder):
    path = counted(folder, t=20, files=12)
    train, test = (clips(path, split=s, frames=4, hop=2, holdout=0.25) for s in ("train", "test"))
    files = [set(d.fields["video"][:, 1, 0, 0, 0].tolist()) for d in (train, test)]
    assert not files[0] & files[1]
    assert (len(files[0]), len(files[1])) == (9, 3)
    assert (len(train), len(test)) == (81, 27)
    assert train.digest != test.digest
    assert len(clips(path, frames=4, limit=5)) == 5


def test_train_and_test_folders_and_archives(folder):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            animated(folder / split / f"{i}.gif", film(seed=i + 10 * n))
    assert {s: len(clips(folder, split=s, frames=6)) for s in ("train", "test")} == {"train": 3, "test": 2}
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for path in folder.rglob("*.gif"):
            archive.write(path, path.relative_to(folder))
    for split in ("train", "test"):
        packed, loose = clips(folder / "a.zip", split=split, frames=6), clips(folder, split=split, frames=6)
        assert np.array_equal(packed.fields["video"], loose.fields["video"])


def test_batches_mirror_whole_clips_and_are_floats(folder):
    path = counted(folder, t=8, files=6)
    dataset = clips(path, frames=8, holdout=0, flip=True)
    dataset.fields["video"] = np.array(dataset.fields["video"])
    dataset.fields["video"][:, 2] = np.arange(8)
    batch = to_float(Batches(dataset, 6, 0).at(0), "cpu")["video"]
    assert batch.shape == (6, 3, 8, 8, 8)
    assert batch.dtype == torch.float32
    rows = to_uint8(batch)[:, 2]
    mirrored = [bool(r[0, 0, 0] == 7) for r in rows]
    assert 0 < sum(mirrored) < 6
    for row, turned in zip(rows, mirrored, strict=True):
        wanted = torch.arange(8).flip(0) if turned else torch.arange(8)
        assert (row == wanted).all(), "all frames alike"


def test_keys_that_mean_nothing_are_refused(folder):
    path = counted(folder)
    for keys in ({"crop": 4}, {"binarize": "threshold"}):
        with pytest.raises(UserError, match="for images"):
            clips(path, **keys)
        with pytest.raises(UserError, match="for images"):
            clips(path, kind="voxels", **keys)
    with pytest.raises(UserError, match="for video"):
        open_data(DataSettings("digits", frames=4), quiet=True)
    with pytest.raises(UserError, match="no clips"):
        clips("digits")
    with pytest.raises(UserError, match="no shapes"):
        clips("digits", kind="voxels")
    with pytest.raises(UserError, match="clips"):
        open_data(DataSettings("moving-digits"), quiet=True)


# ---- moving digits ---------------------------------------------------------------------------------------------------


def test_moving_digits_are_what_their_definition_says():
    dataset = clips("moving-digits", frames=24, size=32, limit=20)
    assert dataset.facts() == {"shape": (1, 24, 32, 32), "classes": 0, "levels": 256}
    assert dataset.sizes["video"] == {"train": 20, "test": 20}
    x = dataset.fields["video"][:, 0].astype(int)
    # Digits are 14 of 32 pixels: what is seen of both fits into the square, moves, and never jumps.
    assert (x.reshape(20, 24, -1).max(2) > 150).all()
    change = np.abs(np.diff(x, axis=1)).mean((2, 3))
    assert change.max(1).min() > 1
    along = x.sum(2)
    centre = (along * np.arange(32)).sum(-1) / along.sum(-1)
    assert np.abs(np.diff(centre, axis=1)).max() <= SPEED * (32 - 14) + 2, "no jump at a wall"


def test_a_digit_flies_straight_and_bounces():
    """One digit alone: the other is made invisible, and the first a single point."""
    from genzoo.data.decode import Form
    from genzoo.data.moving import MovingClip

    digits = np.full((1, 4, 4), 200, np.uint8)
    frames = np.stack(list(MovingClip("x", "train", 3, digits, 20, 60).frames(Form(20, 20, 1))))[:, 0]
    rng = np.random.default_rng(MovingClip("x", "train", 3, digits, 20, 60).seed)
    wanted = np.zeros((60, 20, 20), np.uint8)
    for _ in range(2):
        rng.integers(1)
        (y, x), angle = rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi)
        vy, vx = 0.1 * np.sin(angle), 0.1 * np.cos(angle)
        for t in range(60):
            top, left = round(y * 16), round(x * 16)
            wanted[t, top : top + 4, left : left + 4] = 200
            y, x = y + vy, x + vx
            if not 0 <= y <= 1:
                y, vy = (-y if y < 0 else 2 - y), -vy
            if not 0 <= x <= 1:
                x, vx = (-x if x < 0 else 2 - x), -vx
    assert (frames == wanted).all((1, 2)).mean() > 0.95, "by steps and reflections; rounding of halves may differ"


def test_moving_digits_do_not_depend_on_limit_length_or_stride():
    few, many = (clips("moving-digits", frames=8, size=32, limit=n).fields["video"] for n in (3, 6))
    found = {c.tobytes() for c in np.array(many)}
    assert all(c.tobytes() in found for c in np.array(few)), "clip i is the same clip"
    fast = clips("moving-digits", frames=4, stride=2, size=32, limit=3).fields["video"]
    assert sorted(c.tobytes() for c in np.array(few)[:, :, ::2]) == sorted(c.tobytes() for c in np.array(fast))
    test = clips("moving-digits", frames=8, size=32, limit=6, split="test").fields["video"]
    assert not found & {c.tobytes() for c in np.array(test)}
    assert clips("moving-digits", frames=8, size=(32, 32), channels=3, limit=2).fields["video"].shape[1] == 3
    with pytest.raises(UserError, match="squares"):
        clips("moving-digits", size=(32, 48))


# ---- shapes ----------------------------------------------------------------------------------------------------------


def ball(side=16, radius=0.4):
    at = (np.arange(side) + 0.5) / side - 0.5
    return sum(a**2 for a in np.meshgrid(at, at, at, indexing="ij")) < radius**2


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
    with pytest.raises(Refused, match="whole multiples"):
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
    with pytest.raises(Refused, match="of 120 cells"):
        solids.binvox(as_binvox(grid)[:-2])
    with pytest.raises(Refused, match="header"):
        solids.binvox(b"#binvox 1\ndim 4 x 5\ndata\n\x00\x01")


CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SQUARES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def as_obj(vertices=CORNERS, squares=SQUARES):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    return "\n".join([*lines, *("f " + " ".join(str(i + 1) for i in s) for s in squares)]).encode() + b"\n"


def test_a_box_is_voxelised_solid_to_the_cell(folder):
    pytest.importorskip("trimesh")
    side = 16
    (folder / "cube.obj").write_bytes(as_obj())
    (folder / "tall.obj").write_bytes(as_obj(CORNERS * [7, 14, 3.5]))
    cube, tall = (solids.read(io.BytesIO((folder / n).read_bytes()), n, side)[0] for n in ("cube.obj", "tall.obj"))
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
    grid = solids.read(io.BytesIO((folder / f"a.{kind}").read_bytes()), f"a.{kind}", 32)[0]
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
    assert np.array_equal(solids.solid(shell), whole)
    shell[4, 4, 2] = False
    assert np.array_equal(solids.solid(shell), shell)
    # A winding passage, which takes several sweeps to walk through.
    maze = np.ones((7, 7, 7), bool)
    maze[3, 1:6, 1] = maze[3, 5, 1:6] = maze[3, 1:6, 5] = maze[3, 1, 3:6] = maze[3, 1:4, 3] = False
    assert np.array_equal(solids.solid(maze), np.ones_like(maze)), "closed: all is inside"
    maze[:4, 1, 1] = False
    assert np.array_equal(solids.solid(maze), maze), "open at one end: all is outside"


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

    (folder / "a.obj").write_bytes(as_obj())
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
    views = [turntable.render(grid, azimuth=a, elevation=e, pixels=48) for a, e in ((0, 0), (90, 0), (40, 30), (0, 90))]
    seen = [int((v < 0.99).any(1).sum()) for v in views]
    # The silhouette is a disc of 6.4 cells but for what corners of cells stick out; the view shows the cube's diagonal.
    smallest, largest = (np.pi * ((6.4 + more) * 48 / (16 * np.sqrt(3))) ** 2 for more in (-0.5, 0.87))
    assert all(smallest < s < largest for s in seen), (smallest, seen, largest)
    rod = -torch.ones(1, 1, 16, 16, 16)
    rod[0, 0, 7:9, :, 7:9] = 1
    side, top = (int((turntable.render(rod, azimuth=0, elevation=e, pixels=48) < 0.99).any(1).sum()) for e in (0, 90))
    assert side > 5 * top, "a pole is long from the side and small from above"


def test_upwards_is_up_near_hides_far_and_faces_have_their_shade():
    plate = -torch.ones(1, 1, 8, 8, 8)
    plate[..., 7, :] = 1
    view = turntable.render(plate, azimuth=0, elevation=0, pixels=64)[0]
    rows = (view < 0.99).any(0).any(1).nonzero().flatten()
    assert rows.max() < 32, "the highest cells are in the upper half"
    both = -torch.ones(1, 1, 8, 8, 8)
    both[0, 0, 7], both[0, 0, 0] = 1, 1
    near = turntable.render(both, azimuth=0, elevation=0, pixels=64)
    both[0, 0, 0] = -1
    assert torch.equal(near, turntable.render(both, azimuth=0, elevation=0, pixels=64)), "what is behind is not seen"
    full = torch.ones(1, 1, 8, 8, 8)
    shades = turntable.render(full, azimuth=45, elevation=35, pixels=64)[0, 2]
    top, left, right = shades[16, 32], shades[40, 20], shades[40, 44]
    assert len({round(float(s), 1) for s in (top, left, right)}) == 3
    assert top > max(left, right)
    assert (turntable.render(-full) == 1).all(), "nothing is white"


def test_a_turn_comes_round_and_pictures_are_laid_out():
    grids = torch.from_numpy(np.stack([ball(8), ball(8, 0.2)]))[:, None] * 2.0 - 1
    frames = turntable.turn(grids, steps=4)
    assert len(frames) == 4
    assert frames[0].shape == (96, 2 * 96 + 2, 3)
    assert np.array_equal(picture(grids, kind="voxels"), frames[0])
    moving = torch.rand(3, 1, 16, 20, 20) * 2 - 1
    strips = picture(moving, kind="video")
    assert strips.shape == (3 * 40 + 4, 8 * 40 + 14, 3)
    assert np.array_equal(strips[:40:2, :40:2, 0], to_uint8(moving[0, 0, 0]).numpy())
    assert np.array_equal(strips[-40::2, -40::2, 0], to_uint8(moving[2, 0, 15]).numpy())
    assert len(motion.frames(moving)) == 16


def test_samples_of_clips_and_shapes_are_data_again(folder):
    values = torch.rand(3, 1, 6, 8, 8) * 2 - 1
    from genzoo.use.outputs import save

    path = save(folder / "a.npz", values)
    back = clips(path, frames=6, holdout=0).fields["video"]
    assert sorted(np.array(back).ravel()) == sorted(to_uint8(values).numpy().ravel())
    save_gif(folder / "a.gif", motion.frames(torch.from_numpy(film()).permute(3, 0, 1, 2)[None] / 127.5 - 1), rest=1)
    with Image.open(folder / "a.gif") as gif:
        assert gif.n_frames == 6


def test_an_mp4_has_every_frame_and_even_sides(folder):
    av = pytest.importorskip("av")
    path = motion.save_mp4(folder / "a.mp4", [np.full((31, 45, 3), 20 * t, np.uint8) for t in range(9)])
    with av.open(str(path)) as opened:
        frames = [f.to_ndarray(format="rgb24") for f in opened.decode(video=0)]
    assert len(frames) == 9
    assert frames[0].shape == (32, 46, 3)
    assert np.abs(np.array([f.mean() for f in frames]) - 20 * np.arange(9)).max() < 5


def test_statistics_tell_still_from_moving_and_hardly_see_a_shuffled_set():
    rng = torch.Generator().manual_seed(0)
    still = torch.rand(40, 1, 1, 16, 16, generator=rng).expand(40, 1, 8, 16, 16) * 2 - 1
    moving = torch.rand(40, 1, 8, 16, 16, generator=rng) * 2 - 1
    a, b = video_statistics(still), video_statistics(moving)
    assert a.shape == (40, 3 * 16 + 6)
    assert a[:, 16:48].abs().max() == 0
    assert a[:, [48, 49, 50, 53]].abs().max() == 0
    assert torch.allclose(a[:, :16], torch.nn.functional.adaptive_avg_pool2d(still[:, :, 0], 4).flatten(1), atol=1e-6)
    assert b[:, 48].mean() == pytest.approx(2 / 3, abs=0.02), "of two uniform values in [-1, 1]"
    assert b[:, 53].mean() == pytest.approx(1 - 0.0975, abs=0.02)
    ramp = torch.linspace(-1, 1, 8).view(1, 1, 8, 1, 1).expand(2, 3, 8, 8, 8)
    assert torch.allclose(
        video_statistics(ramp)[:, 3 * 48 : 3 * 48 + 3], torch.tensor([1.0, 2.0, 4.0]) * 2 / 7, atol=1e-6
    )
    with pytest.raises(UserError, match="two or more frames"):
        video_statistics(moving[:, :, :1])


def test_described_sets_and_their_pages(folder):
    np.save(folder / "v.npy", np.stack([ball(16, 0.4), ball(16, 0.2)]))
    shapes = clips(folder / "v.npy", kind="voxels", holdout=0)
    assert describe(shapes)["shape"] == [1, 16, 16, 16]
    assert contact_sheet(shapes, 2).shape == (2, 1, 16, 16, 16)
    moving = clips("moving-digits", size=32, limit=5)
    assert contact_sheet(moving, 4).shape == (4, 1, 16, 32, 32)
    assert features_of(moving, "video", 4, 0).shape == (4, 54)


# ---- the whole way ---------------------------------------------------------------------------------------------------


def test_clips_are_trained_on_sampled_and_animated_by_the_command_line(tmp_path, folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        animated(folder / f"{i}.gif", film(t=8, seed=i, size=(16, 16)))
    small = ["latent=4", "width=4", "steps=2", "batch=2", "conditional=true"]
    assert main(["train", "video-gan", f"data={folder}", "frames=4", *small]) in (0, None)
    run = tmp_path / "runs" / "video-gan"
    assert len(list((run / "samples").glob("*.gif"))) == len(list((run / "samples").glob("*.png"))) > 0
    main(["sample", "runs/video-gan", "n=3"])
    with Image.open(run / "outputs" / "sample.gif") as gif:
        total = sum(_duration(gif, i) for i in range(gif.n_frames))
    assert 4 * 120 <= total <= 4 * 125, "equal frames are stored as one that stays; times are hundredths of a second"
    assert (run / "outputs" / "sample.png").exists()
    main(["sample", "runs/video-gan", "n=2", "out=each/"])
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == ["0.gif", "1.gif"]
    main(["sample", "runs/video-gan", "n=2", "out=x.npz"])
    with np.load(tmp_path / "x.npz") as found:
        assert found["samples"].shape == (2, 3, 4, 16, 16)
    Image.fromarray(film(size=(40, 30))[0]).save(tmp_path / "still.png")
    main(["animate", "runs/video-gan", "still.png"])
    assert (run / "outputs" / "animate.gif").exists()
    assert genzoo.animate(run, torch.zeros(2, 3, 16, 16)).shape == (2, 3, 4, 16, 16)
    main(["walk", "runs/video-gan", "rows=2", "steps=3"])
    assert (run / "outputs" / "walk.gif").exists()
    found = genzoo.evaluate(run, n=8)["measures"]["Fréchet distance of video statistics"]
    assert found["value"] > 0
    assert found["floor"] is not None
    assert "FVD" not in found["protocol"]
    main(["data", "show", str(folder), "frames=4", "kind=video", "out=page.png"])
    main(["data", "show", "moving-digits", "size=32", "limit=8", "out=moving.png"])
    assert (tmp_path / "moving.png").exists()
    capsys.readouterr()
    for words, message in (
        (["train", "video-gan", "data=digits"], "no clips"),
        (["train", "dcgan", "data=moving-digits"], "clips"),
        (["sample", "runs/video-gan", "out=x.wav"], ".gif"),
        (["animate", "runs/video-gan", "no.png"], "no.png"),
    ):
        assert main(words)
        assert message in capsys.readouterr().err


def _duration(gif, i):
    gif.seek(i)
    return gif.info["duration"]


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
