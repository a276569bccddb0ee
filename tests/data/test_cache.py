"""The cache: made once, whole or not at all, by any number of processes, killed at any moment, on a full disk."""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import traceback
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genzoo.core import files
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, cache, open_data


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENZOO_DATA", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(files, "_said", set())
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
    assert {p.name for p in entries(home)[0].iterdir()} == {
        "image.npy", "manifest.json", "names.json", "report.txt", "seen.json",
    }  # fmt: skip
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
from genzoo.data import DataSettings, open_data
from genzoo.data.decode import images as decode
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
    assert left[0].name.endswith(".part")
    assert levels(read(folder)) == list(range(12))
    assert [p.name for p in entries(home)] == [left[0].name.split(".")[1]], "the stale folder is swept"


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
    assert not entries(home)[0].name.endswith(".part")


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


# ---- shared by several users, and on mounts without locks ---------------------------------------------------------------------------


NOBODY = 65534


def another_user(function):
    """What `function` returns, and says on stderr, as a user who does not own what is here; root gives up being root for it."""
    inward, outward = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                try:
                    found = function()
                except UserError as error:
                    found = f"refused: {error}"
            os.write(outward, json.dumps([found, said.getvalue()]).encode())
        except BaseException:
            os.write(outward, json.dumps(["failed", traceback.format_exc()]).encode())
        finally:
            os._exit(0)
    os.close(outward)
    with os.fdopen(inward, "rb") as answer:
        told = answer.read()
    os.waitpid(pid, 0)
    return json.loads(told)


@pytest.fixture
def shared(monkeypatch):
    """A folder that another user reaches, with a cache of ours in it, pictures, and a home of his."""
    root = Path(tempfile.mkdtemp(prefix="shared-cache-"))
    root.chmod(0o755)
    for name in ("cache", "pictures", "home"):
        (root / name).mkdir()
    for i in range(6):
        Image.new("L", (8, 8), i).save(root / "pictures" / f"{i}.png")
    if os.getuid() == 0:
        os.chown(root / "home", NOBODY, NOBODY)
    monkeypatch.setenv("GENZOO_CACHE", str(root / "cache"))
    monkeypatch.setenv("HOME", str(root / "home"))
    yield root
    subprocess.run(["chmod", "-R", "u+rwX", str(root)], check=True)
    shutil.rmtree(root)


