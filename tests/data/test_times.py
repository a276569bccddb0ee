"""Films at even times, their sound, and what a broken one is called."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.times import MOST_FRAMES, at_rate
from genzoo.data.formats import refusal
from genzoo.use.common.images import read_image
from tests.data.test_films import QUARTERS, gray, levels, patched, video
from tests.motion_help import animated, clips, film, numbered

av = pytest.importorskip("av")

pytestmark = pytest.mark.usefixtures("fresh_cache")


def seen(times, rate, lasts=Fraction(1, 25)):
    """Which frame is seen at every moment; -1 for missing ones."""
    shown = [(None, lasts, None) if t is None else (Fraction(t), lasts, np.array(i)) for i, t in enumerate(times)]
    return [-1 if f is None else int(f) for f in at_rate(shown, Fraction(rate))]


def test_frames_are_repeated_and_passed_over_by_their_times():
    assert seen([0, Fraction(1, 25), Fraction(2, 25)], 25) == [0, 1, 2]
    assert seen([Fraction(k, 50) for k in range(8)], 25, Fraction(1, 50)) == [0, 2, 4, 6]
    assert seen([Fraction(k, 10) for k in range(3)], 20, Fraction(1, 10)) == [0, 0, 1, 1, 2, 2]
    assert seen([7, 7 + Fraction(3, 25), 7 + Fraction(4, 25)], 25) == [0, 0, 0, 1, 2], (
        "the first frame is the beginning"
    )
    assert seen([Fraction(k, 30) for k in range(90)], 25, Fraction(1, 30)) == [(6 * k + 0) // 5 for k in range(75)]


def test_times_that_a_container_rounded_are_those_that_were_meant():
    """Matroska keeps milliseconds: 33, 67, 100 for 30 frames in a second. None is lost or doubled in 1,000."""
    times = [Fraction(round(1000 * k / 30), 1000) for k in range(1000)]
    assert seen(times, 30, Fraction(33, 1000)) == list(range(1000))
    ntsc = [Fraction(round(90_000 * k * 1001 / 30_000), 90_000) for k in range(1000)]
    assert seen(ntsc, Fraction(30_000, 1001), Fraction(3003, 90_000)) == list(range(1000))


def test_no_moment_is_shown_of_what_is_missing():
    assert seen([0, Fraction(1, 25), None, Fraction(5, 25)], 25) == [0, 1, -1, 3]
    assert seen([None, 0, Fraction(1, 25)], 25) == [1, 2]
    assert seen([], 25) == []
    assert seen([Fraction(3, 25), Fraction(1, 25), Fraction(4, 25)], 25) == [0, 2], "time does not run backwards"


def test_a_frame_that_lasts_for_years_is_refused_before_memory_is_taken():
    with pytest.raises(
        Rejected, match=rf"at fps=25 it has more than {MOST_FRAMES:,} frames \(one lasts 1,000,000,000 seconds\)"
    ):
        seen([0, 10**9], 25)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_films_are_brought_to_one_rate(folder, suffix):
    """At 25 in a second: 0 to 3, then one that stays for six, two quick ones, and one that stays for ten."""
    values = np.arange(8) * 25 + 30
    video(folder / f"a.{suffix}", gray(values), times=[0, 1, 2, 3, 9, 10, 20, 21])
    found = levels(folder, frames=21, fps=25)
    want = values[[0, 1, 2, *[3] * 6, 4, *[5] * 10, 6]]
    assert np.abs(found[0] - want).max() < 4
    assert np.abs(levels(folder, frames=10, fps=12.5)[0] - want[:20:2]).max() < 4
    notes = clips(folder, frames=21, fps=25).notes
    assert "1 of 1 files show their frames for unequal times; brought to 25 in a second" in notes
    assert any("each counts once; fps=25 shows all at even times" in n for n in clips(folder, frames=8).notes)


def test_files_of_several_rates_are_brought_to_one(folder):
    values = np.arange(16) * 12 + 30
    video(folder / "a.mp4", gray(values))
    video(folder / "b.mp4", gray(values), rate=50)
    found = sorted(levels(folder, frames=8, fps=25).tolist())
    assert len(found) == 3
    assert np.abs(np.array(found) - [values[:8], values[::2], values[8:]]).max() < 5
    assert any("all are brought to 25" in n for n in clips(folder, frames=8, fps=25).notes)
    assert any("fps= brings all to one" in n for n in clips(folder, frames=8).notes)


def test_animated_pictures_have_times_and_numbered_frames_none(folder):
    frames = film(t=3)
    animated(folder / "g" / "a.gif", frames)  # 50 ms each
    found = np.array(clips(folder / "g", frames=6, fps=40, holdout=0).fields["video"])[0].transpose(1, 2, 3, 0)
    assert np.array_equal(found, frames.repeat(2, 0))
    numbered(folder / "n" / "c", film(t=6))
    dataset = clips(folder / "n", frames=6, fps=40)
    assert any("1 of 1 files say nothing of times" in n and "fps= changes nothing of them" in n for n in dataset.notes)


def test_a_turned_film_is_turned_at_even_times_too(folder):
    frames = np.repeat(QUARTERS[None, :, :, None], 3, -1).repeat(4, 0)
    path = video(folder / "a.mov", frames, times=[0, 1, 5, 6])
    patched(path, b"tkhd", 44, struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))
    found = np.array(clips(folder, frames=7, fps=25, holdout=0).fields["video"])[0, 0]
    assert found.shape == (7, 64, 32)
    assert np.abs(found.astype(int) - np.rot90(QUARTERS, -1)).mean() < 3


# ---- sound, and what is broken --------------------------------------------------------------------------------------------------------


def with_sound(path):
    with av.open(str(path), "w") as out:
        seen_, heard = out.add_stream("mpeg4", rate=25), out.add_stream("aac", rate=8000)
        seen_.width = seen_.height = 32
        seen_.pix_fmt = "yuv420p"
        for i in range(8):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i, np.uint8), format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            out.mux(seen_.encode(picture))
        out.mux(seen_.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        out.mux(heard.encode(sound))
        out.mux(heard.encode())


def test_the_sound_of_films_is_left_out_and_told(folder):
    with_sound(folder / "a.mp4")
    video(folder / "b.mp4", gray(np.arange(8) * 20))
    dataset = clips(folder, frames=8)
    assert any(
        "1 of 2 files have sound, which is left out (systems for sound read it: ffmpeg" in n for n in dataset.notes
    )
    assert sum(dataset.sizes["video"].values()) == 2


@pytest.mark.parametrize("content", [bytes(500), b"\xff\x00\x17" * 200, b"<html>x</html>"])
@pytest.mark.parametrize("name", ["x.mp4", "x.MOV", "x.webm"])
def test_a_broken_film_is_no_broken_image(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as found:
        read_image(tmp_path / name, 3)
    assert str(found.value).startswith(f"'{tmp_path / name}' is no usable video: ")
    assert "image" not in str(found.value)
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.png' is no usable image"):
        read_image(tmp_path / "x.png", 3)


def test_a_whole_film_where_an_image_is_wanted_says_what_to_do(tmp_path):
    video(tmp_path / "x.mp4", gray([1, 2, 3]))
    with pytest.raises(UserError, match=r"x\.mp4' is no usable image: an MP4 video, not an image: take its frames out"):
        read_image(tmp_path / "x.mp4", 3)
    assert refusal(bytes(100), "x.mkv", "clip") == "damaged: its beginning is missing or overwritten; copy it again"
