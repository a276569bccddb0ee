"""Video files as phones, cameras and editors write them: turned, stretched, cut, damaged, without pictures."""

import io
import itertools
import os
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data.decode.films import container
from tests.motion_help import clips

av = pytest.importorskip("av")

pytestmark = pytest.mark.usefixtures("fresh_cache")

QUARTERS = np.kron([[40, 90], [150, 220]], np.ones((16, 32))).astype(np.uint8)
"""A picture of 32x64 that is another one after every turn."""


def video(path, frames, *, codec="mpeg4", rate=25, times=None, pixel=None, container=None, options=None, kind="rgb24"):
    """Frames [T, H, W, C] as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container, options=(options or {}).pop("file", {})) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = kind if kind == "rgba" else "yuv420p"
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        if codec == "mpeg4":
            stream.bit_rate = 10**7
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)
            picture.pts, picture.time_base = (times or range(len(frames)))[i], Fraction(1, rate)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def gray(values, size=(32, 48)):
    """Frames that are all of one level."""
    return np.broadcast_to(np.asarray(values, np.uint8)[:, None, None, None], (len(values), *size, 3))


def all_of(folder, **keys):
    """Every clip, [N, C, T, H, W]."""
    return np.array(clips(folder, holdout=0, **keys).fields["video"])


def levels(folder, **keys):
    """The mean level of every frame of every clip."""
    return all_of(folder, **keys).mean((1, 3, 4))


def patched(path, mark, at, data):
    whole = bytearray(path.read_bytes())
    place = whole.index(mark) + at
    whole[place : place + len(data)] = data
    path.write_bytes(whole)


# ---- upright, in shape -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),  # a phone held upright
        ((-1, 0, 0, -1), lambda a: a[::-1, ::-1]),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),  # the camera that looks at its owner
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), np.transpose),
        ((0, -1, -1, 0), lambda a: np.rot90(a.T, 2)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_display_matrix_is_applied(folder, matrix, shown, suffix):
    path = video(folder / f"a.{suffix}", np.broadcast_to(QUARTERS[None, :, :, None], (6, 32, 64, 3)))
    a, b, c, d = (v * 65536 for v in matrix)
    patched(path, b"tkhd", 44, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    found = all_of(folder, frames=6)[0].mean((0, 1))
    wanted = shown(QUARTERS).astype(float)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted)[4:-4, 4:-4].mean() < 6, "upright, but for what the codec loses"
    assert any("1 of 1 files have a mark that turns" in n for n in clips(folder, frames=6).notes) == (
        matrix != (1, 0, 0, 1)
    )


def test_a_turn_by_another_angle_is_said(folder):
    path = video(folder / "a.mp4", gray(range(50, 56)))
    patched(path, b"tkhd", 44, struct.pack(">9i", 56756, 32768, 0, -32768, 56756, 0, 0, 0, 1 << 30))
    dataset = clips(folder, frames=6)
    assert dataset.facts()["shape"] == (3, 6, 32, 48)
    assert any("no multiple of 90 degrees: not applied" in n for n in dataset.notes)


@pytest.mark.parametrize(("pixel", "size"), [(Fraction(4, 3), (32, 64)), (Fraction(2, 3), (48, 48)), (None, (32, 48))])
def test_pixels_that_are_not_square_are_stretched(folder, pixel, size):
    frames = np.zeros((6, 32, 48, 3), np.uint8)
    frames[:, :16, :24] = 200
    video(folder / "a.mp4", frames, pixel=pixel)
    (found,) = all_of(folder, frames=6)
    assert found.shape == (3, 6, *size)
    lit = found[0, 0] > 100
    assert abs(lit.any(0).sum() - size[1] / 2) <= 1
    assert abs(lit.any(1).sum() - size[0] / 2) <= 1
    assert any("not square" in n for n in clips(folder, frames=6).notes) == bool(pixel)


def test_transparent_video_stands_on_white(folder):
    frames = np.zeros((6, 32, 48, 4), np.uint8)
    frames[:, :, :24] = [200, 10, 30, 255]
    frames[:, :, 24:] = [0, 90, 0, 0]
    video(folder / "a.mov", frames, codec="png", kind="rgba")
    (found,) = all_of(folder, frames=6)
    assert (found[:, :, 4, 4].T == [200, 10, 30]).all()
    assert (found[:, :, 4, 40] == 255).all()


# ---- all frames, and no others ---------------------------------------------------------------------------------------


def test_an_edit_list_is_followed_and_nothing_is_missed(folder):
    values = np.arange(20) * 10 + 20
    path = video(folder / "a.mp4", gray(values))
    whole = path.read_bytes()
    _, count, lasting, start, _ = struct.unpack_from(">IIIiI", whole, whole.index(b"elst") + 4)
    scale = struct.unpack_from(">I", whole, whole.index(b"mdhd") + 16)[0] // 25
    assert count == 1
    patched(path, b"elst", 12, struct.pack(">Ii", lasting - 200, start + 5 * scale))
    dataset = clips(folder, frames=15, holdout=0)
    assert np.abs(np.array(dataset.fields["video"]).mean((0, 1, 3, 4)) - values[5:]).max() < 3
    assert dataset.report == []
    assert not any("end early" in n or "decoded" in n for n in dataset.notes)


def damaged(path, at, **how):
    """48 frames that brighten by 4 levels each; the packet of frame `at` is all zeros."""
    video(path, gray(np.arange(48) * 4 + 20), **how)
    with av.open(str(path)) as opened:
        packets = [(p.pos, p.size, p.pts) for p in opened.demux(video=0) if p.size]
    whole = bytearray(path.read_bytes())
    place, size, _ = sorted(packets, key=lambda p: p[2])[at]
    whole[place : place + size] = bytes(size)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("codec", "options", "lost"),
    [
        ("mpeg4", {"g": "1"}, range(18, 19)),
        ("mpeg4", {"g": "12", "sc_threshold": "1000000000"}, range(18, 24)),
        ("mpeg2video", {"g": "12", "sc_threshold": "1000000000"}, range(18, 24)),  # passed over without a word
        ("libx264", {"g": "12", "bf": "0", "sc_threshold": "0", "crf": "5"}, range(18, 24)),
        ("libx264", {"g": "12", "bf": "2", "b-adapt": "0", "sc_threshold": "0", "crf": "5"}, None),
    ],
)
def test_what_cannot_be_decoded_is_counted_and_no_clip_spans_it(folder, codec, options, lost):
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} here")
    damaged(folder / "a.mp4", 18, codec=codec, options=options)
    dataset = clips(folder, frames=3, hop=1, holdout=0)
    found = np.array(dataset.fields["video"]).mean((1, 3, 4))
    assert np.abs(np.diff(found, axis=1) - 4).max() < 2, "frames of a clip follow each other"
    shown = {round((level - 20) / 4) for level in found.ravel()}
    if lost is not None:
        assert shown == set(range(48)) - set(lost)
    assert 18 not in shown
    count = 48 - len(shown) if lost is None else len(lost)
    assert any(f"{count} frames in 1 of 1 files cannot be decoded" in n for n in dataset.notes), dataset.notes
    with pytest.raises(UserError, match=f"{48 - count} frames with gaps where some cannot be decoded: shorter"):
        clips(folder, frames=40)


def test_of_a_file_that_ends_early_the_beginning_is_used(folder):
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 48, 3), dtype=np.uint8)
    path = video(folder / "a.mp4", noise, options={"file": {"movflags": "faststart"}})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    dataset = clips(folder, frames=4, holdout=0)
    assert 4 <= len(dataset) <= 5
    (note,) = [n for n in dataset.notes if "end early" in n]
    missing = int(note.split(": ")[1].split()[0])
    assert 18 <= missing <= 24
    path.write_bytes(whole[:-400] if whole[-400:].count(b"moov") == 0 else whole)
    video(folder / "a.avi", noise[:20])
    cut = (folder / "a.avi").read_bytes()
    path.unlink()
    (folder / "a.avi").write_bytes(cut[: len(cut) // 2])
    assert any("end early" in n for n in clips(folder, frames=4).notes)


@pytest.mark.parametrize(
    ("suffix", "codec", "demuxer", "format_"),
    [
        ("mp4", "mpeg4", "mov", None), ("mkv", "mpeg4", "matroska", None), ("avi", "mpeg4", "avi", None),
        ("ts", "mpeg2video", "mpegts", "mpegts"), ("mpg", "mpeg2video", "mpeg", "mpeg"), ("wmv", "wmv2", "asf", "asf"),
        ("flv", "flv", "flv", "flv"),
    ],
)  # fmt: skip
def test_every_container_gives_every_frame(folder, suffix, codec, demuxer, format_):
    values = np.arange(8) * 25 + 30
    path = video(folder / f"a.{suffix}", gray(values), codec=codec, container=format_)
    with open(path, "rb") as file:
        assert container(file) == demuxer
    found = levels(folder, frames=8)
    assert found.shape == (1, 8)
    assert np.abs(found[0] - values).max() < 4


def test_uneven_times_and_different_rates_are_said(folder):
    values = np.arange(8) * 25 + 30
    video(folder / "a.mp4", gray(values))
    assert not any("unequal" in n for n in clips(folder, frames=8).notes)
    video(folder / "b.mp4", gray(values), times=[0, 1, 2, 3, 9, 10, 11, 30])
    video(folder / "c.mp4", gray(values), rate=50)
    notes = " | ".join(clips(folder, frames=8).notes)
    assert "1 of 3 files show their frames for unequal times" in notes
    assert "files differ in frames per second" in notes
    assert "1 of 50" in notes
    assert np.abs(levels(folder, frames=8) - values).max() < 4, "every frame counts once"


# ---- animated pictures -----------------------------------------------------------------------------------------------


def lzw(indices):
    """Indices of four colours as GIF's blocks, without compression: a clear code before the table grows."""
    codes = [c for i in indices for c in (4, int(i))]
    bits = sum(c << (3 * k) for k, c in enumerate([*codes, 5]))
    data = bits.to_bytes((3 * len(codes) + 10) // 8, "little")
    blocks = b"".join(bytes([len(b)]) + b for b in (data[i : i + 255] for i in range(0, len(data), 255)))
    return b"\x02" + blocks + b"\0"


def gif(frames, *, disposal, times=None, place=None):
    """A GIF of 4x4 by hand: indices of black, red, green and nothing (3), a way to dispose of each frame, its place."""
    out = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x81, 0, 0) + bytes([0, 0, 0, 250, 0, 0, 0, 250, 0, 9, 9, 9])
    for i, frame in enumerate(frames):
        y, x = place[i] if place else (0, 0)
        h, w = frame.shape
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", disposal << 2 | 1, times[i] if times else 5, 3, 0)
        out += b"," + struct.pack("<HHHHB", x, y, w, h, 0) + lzw(frame.ravel())
    return out + b";"


