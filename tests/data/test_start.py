"""A second start: what is cached is found without decoding or digesting it again, and whatever has changed is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genzoo.data import DataSettings, cache, open_data
from genzoo.data.sources.folder import FolderTree


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    for name in ("one", "two"):
        (path / name).mkdir(parents=True)
        for i in range(4):
            np.save(path / name / f"{i}.npy", np.full((8, 8), 10 * i, np.uint8))  # all of one size
    return path


def levels(folder: Path) -> list[int]:
    """The gray levels that a set has, as a process finds them that has met none of its files."""
    cache._verified.clear()
    found = open_data(DataSettings(str(folder), holdout=0), quiet=True)
    return sorted(found.fields["image"][:, 0, 0, 0].tolist())


def edited(path: Path) -> None:
    """Write other pixels where they stand: neither the folder's time nor the file's size changes."""
    before = path.parent.stat().st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(-64, os.SEEK_END)
        file.write(bytes([200]) * 64)
    assert path.parent.stat().st_mtime_ns == before


def replaced(path: Path) -> None:
    np.save(path.with_name("new.npy"), np.full((8, 8), 200, np.uint8))
    os.replace(path.with_name("new.npy"), path)


def added(path: Path) -> None:
    np.save(path.with_name("9.npy"), np.full((8, 8), 200, np.uint8))


@pytest.mark.parametrize(("change", "more"), [(edited, False), (replaced, False), (added, True)])
def test_a_file_that_was_changed_replaced_or_added_is_noticed(
    folder: Path, change: Callable[[Path], None], more: bool
) -> None:
    before = levels(folder)
    path = folder / "one" / "0.npy"
    size = path.stat().st_size
    change(path)
    assert path.stat().st_size == size, "nothing but times and content is different"
    after = levels(folder)
    assert after.count(200) == 1
    assert len(after) == len(before) + more


def test_a_file_that_was_renamed_or_moved_is_noticed(folder: Path) -> None:
    labels = DataSettings(str(folder), holdout=0)
    assert open_data(labels, kind="labelled", quiet=True).fields["label"].tolist().count(0) == 4
    first = FolderTree(folder).identity()
    (folder / "one" / "0.npy").rename(folder / "one" / "00.npy")
    assert FolderTree(folder).identity() != first
    (folder / "one" / "00.npy").rename(folder / "two" / "00.npy")
    assert open_data(labels, kind="labelled", quiet=True).fields["label"].tolist().count(0) == 3


def digested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are digested from now on, by name."""
    names: list[str] = []
    plain = cache._sha256
    monkeypatch.setattr(cache, "_sha256", lambda path: names.append(path.name) or plain(path))
    return names


def test_a_second_start_digests_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels(folder)
    names = digested(monkeypatch)
    levels(folder)
    assert not names


def test_a_cached_file_that_was_written_to_is_digested_whatever_its_time_says(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = levels(folder)
    (path,) = home.glob("*/image.npy")
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x63")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    names = digested(monkeypatch)
    assert levels(folder) == before
    assert "image.npy" in names


@pytest.mark.parametrize("text", ["", "[]", "{", '{"image.npy": 3}', '{"image.npy": [0, 0, 0, 0, 0, "00"]}'])
def test_notes_of_what_was_seen_that_are_damaged_mean_nothing_was(folder: Path, home: Path, text: str) -> None:
    before = levels(folder)
    (path,) = home.glob("*/seen.json")
    path.write_text(text)
    assert levels(folder) == before


def test_a_copy_of_an_entry_is_digested_where_it_is_used(
    folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = levels(folder)
    (entry,) = (p for p in home.iterdir() if p.is_dir())
    copied = tmp_path / "other" / "data" / entry.name
    copied.mkdir(parents=True)
    for file in entry.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "other"))
    names = digested(monkeypatch)
    assert levels(folder) == before
    assert "image.npy" in names


def test_a_folder_is_told_by_the_size_and_time_of_every_file(folder: Path) -> None:
    first = FolderTree(folder).identity()
    assert FolderTree(folder).identity() == first
    path = folder / "two" / "3.npy"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    later = FolderTree(folder).identity()
    assert later != first
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert FolderTree(folder).identity() == first
    with open(path, "ab") as file:
        file.write(b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert FolderTree(folder).identity() not in (first, later)


@pytest.mark.skipif(os.name == "nt", reason="no backslash in names there")
def test_names_with_a_backslash_are_found_where_they_lie_and_no_name_twice(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "c\\d").mkdir()
    for name, text in (("a\\b.png", b"1"), ("a/b.png", b"2"), ("a/e.png", b"3"), ("c\\d/f.png", b"4"), ("z.png", b"5")):
        (tmp_path / name).write_bytes(text)
    tree = FolderTree(tmp_path)
    assert tree.names == ["a/b.png", "a/e.png", "c/d/f.png", "z.png"]
    contents = []
    for name in tree.names:
        with tree.open(name) as file:
            contents.append(file.read())
    assert contents == [b"1", b"3", b"4", b"5"]
    assert tree.left == [("a/b.png", "a second file of this name (with a backslash): not used")]
    with pytest.raises(KeyError):
        tree.open("../z.png")


def test_files_are_asked_for_by_path_where_the_system_knows_no_other_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FolderTree(folder).identity()
    monkeypatch.setattr(os, "supports_dir_fd", set())
    assert FolderTree(folder).identity() == first
