"""Unreadable and hostile files are named with their reason and left out; nothing crashes, nothing is written elsewhere."""

import io
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.decode import images as decode
from genzoo.data.sources import arrays, trees
from genzoo.data.sources import folder as folders

pytestmark = pytest.mark.usefixtures("fresh_cache")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    (path / "good.png").write_bytes(png())
    return path


def png(size=(8, 8), level=3):
    buffer = io.BytesIO()
    Image.new("L", size, level).save(buffer, "PNG")
    return buffer.getvalue()


def noise(suffix):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, suffix)
    return buffer.getvalue()


def read(path, **settings):
    return open_data(DataSettings(str(path), **settings), quiet=True)


def reasons(path):
    """What was left out; the good image must have been read."""
    dataset = read(path)
    assert dataset.fields["image"][:, 0, 0, 0].tolist() == [3]
    text = (dataset.folder / "report.txt").read_text()
    for name, reason in dataset.report:
        assert f"{name}: {reason}" in text
    return dict(dataset.report)


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "tiff", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated(folder, suffix, share):
    data = noise(suffix)
    (folder / f"bad.{suffix}").write_bytes(data[: int(len(data) * share)])
    reason = reasons(folder)[f"bad.{suffix}"]
    assert "truncated" in reason or "damaged" in reason or "not an image" in reason


def test_empty_text_and_unknown(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "README.md").write_text("Bilder für alle\n" * 50)
    (folder / "fake.jpg").write_text("not really")
    (folder / "data.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "script.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    found = reasons(folder)
    assert found["empty.png"] == "empty file"
    assert found["README.md"] == found["fake.jpg"] == "text, not an image"
    assert "EPS" in found["script.eps"]
    assert found["data.bin"] == "not an image of a known format"


def test_hidden_files_are_not_looked_at(folder):
    (folder / ".DS_Store").write_bytes(b"junk")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._good.png").write_bytes(b"junk")
    assert reasons(folder) == {}


def test_random_bytes_behind_every_signature(folder):
    rng = np.random.default_rng(0)
    heads = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"BM",
        b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        b"II*\x00",
        b"P6 9 9 255\n",
    ]
    for i in range(70):
        (folder / f"{i:02}.png").write_bytes(heads[i % 7] + rng.integers(0, 256, 200, dtype=np.uint8).tobytes())
    found = reasons(folder)
    assert len(found) == 70


def test_flipped_bytes_never_crash(tmp_path):
    path = tmp_path / "flipped"
    path.mkdir()
    (path / "good.png").write_bytes(png())
    rng = np.random.default_rng(1)
    for suffix in ("png", "jpeg", "webp", "tiff", "gif"):
        for i in range(12):
            data = bytearray(noise(suffix))
            for at in rng.integers(0, min(len(data), 400), 5):
                data[at] = rng.integers(256)
            (path / f"{suffix}{i}").write_bytes(bytes(data))
    dataset = read(path, size=8, holdout=0)
    assert len(dataset) + len(dataset.report) == 61


def test_bomb_is_refused_before_decoding(folder, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    (folder / "bomb.png").write_bytes(png((11, 10)))
    assert "11x10" in reasons(folder)["bomb.png"]


def test_bomb_in_the_header_only(folder):
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "bomb.png").write_bytes(data + png()[33:])
    assert "megapixels" in reasons(folder)["bomb.png"]


def test_large_file_is_not_opened(folder, monkeypatch):
    monkeypatch.setattr(folders, "MAX_BYTES", 2000)
    (folder / "large.bmp").write_bytes(noise("bmp"))
    assert "larger than" in reasons(folder)["large.bmp"]


def test_links(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png(level=9))
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "out").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "nothing.png").symlink_to(folder / "absent.png")
    assert reasons(folder) == {
        "out.png": "link that leads out of the folder (links=true follows it)",
        "out": "link that leads out of the folder (links=true follows it)",
        "loop": "link to a folder, not followed",
        "nothing.png": "link to nothing",
    }
    (folder / "in.png").symlink_to(folder / "good.png")
    assert len(read(folder, holdout=0)) == 2