@pytest.mark.parametrize(("disposal", "stays"), [(1, True), (2, False)])
def test_frames_of_a_gif_are_as_they_are_shown(folder, disposal, stays):
    empty = np.full((4, 4), 3)
    first = empty.copy()
    first[:2] = 1
    dots = [np.full((1, 1), 2), np.full((1, 1), 0)]
    (folder / "a.gif").write_bytes(gif([first, *dots], disposal=disposal, place=[(0, 0), (3, 0), (3, 3)]))
    found = all_of(folder, frames=3)[0].transpose(1, 2, 3, 0)
    white, red, green, black = [255] * 3, [250, 0, 0], [0, 250, 0], [0, 0, 0]
    wanted = np.full((3, 4, 4, 3), white)
    wanted[0, :2] = red
    wanted[1, 3, 0], wanted[2, 3, 3] = green, black
    if stays:
        wanted[1:, :2] = red
        wanted[2, 3, 0] = green
    assert np.array_equal(found, wanted)


def test_a_cut_gif_is_used_up_to_the_cut_and_uneven_times_are_said(folder):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 3, (4, 4)) for _ in range(8)]
    whole = gif(frames, disposal=1, times=[5, 5, 5, 5, 5, 5, 5, 90])
    (folder / "a.gif").write_bytes(whole)
    assert any("unequal times" in n for n in clips(folder, frames=8).notes)
    each = (len(whole) - len(gif([], disposal=1))) // 8
    (folder / "a.gif").write_bytes(whole[: len(gif([], disposal=1)) - 1 + 5 * each + 22])
    dataset = clips(folder, frames=5)
    colours = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0]])
    assert np.array_equal(np.array(dataset.fields["video"])[0].transpose(1, 2, 3, 0), colours[np.stack(frames[:5])])
    assert any("cannot be decoded" in n for n in dataset.notes)


