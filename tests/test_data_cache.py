"""The cache: made once, whole or not at all, by any number of processes, killed at any moment, on a full disk."""

import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data import DataSettings, cache, open_data


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENZOO_DATA", "")
    return tmp_path / "cache" / "data"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    for i in range(12):
        Image.new("L", (8, 8), i).save(path / f"{i}.png")
    return path


def read(path, **settings):
    return open_data(DataSettings(str(path), holdout=0, **settings), quiet=True)


def levels(dataset):
    return sorted(dataset.fields["image"][:, 0, 0, 0].tolist())


def entries(home):
    return sorted(p for p in home.iterdir() if p.is_dir())


def count_builds(monkeypatch):
    made = []
    original = cache._make
    monkeypatch.setattr(cache, "_make", lambda *a: (made.append(a[1]), original(*a)))
    return made


def test_decoded_once(home, folder, monkeypatch):
    made = count_builds(monkeypatch)
    first = read(folder)
    base = first.fields["image"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    assert not first.fields["image"].flags.writeable
    second = read(folder)
    assert len(made) == 1
    assert first.digest == second.digest
    assert {p.name for p in entries(home)[0].iterdir()} == {"image.npy", "manifest.json", "names.json", "report.txt"}
    read(folder, flip=True)
    read(folder, binarize="dynamic")
    assert len(made) == 1, "what happens per batch needs no other cache"
    read(folder, size=4)
    read(folder, binarize="static")
    assert len(made) == 3


def test_changed_content_is_read_anew(folder, monkeypatch):
    made = count_builds(monkeypatch)
    before = read(folder)
    Image.new("L", (8, 8), 200).save(folder / "12.png")
    after = read(folder)
    assert levels(after) == [*range(12), 200]
    assert before.digest != after.digest
    (folder / "12.png").unlink()
    Image.new("L", (8, 8), 99).save(folder / "0.png")
    os.utime(folder / "0.png", (1, 1))
    assert levels(read(folder)) == [*range(1, 12), 99]
    assert len(made) == 3


def test_digest_is_of_content_not_of_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert read(folder).digest == read(tmp_path / "copy").digest
    assert read(folder).digest != read(folder, limit=5).digest
    assert read(folder).digest != read(folder, flip=True).digest


@pytest.mark.parametrize("file", ["image.npy", "manifest.json", "report.txt"])
@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone"])
def test_damaged_entry_is_made_anew(home, folder, monkeypatch, file, damage):
    read(folder)
    path = entries(home)[0] / file
    if file == "report.txt":
        path.write_text("nothing")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.unlink()
    if damage != "gone":
        path.write_bytes(bytes({"flip": data, "cut": data[:-1], "longer": data + b"\0"}[damage]))
    made = count_builds(monkeypatch)
    assert levels(read(folder)) == list(range(12))
    assert len(made) == 1
    assert len(entries(home)) == 1


def test_every_flipped_byte_of_the_manifest_is_noticed(home, folder):
    read(folder)
    path = entries(home)[0] / "manifest.json"
    good = path.read_bytes()
    manifest = json.loads(good)
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        found = cache._whole(path.parent)
        assert found is None or found == manifest
    path.write_bytes(good)
    assert cache._whole(path.parent) == manifest


READER = """
import sys
from genzoo.data import DataSettings, cache, open_data
original = cache._make
def make(*a):
    print("making", flush=True)
    original(*a)
cache._make = make
d = open_data(DataSettings(sys.argv[1], holdout=0), quiet=True)
print(sorted(d.fields["image"][:, 0, 0, 0].tolist()))
"""


def start(code, *args):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_at_once(home, folder):
    both = [start(READER, folder) for _ in range(2)]
    said = [p.communicate(timeout=120)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sum("making" in s for s in said) == 1, "the second waits and reuses"
    assert all(s.endswith(f"{list(range(12))}\n") for s in said)
    assert len(entries(home)) == 1


SLOW = """
import sys, time
from genzoo.data import DataSettings, decode, open_data
original = decode.pixels
def pixels(*a):
    print("decoding", flush=True)
    time.sleep(0.05 if sys.argv[2] == "decode" else 0)
    return original(*a)
decode.pixels = pixels
from genzoo.data import cache
write = cache._write
def slow_write(*a):
    print("writing", flush=True)
    time.sleep(30)
if sys.argv[2] == "write":
    cache._write = slow_write
open_data(DataSettings(sys.argv[1], holdout=0), quiet=True)
"""


@pytest.mark.parametrize("moment", ["decode", "write"])
def test_killed_half_way(home, folder, moment):
    process = start(SLOW, folder, moment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == {"decode": "decoding", "write": "writing"}[moment]:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = entries(home)
    assert len(left) == 1
    assert ".tmp-" in left[0].name
    assert levels(read(folder)) == list(range(12))
    assert [p.name for p in entries(home)] == [left[0].name.split(".")[0]], "the stale folder is swept"


@pytest.mark.slow
def test_many_kills(home, folder):
    rng = np.random.default_rng(0)
    for _ in range(20):
        process = start(SLOW, folder, "decode")
        assert process.stdout is not None
        for _ in range(rng.integers(1, 12)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert len(entries(home)) == 1
    assert levels(read(folder)) == list(range(12))
    assert len(entries(home)) == 1
    assert ".tmp-" not in entries(home)[0].name


def test_full_disk_is_named_with_path_and_bytes(home, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 100))
    with pytest.raises(UserError, match=rf"no room in {home}: 768 bytes needed"):
        read(folder)
    assert entries(home) == []


def test_write_that_fails_half_way(home, tmp_path):
    path = tmp_path / "large"
    path.mkdir()
    for i in range(40):
        Image.new("L", (64, 64), i).save(path / f"{i}.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match="163,840 bytes needed"):
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert entries(home) == []
    assert levels(read(path)) == list(range(40))


def test_cache_that_cannot_be_made(tmp_path, folder, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="GENZOO_CACHE"):
        read(folder)


def test_what_is_said(folder, capsys):
    (folder / "bad.png").write_bytes(b"junk\x00")
    Image.new("L", (9, 8), 1).save(folder / "odd.png")
    open_data(DataSettings(str(folder)), quiet=True)
    assert capsys.readouterr() == ("", "")
    open_data(DataSettings(str(folder), size=5))
    said = capsys.readouterr().err
    assert "reading pictures: 14 images" in said
    assert "1 left out (bad.png: not an image of a known format)" in said
    open_data(DataSettings(str(folder)))
    assert "size 64x64 chosen" in capsys.readouterr().err
