"""Named files in a folder: what may be read, and what was refused with its reason."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from genzoo.data.decode.forms import Rejected
from genzoo.data.sources.trees import HELPERS, MAX_BYTES, hidden, slashed

SMALL = 2**17
"""Bytes up to which a file is read at once where it is opened."""
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
OUT = "link that leads out of the folder (links=true follows it)"


class FolderTree:
    """All regular files below a folder.

    Args:
        root: The folder.
        links: Follow links that lead out of it, each folder once; links to files inside it are always followed.
        whole: Tells by name whether a file may be large, because nobody reads it at once.
    """

    def __init__(self, root: Path, *, links: bool = False, whole: Callable[[str], bool] = lambda name: False) -> None:
        self.root, self.links, self._whole = root.resolve(), links, whole
        self.left: list[tuple[str, str]] = []
        self.runs: list[tuple[str, str]] = []
        # The files in the order in which they are met, in plain lists: an object for each takes as long as asking the disk about it.
        self._found: list[str] = []
        self._sizes, self._times = array("q"), array("q")
        self._elsewhere: dict[str, str] = {}  # paths of files that have a backslash in them, which no name has
        self._met: set[str] | None = None  # names so far, from the first of these on
        self._known: frozenset[str] | None = None
        self._walked = {self.root: ""}
        self._behind: list[Path] = []
        self._walk(self.root)
        while self._behind:  # links in links last: the nearest name of a folder is its name
            link = self._behind.pop(0)
            if self._first(link):
                self._walk(link)
        self.names = sorted(self._found)
        self.left += self.runs

    def _name(self, path: Path) -> str:
        return slashed(path.relative_to(self.root).as_posix())

    def _walk(self, top: Path) -> None:
        """Take what is below a folder: first its files, then its subfolders, one after the other."""
        ahead = [top]
        while ahead:
            folder = ahead.pop()
            within, inside = "" if folder == self.root else f"{self._name(folder)}/", []
            odd = "\\" in folder.as_posix()
            plain, others = [], []
            try:
                with os.scandir(folder) as found:
                    for entry in found:
                        if odd or "\\" in (name := entry.name) or not entry.is_file(follow_symlinks=False):
                            others.append(entry)
                        elif name[0] != ".":
                            plain.append(name)
                if not HELPERS.isdisjoint("\0".join(plain).lower().split("\0")):
                    plain = [name for name in plain if not hidden(name)]
                self._take_plain(folder, within, sorted(plain))
            except OSError as error:
                self._unreadable(error)
                continue
            for entry in sorted(others, key=attrgetter("name")):
                try:
                    is_folder = entry.is_dir()
                except OSError:
                    is_folder = False
                name = slashed(within + entry.name)
                if hidden(name if "\\" in entry.name else entry.name):
                    continue
                if not is_folder:
                    self._take(entry, name)
                elif path := self._folder(entry):
                    inside.append(path)
            ahead += reversed(inside)

    def _take_plain(self, folder: Path, within: str, names: list[str]) -> None:
        """Take regular files of a folder, whose names are theirs to the letter.

        Every file is asked for: a folder's own time tells of names, and not of a file that was written where it stood.
        """
        with _place(folder) as (place, before):
            for name in names:
                try:
                    status = os.stat(before + name, dir_fd=place)
                except OSError as error:
                    self.left.append((within + name, f"cannot be read: {error.strerror}"))
                    continue
                if self._met is None and 0 < status.st_size <= MAX_BYTES and stat.S_ISREG(status.st_mode):
                    self._found.append(within + name)
                    self._sizes.append(status.st_size)
                    self._times.append(status.st_mtime_ns)
                else:
                    self._judge(within + name, "", status)

    def _folder(self, entry: os.DirEntry[str]) -> Path | None:
        """Return a subfolder that is walked; a link waits until all else is."""
        path = Path(entry.path)
        if entry.is_symlink():
            self._follow(path)
        elif (path / "config.toml").is_file() and (path / "state").is_dir():
            self.runs.append((self._name(path), "a run of genzoo: its pictures are no data"))
        elif self._first(path):
            return path
        return None

    def _follow(self, path: Path) -> None:
        """Walk a folder behind a link, if it lies elsewhere and links are followed; not one that this one is in."""
        real = Path(os.path.realpath(path))
        if real.is_relative_to(self.root):
            self.left.append((self._name(path), "link to a folder, not followed"))
        elif not self.links:
            self.left.append((self._name(path), OUT))
        elif self.root.is_relative_to(real):
            self.left.append((self._name(path), "link to a folder that this one is in, not followed"))
        else:
            self._behind.append(path)

    def _first(self, path: Path) -> bool:
        """Tell whether a folder behind a link is met for the first time; else note where it was read."""
        real, name = Path(os.path.realpath(path)), self._name(path)
        if real in self._walked:
            self.left.append((name, f"the same folder as {self._walked[real]}, read there"))
            return False
        self._walked[real] = name
        return True

    def _unreadable(self, error: OSError) -> None:
        self.left.append((str(error.filename), f"folder cannot be read: {error.strerror}"))

    def _take(self, entry: os.DirEntry[str], name: str) -> None:
        path, linked = entry.path, entry.is_symlink()
        if linked and not self.links and not Path(os.path.realpath(path)).is_relative_to(self.root):
            self.left.append((name, OUT))
            return
        try:
            status = entry.stat() if os.name != "nt" else os.stat(path)  # Windows' listing may be of an earlier time
        except OSError as error:
            self.left.append((name, _dangling(Path(path)) if linked else f"cannot be read: {error.strerror}"))
            return
        self._judge(name, path if "\\" in path and os.name != "nt" else "", status)

    def _judge(self, name: str, elsewhere: str, status: os.stat_result) -> None:
        """Take a file, or say why not; `elsewhere` is its path where the name does not tell it."""
        if elsewhere and self._met is None:
            self._met = set(self._found)
        if not stat.S_ISREG(status.st_mode):
            self.left.append((name, "not a regular file"))
        elif status.st_size > MAX_BYTES and not self._whole(name):
            self.left.append((name, f"larger than {MAX_BYTES // 2**20} MiB"))
        elif status.st_size == 0:
            self.left.append((name, "empty file"))
        elif self._met is not None and name in self._met:
            self.left.append((name, "a second file of this name (with a backslash): not used"))
        else:
            self._found.append(name)
            self._sizes.append(status.st_size)
            self._times.append(status.st_mtime_ns)
            if self._met is not None:
                self._met.add(name)
            if elsewhere:
                self._elsewhere[name] = elsewhere

    def identity(self) -> list[object]:
        """Return names, sizes and times of all files, digested; runs that were trained in the folder make no other data of it."""
        digest = hashlib.sha256("\0".join(self._found).encode("utf-8", "surrogatepass"))
        digest.update(self._sizes)
        digest.update(self._times)
        return [str(self.root), len(self._found), digest.hexdigest(), sorted(set(self.left) - set(self.runs))]

    def open(self, name: str) -> BinaryIO:
        """Open one file; a small one is read at once, in half of the time."""
        place = None
        try:
            place = os.open(self._path(name), _READ)
            if (size := os.fstat(place).st_size) <= SMALL and len(data := os.read(place, size + 1)) == size:
                return io.BytesIO(data)
            os.lseek(place, 0, os.SEEK_SET)
            file, place = os.fdopen(place, "rb"), None
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}") from None
        else:
            return file
        finally:
            if place is not None:
                os.close(place)

    def _path(self, name: str) -> str:
        """Return where a file is; only files that were met are asked for."""
        if self._known is None:
            self._known = frozenset(self._found)
        if name not in self._known:
            raise KeyError(name)
        return self._elsewhere.get(name) or f"{self.root}/{name}"

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return os.stat(self._path(name)).st_size

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return Path(self._path(name))

    def close(self) -> None:
        """Do nothing: no file is held open."""


@contextmanager
def _place(folder: Path) -> Iterator[tuple[int | None, str]]:
    """Lend a folder from where names are found sooner than by paths, where the system has it, else none and what stands before names."""
    if os.stat not in os.supports_dir_fd:
        yield None, f"{folder}{os.sep}"
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        yield place, ""
    finally:
        os.close(place)


def _dangling(path: Path) -> str:
    """Say what is wrong with a link that leads nowhere, or in a circle."""
    annex = "/annex/objects/" in Path(os.readlink(path)).as_posix()
    return "link to nothing: git-annex has not fetched this file (git annex get)" if annex else "link to nothing"
