"""Answers in the form that is asked for, and uploads within limits, through genzoo's own decoders."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import kinds
from genzoo.data.drawing.images import grid
from genzoo.testing import case_of
from genzoo.web.errors import Refused
from genzoo.web.pictures import answer, encoded, npy, png, read_image, read_npy, read_sound, wanted


def file(image, form="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("accept", "kind", "ending"),
    [
        ("", "image", ".png"),
        ("application/json", "image", ".png"),
        ("text/html, image/avif, image/png;q=0.8, */*;q=0.1", "image", ".png"),
        ("application/x-npy;q=0.2, image/png;q=0.9", "image", ".png"),
        ("image/png;q=0, application/x-npy", "image", ".npy"),
        ("application/octet-stream", "audio", ".npy"),
        ("*/*", "audio", ".wav"),
        ("image/png", "audio", ".png"),
        ("*/*", "video", ".gif"),
        ("image/*", "points", ".png"),
        ("image/png;q=nonsense, application/x-npy", "image", ".npy"),
    ],
)
def test_the_form_is_what_is_accepted(accept, kind, ending):
    assert wanted(accept, kinds.get(kind)) == ending


def test_a_form_that_there_is_not_is_refused():
    with pytest.raises(Refused, match="accept one of image/png, application/x-npy") as refused:
        wanted("audio/wav, text/html", kinds.get("image"))
    assert refused.value.status == 406


def test_pictures_are_what_is_drawn():
    x = torch.rand(3, 3, 5, 4) * 2 - 1
    kind, facts = kinds.get("image"), {"shape": (3, 5, 4)}
    one = np.asarray(Image.open(io.BytesIO(encoded(x[:1], kind, facts, ".png"))))
    assert np.array_equal(one, ((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded(x, kind, facts, ".png")))), grid(x))
    assert torch.equal(read_npy(encoded(x, kind, facts, ".npy")), x)
    gray = answer(x[:1, :1], case_of("dcgan").ready(), ".png")
    assert gray.media_type == "image/png"
    assert Image.open(io.BytesIO(gray.body)).mode == "L"


def test_sounds_and_clips_are_files_of_their_own():
    sound = encoded(torch.zeros(2, 1, 80), kinds.get("audio"), {"shape": (1, 80), "rate": 8000}, ".wav")
    with wave.open(io.BytesIO(sound)) as read:
        assert read.getframerate() == 8000
    clip = encoded(torch.zeros(1, 1, 4, 8, 8), kinds.get("video"), {"shape": (1, 4, 8, 8)}, ".gif")
    assert Image.open(io.BytesIO(clip)).format == "GIF"


def test_an_upload_is_read_as_a_file_is():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    x = read_image(png(pixels), 3)
    assert torch.equal(x, torch.from_numpy(pixels).permute(2, 0, 1).float().div(127.5).sub(1))
    assert read_image(png(pixels), 1, size=(3, 3)).shape == (1, 3, 3)
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert read_image(file(clear), 3).eq(1).all(), "what is transparent is laid on white"
    assert read_image(file(Image.new("RGB", (8, 8), "red"), "JPEG"), 3).shape == (3, 8, 8)
    labels = Image.fromarray(np.array([[0, 3]], np.uint8))
    assert (read_image(file(labels), 1, numbers=True) + 1).mul(127.5).round().tolist() == [[[0, 3]]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hello", "is no usable image"),
        (file(Image.new("L", (300, 300)))[:60], "is no usable image"),
        (file(Image.new("1", (5000, 5000))), "more than 16 megapixels"),
        (file(Image.new("L", (4, 4)), "PDF"), "is no usable image"),
        (npy(np.zeros((4, 4, 4, 4, 4))), "is no picture"),
    ],
)
def test_an_upload_that_is_no_use_is_said(data, said):
    with pytest.raises(Refused, match=said) as refused:
        read_image(data, 3, name="a\nb.png")
    assert "\n" not in str(refused.value)


def test_a_sound_that_is_too_long_is_said():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(4 * 8000))
    assert read_sound(buffer.getvalue(), 4000).shape == (1, 4000)
    with pytest.raises(Refused, match=r"longer than 0\.5 s"):
        read_sound(buffer.getvalue(), 4000, seconds=0.5)
    with pytest.raises(Refused, match="no usable sound"):
        read_sound(b"RIFF", 4000)


@pytest.mark.parametrize("data", [b"", b"x", npy(np.zeros(3))[:-4], npy(np.array([np.nan])), npy(np.array(["a"]))])
def test_an_array_that_is_no_use_is_said(data):
    with pytest.raises(Refused, match=r"array|finite|numbers|bytes"):
        read_npy(data, "a.npy")
    with pytest.raises(ValueError, match="Object arrays"):
        npy(np.array([{}], dtype=object))
