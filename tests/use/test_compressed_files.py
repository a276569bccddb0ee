"""Files that are no whole compressed images: cut, flipped, mutated, of another model or version; each is refused in words."""

import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.errors import UserError
from genzoo.use.common import codec
from genzoo.use.compress import exact_images
from tests.compress_help import images, ready, sharp
from tests.conftest import build

pytest.importorskip("constriction")


def test_every_cut_and_every_flipped_byte_is_one_clear_line():
    model, x = sharp(), images(2)
    data, _ = codec.encode(model, x, ("a.png", "b.png"))
    for length in (0, 2, 5, 20, 60, len(data) - 1):
        with pytest.raises(UserError, match=r"damaged or cut off|not written by") as error:
            codec.decode(model, data[:length], "x.gzoo")
        assert len(str(error.value).splitlines()) == 1
    for at in range(0, len(data), 3):
        wrong = bytearray(data)
        wrong[at] ^= 0x20
        with pytest.raises(UserError, match=r"damaged|not written by|of format"):
            codec.decode(model, bytes(wrong), "x.gzoo")
    for other in (b"", b"PK\x03\x04" + bytes(100), data + b"x"):
        with pytest.raises(UserError, match=r"'x\.gzoo'"):
            codec.decode(model, other, "x.gzoo")


