"""Named files in a zip or a tar (in a folder: `genzoo.data.sources.folder`), behind one face: what may be read, and what was refused with its reason.

Nothing is ever unpacked to a path that an archive names; members are read into memory under limits.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from genzoo.core.errors import DiskFull, UserError, disk_full_is_said
from genzoo.data.decode.forms import Rejected

MAX_BYTES = 256 * 2**20
"""A larger single file is refused unread."""
MAX_RATIO = 200
"""An archive member (or a whole compressed tar) that expands more than this is refused."""
FREE_BYTES = 2**20
"""Below this size the ratio is not looked at: small blank pictures compress very well."""


class Tree(Protocol):
    """A set of readable files by name (with "/" between parts)."""

    names: list[str]
    left: list[tuple[str, str]]

    def identity(self) -> list[object]:
        """Return the sizes and times of the files: cheap to read, and different when the content is."""

    def open(self, name: str) -> BinaryIO:
        """Open one file for reading.

        Raises:
            Rejected: It cannot be read.
        """

    def close(self) -> None:
        """Release the archive."""


HELPERS = frozenset({
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "network trash folder", "temporary items",
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "$recycle.bin", "recycler",
    "system volume information", "lost+found", "__pycache__",
})  # fmt: skip
"""Files and folders of file managers, disks and tools, in lower case."""


def hidden(name: str) -> bool:
    """Tell whether file managers, network disks or tools left a file behind, or its name begins with a dot."""
    if "/" in name:
        return any(map(hidden, name.split("/")))
    return name[:1] == "." or name.lower() in HELPERS


def slashed(name: str) -> str:
    """Write a name with "/" between its parts, also where it was packed on Windows with backslashes."""
    return name.replace("\\", "/").removeprefix("./")


def unsafe(name: str) -> str | None:
    """Say why the name of an archive's member is refused; None where it is not."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "absolute path in an archive"
    if ".." in parts:
        return "path that leads out of the archive"
    if "\x00" in name:
        return "damaged name in an archive"
    return None