def closed(folder, mode=0o555):
    """Folders that only their owner (or nobody, where we are not root) may write."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(mode if path.is_dir() else mode & 0o666)


def told(path, *, quiet=False, **settings):
    dataset = open_data(DataSettings(str(path), holdout=0, **settings), quiet=quiet)
    return [levels(dataset), str(dataset.folder)]


def test_an_entry_of_another_user_is_read(shared):
    """No file in the cache can be written, not even a lock."""
    mine = told(shared / "pictures", quiet=True)
    closed(shared / "cache")
    found, said = another_user(lambda: told(shared / "pictures", quiet=True))
    assert found == mine
    assert said == ""


def test_an_entry_that_is_missing_goes_to_a_place_of_ones_own(shared):
    told(shared / "pictures", quiet=True)
    closed(shared / "cache")

    def twice():
        return [told(shared / "pictures", size=4), told(shared / "pictures", size=4), told(shared / "pictures", size=2)]

    found, said = another_user(twice)
    own = shared / "home" / ".cache" / "genzoo" / "data"
    assert [f[0] for f in found] == [list(range(6))] * 3
    assert {str(Path(f[1]).parent) for f in found} == {str(own)}
    notes = [line for line in said.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: the cache {shared / 'cache' / 'data'} cannot be written by this user; what is new is kept in {own}"
    ]
    assert another_user(lambda: told(shared / "pictures", size=4))[1].count("note: ") == 0, "it is there, and read"


def test_an_entry_that_its_maker_keeps_to_himself_is_made_again(shared):
    """A umask of 077 in a folder that all can write: the lock cannot even be opened."""
    told(shared / "pictures", quiet=True)
    for path in (shared / "cache").rglob("*"):
        path.chmod(0o000)
    (shared / "cache" / "data").chmod(0o777)
    found, _ = another_user(lambda: told(shared / "pictures"))
    assert found == [list(range(6)), found[1]]
    assert found[1].startswith(str(shared / "home"))


def test_with_no_place_at_all_it_is_said_in_a_sentence(shared):
    closed(shared / "cache")
    closed(shared / "home")
    if os.getuid() == 0:
        os.chown(shared / "home", 0, 0)
    found, _ = another_user(lambda: told(shared / "pictures"))
    assert found.startswith(f"refused: the cache {shared / 'cache' / 'data'} cannot be written by this user, nor can ")
    assert found.endswith("; set GENZOO_CACHE to a folder that can")


@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_a_group_shares_a_cache(shared, umask):
    """A folder with setgid that the group can write: what each makes, the other reads, and an unfinished lock of the other is no hindrance."""
    (shared / "cache" / "data").mkdir()
    (shared / "cache" / "data").chmod(0o2777)
    before = os.umask(umask)
    try:
        mine = told(shared / "pictures", quiet=True)
        made = Path(mine[1])
        for name in ("manifest.json", "image.npy"):
            assert (made / name).stat().st_mode & 0o666 == 0o666 & ~umask
        shutil.rmtree(made)  # the lock stays, and is ours
        found, said = another_user(lambda: told(shared / "pictures", quiet=True))
        assert found == mine
        assert said == ""
        assert told(shared / "pictures", quiet=True) == mine, "and now we read his"
        assert told(shared / "pictures", quiet=True, size=4)[1].startswith(str(shared / "cache"))
    finally:
        os.umask(before)


def test_what_is_fetched_and_features_go_there_as_well(shared):
    closed(shared / "cache")

    def tries():
        return [str(files.cache_folder(name, quiet=True)) for name in ("data", "features", "fetched", "weights")]

    found, _ = another_user(tries)
    assert found == [str(shared / "home" / ".cache" / "genzoo" / n) for n in ("data", "features", "fetched", "weights")]


def test_a_compressed_archive_is_expanded_where_one_can_write(shared):
    with tarfile.open(shared / "set.tar.gz", "w:gz") as archive:
        archive.add(shared / "pictures", "pictures")
    # Another entry of it: he may not read where Python lies, so that what is imported on use has to be there.
    told(shared / "set.tar.gz", quiet=True, size=4)
    closed(shared / "cache")
    found, said = another_user(lambda: told(shared / "set.tar.gz", quiet=True))
    assert found != "failed", said
    assert found[0] == list(range(6))


LOCKLESS = """
import errno, fcntl
def flock(*a): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""


def test_two_processes_on_a_mount_without_locks(home, folder):
    """What they share is whole, and made once: the file that stands in for the lock holds the second."""
    both = [start(LOCKLESS + READER, folder) for _ in range(2)]
    said = [p.communicate(timeout=120)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sum("making" in s for s in said) == 1
    assert all(s.endswith(f"{list(range(12))}\n") for s in said)
    assert len(entries(home)) == 1
    assert not list(home.glob("*.held"))


def test_a_mount_without_locks_is_said_once(home, folder, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    for size in (None, 4, 2):
        open_data(DataSettings(str(folder), size=size))
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: {home} has no file locks; files that end in .held stand in for them"]


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


@pytest.mark.parametrize("expected", [None, 0, 9, 10, 11])
def test_a_digest_made_while_writing_is_that_of_the_file(expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_PIECE", 300)
    path = tmp_path / "a.npy"
    rows = cache.Rows(path, (7, 9), np.uint8, expected)
    whole = np.random.default_rng(0).integers(0, 256, (10, 7, 9), np.uint8)
    for row in whole:
        rows.append(row)
    rows.close()
    assert np.array_equal(np.load(path), whole)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (cache._verified.get(cache._key(path.stat())) == right) == (expected == 10)
    assert cache._sha256(path) == right
