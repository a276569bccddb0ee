"""Videos through the verbs that change images: a video out with the same rate, frames one at a time, and what is not kept is said."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.use.common import films
from genzoo.use.common.files import Photo, change_files, read_photo

av = pytest.importorskip("av", reason="videos are read and written by the extra 'video'")
RATE = Fraction(25, 2)


def clip(path, n=7, size=(32, 48), sound=False, rate=RATE):
    """A film whose frames grow brighter."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        heard = film.add_stream("aac", rate=22050, layout="mono") if sound else None
        for i in range(n):
            picture = np.full((*size, 3), 20 + 25 * i, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())
        if heard:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), format="fltp", layout="mono")
            tone.sample_rate = 22050
            film.mux(heard.encode(tone))
            film.mux(heard.encode())
    return path


def seen(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
        return stream.average_rate, frames, len(film.streams.audio)


def negative(photo, file):
    return Photo(255 - photo.pixels)


def refuse(file):
    raise UserError(f"{file} is no image")


def changed(images, out, **more):
    return change_files(images, out, refuse, frame=negative, **more)


def test_a_video_becomes_a_video_of_the_same_rate_and_its_sound_is_dropped_and_told(tmp_path, capsys):
    (film,) = changed(clip(tmp_path / "a.mp4", sound=True), tmp_path / "out")
    assert film == tmp_path / "out" / "a.mp4"
    rate, frames, sound = seen(film)
    assert (rate, len(frames), frames[0].shape, sound) == (RATE, 7, (32, 48, 3), 0)
    for i, frame in enumerate(frames):
        assert abs(float(frame.mean()) - (255 - 20 - 25 * i)) < 6
    assert "a.mp4': its sound is not kept" in capsys.readouterr().err
    changed(clip(tmp_path / "silent.mp4"), tmp_path / "out")
    assert "sound" not in capsys.readouterr().err


def test_the_original_stays_and_a_result_is_replaced_on_request_only(tmp_path):
    original = clip(tmp_path / "a.mp4")
    before = original.read_bytes()
    (first,) = changed(original, tmp_path, overwrite=True)
    (second,) = changed(original, original, overwrite=True)
    assert (first.name, second.name) == ("a-2.mp4", "a-3.mp4")
    (third,) = changed(original, first, overwrite=True)
    assert third == first
    assert original.read_bytes() == before


def test_a_video_as_a_folder_of_frames_and_a_folder_of_frames_as_a_folder(tmp_path):
    written = changed(clip(tmp_path / "a.mp4", n=3), tmp_path / "frames" / "*.png")
    assert [p.relative_to(tmp_path).as_posix() for p in written] == [f"frames/a/00000{i}.png" for i in (1, 2, 3)]
    again = change_files(tmp_path / "frames" / "a", tmp_path / "again", lambda file: read_photo(file, 3))
    assert [p.name for p in again] == ["000001.png", "000002.png", "000003.png"]


def test_videos_and_pictures_together_each_as_what_it_is(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    clip(tmp_path / "in" / "deep" / "b.mkv", rate=30)
    clip(tmp_path / "in" / "a.mov")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "c.png")
    written = change_files(tmp_path / "in", tmp_path / "out", lambda file: read_photo(file, 3), frame=negative)
    assert {p.relative_to(tmp_path / "out").as_posix() for p in written} == {"a.mp4", "deep/b.mp4", "c.png"}
    assert seen(tmp_path / "out" / "deep" / "b.mp4")[0] == 30


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x.png", "is a picture, and .*a.mp4 a video"),
        ("x.jpg", "is a picture, and"),
        ("x.bmp", "give a name that ends in"),
    ],
)
def test_a_video_is_not_written_as_one_picture(tmp_path, out, said):
    with pytest.raises(UserError, match=said):
        changed(clip(tmp_path / "a.mp4"), tmp_path / out)