def stamp(path: Path) -> list[object]:
    """Return path, size and time of one file."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


class ZipTree:
    """The members of a zip.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left: list[tuple[str, str]] = []
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else "it is damaged or a part of a longer one"
            )
            raise UserError(f"{path} cannot be read as a zip file: {why}; make or fetch it again") from None
        for info in self._zip.infolist():
            if info.is_dir() or info.filename.endswith("\\"):
                continue
            reason = self._refuse(info)
            if reason:
                self.left.append((info.filename, reason))
            elif not hidden(name := slashed(info.filename)):
                if name in self._members:
                    self.left.append((name, "a second member of this name: the last one is used"))
                self._members[name] = info
        self.names = sorted(self._members)

    def _refuse(self, info: zipfile.ZipInfo) -> str | None:
        reason = unsafe(info.orig_filename) or unsafe(info.filename)
        if reason:
            return reason
        if stat.S_ISLNK(info.external_attr >> 16):
            return "link in an archive"
        if info.flag_bits & 1:
            return "encrypted"
        if info.file_size == 0:
            return "empty file"
        if info.file_size > MAX_BYTES:
            return f"larger than {MAX_BYTES // 2**20} MiB"
        if info.file_size > FREE_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            return f"expands more than {MAX_RATIO} times (zip bomb)"
        return None

    def identity(self) -> list[object]:
        """Return path, size and time of the archive."""
        return stamp(self.path)

    def open(self, name: str) -> BinaryIO:
        """Read one member into memory; the limits also hold where the directory lied."""
        info = self._members[name]
        try:
            with self._zip.open(info) as member:
                data = member.read(info.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise Rejected(
                f"damaged in the archive{': not a way of packing that is read' * isinstance(error, NotImplementedError)}"
            ) from None
        except Exception:  # lzma.LZMAError, where that module exists
            raise Rejected("damaged in the archive") from None
        if len(data) != info.file_size:
            raise Rejected("damaged in the archive: not of the stated size")
        return io.BytesIO(data)

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()


class TarTree:
    """The members of a tar; a compressed one is first expanded once, in order, into an unnamed temporary file.

    Args:
        path: The file.
        scratch: Folder for the temporary file.
        held: Keep the file open; of a thousand shards none is.
    """

    def __init__(self, path: Path, scratch: Path, *, held: bool = True) -> None:
        self.path = path
        self.left: list[tuple[str, str]] = []
        self._where: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 (closed by close)
        opener = _compression(self._file.read(6))
        if opener:
            self._expand(opener, scratch)
        self._list()
        self.names = sorted(self._where)
        if not held and not opener:
            self._file.close()

    def _expand(self, opener: str, scratch: Path) -> None:
        import bz2
        import gzip
        import lzma

        openers: dict[str, Callable[[Path, Literal["rb"]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]]
        openers = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
        stream = openers[opener](self.path, "rb")
        scratch.mkdir(parents=True, exist_ok=True)
        room = max(MAX_RATIO * self.path.stat().st_size, FREE_BYTES)
        spool = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 (becomes self._file)
        try:
            with stream:
                while block := stream.read1(2**18):
                    room -= len(block)
                    if room < 0:
                        self._cut(f"expands more than {MAX_RATIO} times (bomb)")
                        break
                    with disk_full_is_said(scratch, 0):
                        spool.write(block)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
            self._cut("damaged archive")
        except (OSError, DiskFull) as error:
            spool.close()
            self._file.close()
            if isinstance(error, DiskFull):  # no fault of the archive
                raise
            raise UserError(
                f"{self.path} cannot be expanded into {scratch}: {error.strerror or 'it is damaged'}"
            ) from None
        spool.flush()
        self._file.close()
        self._file = spool

    def _cut(self, reason: str) -> None:
        """Say once that the archive ends early."""
        if all(name != self.path.name for name, _ in self.left):
            self.left.append((self.path.name, f"{reason}; what came before is used"))

    def _list(self) -> None:
        self._file.seek(0, os.SEEK_END)
        total = self._file.tell()
        self._file.seek(0)
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for member in tar:
                    if member.isdir():
                        continue
                    reason = self._refuse(member, total)
                    if reason:
                        self.left.append((member.name, reason))
                    elif not hidden(name := slashed(member.name)):
                        if name in self._where:
                            self.left.append((name, "a second member of this name: the last one is used"))
                        self._where[name] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
            if not self._where and not self.left:
                self._file.close()
                raise UserError(
                    f"{self.path} cannot be read as a tar file: it is damaged; make or fetch it again"
                ) from None
            self._cut("damaged archive")

    def _refuse(self, member: tarfile.TarInfo, total: int) -> str | None:
        if reason := unsafe(member.name):
            return reason
        if member.issym() or member.islnk():
            return "link in an archive"
        if not member.isreg() or member.issparse():
            return "not a regular file"
        if member.size == 0:
            return "empty file"
        if member.size > MAX_BYTES:
            return f"larger than {MAX_BYTES // 2**20} MiB"
        return "truncated" if member.offset_data + member.size > total else None

    def identity(self) -> list[object]:
        """Return path, size and time of the archive."""
        return stamp(self.path)

    def open(self, name: str) -> BinaryIO:
        """Read one member into memory (positioned reads: threads do not disturb each other)."""
        offset, size = self._where[name]
        if self._file.closed:
            with open(self.path, "rb") as file:
                data = os.pread(file.fileno(), size, offset)
        else:
            data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise Rejected("truncated")
        return io.BytesIO(data)

    def close(self) -> None:
        """Close the archive and drop the temporary file."""
        self._file.close()


def _compression(head: bytes) -> str | None:
    for magic, name in ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz")):
        if head.startswith(magic):
            return name
    return None


def is_zip(path: Path) -> bool:
    """Tell whether a file begins as a zip (pictures with an archive behind them are pictures)."""
    with open(path, "rb") as f:
        return f.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def is_tar(path: Path) -> bool:
    """Tell whether a file is a tar, also a compressed one (judged by name there: expanding to look is what bombs wait for)."""
    with open(path, "rb") as f:
        head = f.read(512)
    if _compression(head[:6]):
        return path.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar"))
    return head[257:262] == b"ustar" or path.name.lower().endswith(".tar")