def test_another_model_is_refused_and_an_equal_one_is_not():
    model, x = sharp(), images(2)
    data, _ = codec.encode(model, x)
    twin = sharp()
    assert torch.equal(codec.decode(twin, data)[0], codec.decode(model, data)[0])
    with torch.no_grad():
        next(twin.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(UserError, match="another model"):
        codec.decode(twin, data)
    with pytest.raises(UserError, match="cannot compress images"):
        codec.decode(build("gaussian"), data)


@pytest.mark.parametrize("part", [0, 1])
def test_arithmetic_that_differs_is_refused_with_what_differs(monkeypatch, part):
    model, x = sharp(), images(2)
    here = codec.environment(model)
    there = tuple("2.99.0" if i == part else v for i, v in enumerate(here))
    with monkeypatch.context() as patch:
        patch.setattr(codec, "environment", lambda system: there)
        data, _ = codec.encode(model, x)
    with pytest.raises(UserError, match=r"was made with 2\.99\.0, here is .*rounded differently"):
        codec.decode(model, data)


def test_a_machine_that_rounds_differently_all_the_same_is_noticed_by_the_content(monkeypatch):
    model, x = sharp(), images(2)
    data, _ = codec.encode(model, x)
    exact = codec.frequencies

    for trial in range(24):  # of old, eight of them or so ended in the coder's own error
        order = np.random.default_rng(trial).permutation(256)
        monkeypatch.setattr(
            codec, "frequencies", lambda log_p, order=order: np.ascontiguousarray(exact(log_p)[:, order])
        )
        with pytest.raises(
            UserError, match=r"'x\.gzoo' did not come back as it was: it is damaged, or this machine rounds"
        ):
            codec.decode(model, data, "x.gzoo")


def test_images_that_would_not_come_back_exactly_are_refused():
    model = ready("pixelcnn", levels=16)
    known = images(70, levels=16).mul(7.5).add(7.5).round().mul(17).div(127.5).sub(1)
    with pytest.raises(UserError, match=r"image 67 .*levels=16"):
        codec.encode(model, torch.cat([known[:67], images(2)]))
    assert torch.equal(codec._grey(codec.decode(model, codec.encode(model, known[:3])[0])[0]), codec._grey(known[:3]))
    with pytest.raises(UserError, match="shape"):
        codec.encode(model, images(2, (1, 9, 8)))
    with pytest.raises(UserError, match="output=l2"):
        codec.encode(ready("pixelcnn", output="l2"), images(2))
    with pytest.raises(UserError, match="float32"):
        codec.encode(ready("pixelcnn").double(), images(2))


def test_without_the_coder_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    with pytest.raises(UserError, match=r"genzoo\[compress\]"):
        codec.encode(ready("pixelcnn"), images(2))


def test_files_are_read_without_changing_a_value(folder):
    model = ready("pixelcnn")
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(np.repeat(gray[..., None], 3, 2)).save(folder / "rgb.png")
    x = exact_images([folder / "gray.png", folder / "rgb.png"], model)
    assert torch.equal(((x + 1) * 127.5).round()[0, 0], torch.from_numpy(gray).float())
    assert torch.equal(x[0], x[1])
    wrong = {
        "small": (np.zeros((7, 8), np.uint8), "does not resize"),
        "coloured": (np.dstack([gray, gray, gray + 1]), "coloured"),
        "deep": (np.zeros((8, 8), np.uint16), "8-bit"),
        "clear": (np.zeros((8, 8, 4), np.uint8), "transparent"),
    }
    for name, (array, why) in wrong.items():
        Image.fromarray(array).save(folder / f"{name}.png")
        with pytest.raises(UserError, match=why):
            exact_images([folder / f"{name}.png"], model)
    (folder / "text.png").write_text("hello")
    with pytest.raises(UserError, match="no usable image"):
        exact_images([folder / "text.png"], model)


# ---- files that somebody has worked on ---------------------------------------------------------------------------------------------


def sealed(body):
    """A file with a right checksum."""
    return codec.MAGIC + struct.pack("<BI", codec.VERSION, zlib.crc32(body)) + body


def mutated(data, seed):
    """A file with some bytes changed, left out, put in or doubled, and for every second seed the checksum made right again."""
    r = random.Random(seed)
    body = bytearray(data[8:] if seed % 2 else data)
    for _ in range(r.choice((1, 1, 2, 8))):
        at = r.randrange(max(1, min(len(body), 120 if seed % 4 else len(body))))
        kind = r.randrange(5)
        if kind == 0:
            body[at : at + 1] = bytes([r.randrange(256)])
        elif kind == 1:
            del body[at : at + r.randrange(1, 40)]
        elif kind == 2:
            body[at:at] = r.randbytes(r.randrange(1, 40))
        elif kind == 3:
            body[at : at + 4] = r.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"))
        else:
            body += body[at : at + 4 * r.randrange(1, 2000)]
    return sealed(bytes(body)) if seed % 2 else bytes(body)


def judged(seeds):
    """What becomes of mutated files: a sentence, or the images and names as they were."""
    model, x, names = sharp(), images(5), tuple(f"bild-{i}.png" for i in range(5))
    data, _ = codec.encode(model, x, names)
    tracemalloc.start()
    outcomes = {"refused": 0, "exact": 0}
    for seed in seeds:
        try:
            back, header = codec.decode(model, mutated(data, seed), "x.gzoo")
        except UserError as error:
            assert "x.gzoo" in str(error), seed
            assert len(str(error).splitlines()) == 1, seed
            outcomes["refused"] += 1
        else:
            assert torch.equal(codec._grey(back), codec._grey(x)), seed
            assert header == codec.unpack(data, "")[0], seed
            outcomes["exact"] += 1
    assert tracemalloc.get_traced_memory()[1] < 100e6, "names that unpack to gigabytes, counts of billions"
    tracemalloc.stop()
    return outcomes


def test_mutated_files_are_refused_in_a_sentence():
    assert judged(range(40))["refused"] > 30


@pytest.mark.slow
def test_hundreds_of_mutated_files_are_refused_in_a_sentence():
    assert judged(range(1000, 1600))["refused"] > 500


def packed(header, names=b"", words=b"", **numbers):
    """The body of a file with a header that `pack` would not write."""
    given = {
        "count": header.count,
        "c": header.shape[0],
        "h": header.shape[1],
        "w": header.shape[2],
        "levels": header.levels,
        **numbers,
    }
    text = "\n".join([header.system, *header.machine]).encode()
    parts = (*given.values(), len(text), len(names))
    return header.model + header.content + b"".join(map(codec._varint, parts)) + text + names + words


def test_headers_that_cannot_be_are_refused_at_once():
    model = sharp()
    header, words = codec.unpack(codec.encode(model, images(2))[0], "")
    assert sealed(packed(header, words=words)) == codec.encode(model, images(2))[0]
    bomb = zlib.compress(bytes(50_000_000), 9)
    deep = zlib.compress(b"[" * 9000)
    for body in (
        packed(header, words=words + b"x"),
        packed(header, words=words, count=0),
        packed(header, words=words, count=1 << 40),
        packed(header, names=bomb, words=words),
        packed(header, names=deep, words=words),
        packed(header, names=zlib.compress(b'["a"]'), words=words),
        packed(header, names=zlib.compress(b"[1, 2]"), words=words),
        packed(header, names=b"not zlib", words=words),
        header.model + header.content + b"\xff" * 5000,
        b"",
    ):
        with pytest.raises(UserError, match=r"'x\.gzoo' is damaged or not from .* header makes no sense"):
            codec.decode(model, sealed(body), "x.gzoo")
    for body in (
        packed(header, words=words, h=4, w=16),
        packed(header, words=words, levels=16),
        packed(header, words=words, count=3),
        packed(header, words=words, count=1),
        packed(header, words=words, count=1 << 31),
        packed(header, words=words[:-4]),
        packed(header, words=b""),
        packed(header, words=words + bytes(4)),
        packed(header, words=words + bytes(1 << 20)),
        packed(header, names=zlib.compress(b'["a", "b"]'), words=words),
    ):
        with pytest.raises(UserError, match=r"'x\.gzoo' did not come back as it was"):
            codec.decode(model, sealed(body), "x.gzoo")


def test_a_file_of_the_format_before_is_refused_with_what_to_do():
    data, _ = codec.encode(sharp(), images(2))
    with pytest.raises(UserError, match=r"of format 1; this genzoo reads format 4: decompress it with the version"):
        codec.decode(sharp(), data[:3] + b"\x01" + data[4:], "x.gzoo")


def test_a_large_file_of_another_kind_is_not_read_whole(tmp_path):
    with (tmp_path / "x.gzoo").open("wb") as file:
        file.truncate(1 << 31)
    tracemalloc.start()
    with pytest.raises(UserError, match="was not written by"):
        genzoo.decompress(tmp_path / "x.gzoo", sharp())
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
