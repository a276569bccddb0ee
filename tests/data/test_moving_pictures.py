"""Clips: what is read, what is left out and why, cutting, moving digits, the whole way."""

import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.data.drawing import clips as animation
from genzoo.data.drawing.images import to_uint8
from genzoo.data.sources.moving_digits import SPEED
from tests.motion_help import all_of, animated, clips, film, numbered

pytestmark = pytest.mark.usefixtures("fresh_cache")


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
    animation.save_mp4(folder / "a.mp4", list(smooth))
    animation.save_mp4(folder / "b.mp4", list(smooth[::-1]))
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
        animation.save_mp4(folder / "b.mp4", [np.zeros((8, 8, 3), np.uint8)])


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
    whole = animation.save_mp4(folder / "a.mp4", list(film(t=20, size=(64, 64)))).read_bytes()
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
    from genzoo.data.decode.forms import ImageFormat
    from genzoo.data.sources.moving_digits import MovingClip

    digits = np.full((1, 4, 4), 200, np.uint8)
    frames = np.stack(list(MovingClip("x", "train", 3, digits, 20, 60).frames(ImageFormat(20, 20, 1))))[:, 0]
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