def test_pipe_is_not_opened(folder):
    os.mkfifo(folder / "pipe.png")
    assert reasons(folder) == {"pipe.png": "not a regular file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_permission(folder):
    (folder / "closed.png").write_bytes(png())
    (folder / "closed.png").chmod(0)
    assert "denied" in reasons(folder)["closed.png"].lower()


def test_file_that_vanishes_while_reading(folder, monkeypatch):
    (folder / "gone.png").write_bytes(png())
    opened = folders.FolderTree.open

    def open_or_lose(tree, name):
        (folder / "gone.png").unlink(missing_ok=True)
        return opened(tree, name)

    monkeypatch.setattr(folders.FolderTree, "open", open_or_lose)
    assert "cannot be read" in reasons(folder)["gone.png"]


def test_names_cannot_write_to_the_terminal(folder):
    (folder / "a\x1b[2J\nb.png").write_bytes(b"junk\x00")
    (name,) = reasons(folder)
    assert name == "a\\x1b[2J\\nb.png"
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(png())
    assert len(read(folder, holdout=0)) == 2


def test_folder_without_a_usable_image(tmp_path):
    path = tmp_path / "poor"
    path.mkdir()
    with pytest.raises(UserError, match="no files were seen"):
        read(path)
    for i in range(5):
        (path / f"{i}.txt").write_text("words")
    with pytest.raises(UserError, match=r"5 files seen \(0\.txt: text, not an image; .*…\)") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache" / "data").glob(".*.part"))


def test_caption_table_is_hostile_too(folder):
    (folder / "captions.csv").write_bytes(b"\xff\xfe\x00broken")
    (folder / "sub").mkdir()
    (folder / "sub" / "metadata.csv").write_text("colour,shape\nred,round\n")
    (folder / "sub" / "captions.csv").write_text('file,caption\n../../../etc/passwd,"stolen"\n')
    (folder / "sub" / "x.png").write_bytes(b"")
    found = reasons(folder)
    assert "not a table of captions" in found["captions.csv"]
    assert "no columns" in found["sub/metadata.csv"]
    assert found["sub/../../../etc/passwd"] == "has a caption, but there is no such file"


# ---- archives -------------------------------------------------------------------------------------------------------


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return path


def test_zip_names(tmp_path):
    path = make_zip(
        tmp_path / "a.zip",
        {
            "good.png": png(),
            "../up.png": png(),
            "/root.png": png(),
            "a/../../b.png": png(),
            "C:/x.png": png(),
            "..\\w.png": png(),
        },
    )
    found = reasons(path)
    assert found["/root.png"] == found["C:/x.png"] == "absolute path in an archive"
    assert {k for k, v in found.items() if "out of the archive" in v} == {"../up.png", "a/../../b.png", "..\\w.png"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "cache"]


def test_zip_bomb_is_not_read(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"good.png": png(), "bomb.png": bytes(3 * 2**20)})
    assert "expands more than" in reasons(path)["bomb.png"]
    monkeypatch.setattr(trees, "MAX_BYTES", 2**20)
    os.utime(path, (1, 1))
    assert "larger than" in reasons(path)["bomb.png"]


def test_zip_directory_that_lies_about_sizes(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"good.png": png(), "liar.png": bytes(500_000)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    assert data[at + 46 : at + 54] == b"liar.png"
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    path.write_bytes(bytes(data))
    assert "damaged" in reasons(path)["liar.png"]


def test_zip_damage_links_and_passwords(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("good.png", png())
        z.writestr("broken.png", png(level=77))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        z.writestr(link, "/etc/passwd")
        z.writestr("locked.png", png())
        z.writestr("empty.png", b"")
        z.writestr("notes.txt", "words")
    data = bytearray(path.read_bytes())
    at = data.index(b"broken.png") + len(b"broken.png") + 20
    data[at] ^= 0xFF
    last = data.rindex(b"locked.png") - 46
    data[last + 8] |= 1
    path.write_bytes(bytes(data))
    found = reasons(path)
    assert "damaged in the archive" in found["broken.png"]
    assert found["link.png"] == "link in an archive"
    assert found["locked.png"] == "encrypted"
    assert found["empty.png"] == "empty file"
    assert found["notes.txt"] == "text, not an image"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_tar_links_devices_and_names(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with tarfile.open(path, f"w:{suffix[4:]}") as tar:
        for name in ("good.png", "../up.png", "/root.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
        for name, kind in (
            ("soft.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("dev.png", tarfile.CHRTYPE),
            ("pipe", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert reasons(path) == {
        "../up.png": "path that leads out of the archive",
        "/root.png": "absolute path in an archive",
        "soft.png": "link in an archive",
        "hard.png": "link in an archive",
        "dev.png": "not a regular file",
        "pipe": "not a regular file",
    }


def tar_of(members, mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_truncated_archives_use_what_came_before(tmp_path):
    plain = tar_of({"good.png": png(), "large.bmp": noise("bmp")}, "")
    (tmp_path / "a.tar").write_bytes(plain[:4000])
    assert any("truncated" in r or "damaged archive" in r for r in reasons(tmp_path / "a.tar").values())
    packed = tar_of({"good.png": png(), "large.bmp": noise("bmp")}, "gz")
    (tmp_path / "b.tar.gz").write_bytes(packed[: len(packed) // 2])
    assert "damaged archive" in reasons(tmp_path / "b.tar.gz")["b.tar.gz"]


def test_tar_bomb_stops_growing(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar_of({"good.png": png(), "zeros.bin": bytes(6 * 2**20)}, "gz"))
    found = reasons(tmp_path / "a.tar.gz")
    assert "expands more than" in found["a.tar.gz"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.npz", "a.npy", "a.png"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 junk", b"\x1f\x8b junk", bytes(2000), b"\x93NUMPY\x01\x00\xff\xff"])
def test_files_that_are_nothing(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert str(caught.value).count("\n") == 0


# ---- arrays ---------------------------------------------------------------------------------------------------------


def npy_header(shape, descr="|u1"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", [(2**40, 28, 28), (2**62, 2**62, 28), (-1, 28, 28)])
def test_array_header_that_promises_too_much(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(npy_header(shape) + bytes(100))
    make_zip(tmp_path / "b.npz", {"images.npy": npy_header(shape) + bytes(100)})
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match=r"promises|cannot be read"):
            read(tmp_path / name)


def test_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    trap = np.empty((2, 2, 2), dtype=object)
    trap[:] = Trap()
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=trap)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match="Python objects"):
            read(tmp_path / name)
    assert not (tmp_path / "trapped").exists()


def test_array_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "FREE_ARRAY", 1000)
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((1000, 28, 28), np.uint8))
    with pytest.raises(UserError, match="zip bomb"):
        read(tmp_path / "a.npz")


def test_array_of_another_shape(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 9, 9, 9), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros(9, np.uint8))
    np.save(tmp_path / "c.npy", np.zeros((0, 9, 9), np.uint8))
    for name in ("a", "b", "c"):
        with pytest.raises(UserError, match=r"\[N,H,W\]"):
            read(tmp_path / f"{name}.npy")