# ---- what is no video ------------------------------------------------------------------------------------------------


def sound_only(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_sound_without_pictures_and_other_files_are_named(folder):
    sound_only(folder / "a.mp4")
    (folder / "b.mp4").write_bytes(struct.pack(">I", 24) + b"ftypisom" + bytes(500))
    (folder / "c.mp3").write_bytes(b"ID3\x04" + bytes(300))
    (folder / "d.pdf").write_bytes(b"%PDF-1.4\n" + bytes(300))
    (folder / "e.gif").write_bytes(b"GIF89a" + bytes(3))
    (folder / "f.png").write_bytes(b"")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    (folder / "g.png").write_bytes(buffer.getvalue())
    video(folder / "h.mp4", gray([1, 2, 3]))
    video(folder / "z.mp4", gray(range(20, 28)))
    dataset = clips(folder, frames=8)
    left = dict(dataset.report)
    wanted = {
        "a.mp4": "sound without moving pictures", "b.mp4": "damaged: its index cannot be read", "c.mp3": "an MP3 sound, not a clip",
        "d.pdf": "a PDF document, not a clip", "e.gif": "", "f.png": "empty file", "g.png": "one frame: a still picture",
        "h.mp4": "3 frames: shorter than a clip of 8",
    }  # fmt: skip
    assert {n: (w, left.get(n)) for n, w in wanted.items() if w not in left.get(n, "-")} == {}
    assert left.keys() == wanted.keys()
    inner = ("avcodec", "Invalid data", "Errno", "InvalidData", "BytesIO", "PIL")
    assert not [r for r, w in itertools.product(left.values(), inner) if w in r]


# ---- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.skipif("libx264" not in av.codecs_available, reason="PyAV was built without x264")
def test_one_film_is_one_file_whatever_memory_held_before(tmp_path):
    write = (
        "import sys, numpy as np\n"
        "from genzoo.data.drawing.clips import save_mp4\n"
        "rng = np.random.default_rng(0)\n"
        "for side in (20, 34):\n"
        "    frames = rng.integers(0, 256, (14, side, side, 3), dtype=np.uint8)\n"
        "    save_mp4(f'{sys.argv[1]}-{side}.mp4', list(frames))\n"
    )
    for fill in ("85", "200"):  # glibc fills what it lends with this byte
        subprocess.run(
            [sys.executable, "-c", write, tmp_path / fill], check=True, env={**os.environ, "MALLOC_PERTURB_": fill}
        )
    for side in (20, 34):
        one, two = ((tmp_path / f"{fill}-{side}.mp4").read_bytes() for fill in ("85", "200"))
        assert len(one) > 1000
        assert one == two