def test_one_film_is_no_place_for_several(tmp_path):
    with pytest.raises(
        UserError, match=r"x\.mp4 names one film, and there are 2 files, videos among them; give a folder"
    ):
        changed([clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4")], tmp_path / "x.mp4")


def test_a_damaged_video_is_left_out_and_no_half_of_a_result_stays(tmp_path, capsys):
    whole, cut = clip(tmp_path / "a.mp4"), tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:400])
    written = changed([whole, cut], tmp_path / "out")
    assert [p.name for p in written] == ["a.mp4"]
    assert "left out: '" in (said := capsys.readouterr().err)
    assert "cut.mp4' is no usable video" in said
    with pytest.raises(UserError, match=r"cut\.mp4' is no usable video: damaged"):
        changed(cut, tmp_path / "out")

    def stops(photo, file):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change_files(whole, tmp_path / "new", refuse, frame=stops)
    assert [p.name for p in (tmp_path / "new").iterdir()] == []


def test_what_is_called_a_video_and_is_none_is_no_video_and_a_picture_of_that_name_is_a_picture(tmp_path):
    (tmp_path / "fake.mp4").write_text("hello")
    for out in ("out", "x.mp4"):
        with pytest.raises(UserError, match=r"fake\.mp4' is no usable video: text, not a clip"):
            changed(tmp_path / "fake.mp4", tmp_path / out)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "b.mp4", "PNG")
    (written,) = change_files(tmp_path / "b.mp4", tmp_path / "out", lambda file: read_photo(file, 3), frame=negative)
    assert written.name == "b.png"


def test_sides_that_are_odd_and_rates_of_television_are_kept(tmp_path):
    (film,) = change_files(
        clip(tmp_path / "a.mp4", rate=Fraction(30000, 1001)), tmp_path / "out", refuse,
        frame=lambda photo, file: Photo(photo.pixels[:31, :47]),
    )  # fmt: skip
    rate, frames, _ = seen(film)
    assert (rate, frames[0].shape) == (Fraction(30000, 1001), (32, 48, 3))
    assert films.length(film) == 7


def test_the_commands_take_videos(runs, tmp_path, capsys):
    run, film = str(runs("cyclegan").path), str(clip(tmp_path / "a.mp4", sound=True))
    assert main(["translate", run, film, f"out={tmp_path}/b.mp4", "size=16"]) == 0
    assert f"wrote {tmp_path}/b.mp4" in capsys.readouterr().out
    rate, frames, _ = seen(tmp_path / "b.mp4")
    assert (rate, len(frames), frames[0].shape) == (RATE, 7, (16, 24, 3))
    assert main(["translate", run, film, f"out={tmp_path}/c.gif", "fps=5"]) == 0
    with Image.open(tmp_path / "c.gif") as gif:
        assert (gif.n_frames, gif.info["duration"]) == (7, 200)
    assert main(["translate", run, film, f"out={tmp_path}/c.png"]) == 2


def test_enlarging_and_coloring_share_it(runs, tmp_path):
    film = str(clip(tmp_path / "a.mp4", n=2))
    assert main(["upscale", str(runs("srgan").path), film, f"out={tmp_path}/up.mp4", "size=16"]) == 0
    assert seen(tmp_path / "up.mp4")[1][0].shape[0] % 16 == 0
    assert main(["colorize", str(runs("colorizer").path), film, f"out={tmp_path}/col.mp4", "size=16"]) == 0
    assert seen(tmp_path / "col.mp4")[1][0].shape == (16, 24, 3)


def test_a_film_of_uneven_times_keeps_its_length_and_what_is_seen_longer_is_changed_once(tmp_path, capsys):
    """As phones and screen recordings are: 0 to 3, one that stays for six, two, and one that stays for ten."""
    times = [0, 1, 2, 3, 9, 10, 20, 21]
    with av.open(str(tmp_path / "a.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for i, at in enumerate(times):
            picture = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 20 + 25 * i, np.uint8), format="rgb24")
            picture.pts, picture.time_base = at, Fraction(1, 25)
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
    calls = []

    def count(photo, file):
        calls.append(1)
        return photo

    (made,) = change_files(tmp_path / "a.mp4", tmp_path / "out", refuse, frame=count)
    rate, frames, _ = seen(made)
    assert rate == 25
    levels = np.array([f.mean() for f in frames])
    want = 20 + 25 * np.array([0, 1, 2, *[3] * 6, 4, *[5] * 10, 6, 7])
    assert levels.shape == want.shape
    assert np.abs(levels - want).max() < 5
    assert len(calls) == len(times)
    assert "its frames stand at uneven times; the result shows them at 25 in a second" in capsys.readouterr().err
