"""The cache of decoded data: one folder per key, made once, whole or not at all.

An entry that is whole is read wherever it lies, whoever made it, without a lock. One that is missing is written under a temporary name
while its key is locked, fsynced and renamed; a process that comes second waits and reuses it; what a killed process left is swept by the
next one that holds the lock. Every file's size and sha256 stand in `manifest.json`, which carries its own digest; an entry that differs is
made anew. A file is digested when it is first met, and again when its size, its times or its place on the disk are others than they were
then (`seen.json`). Where this user cannot write the cache, new entries go to a place of one's own (`core.files`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genzoo.core.errors import FULL, DiskFull, UserError
from genzoo.core.files import (
    cache_folder,
    cache_folders,
    cache_root,
    cache_unusable,
    replacing,
    sweep,
    sync,
    write_atomic,
)
from genzoo.data.locks import locked

FORMAT = 1
SEEN = "seen.json"
"""What an entry's files were when they were last digested."""
_verified: dict[tuple[int, int, int, int], str] = {}


def digest_of(value: object) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class Rows:
    """Writes an .npy file row by row; plain writes, because a full disk kills a process that writes through a memory map.

    What is written is digested and brought to the disk in a thread meanwhile. That digest stands where there are as many rows in the end as were
    expected, for the file begins with their number.

    Args:
        path: The file.
        shape: Shape of one row.
        dtype: Type of the values.
        expected: How many rows there will be; not known by default.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type, expected: int | None = None) -> None:
        self.path, self.shape, self.dtype, self.count = path, shape, np.dtype(dtype), 0
        self._expected = expected
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by close or abandon)
        self._file.write(self._header(2**40 if expected is None else expected))
        self._follower = None if expected is None else _Follower(path)
        self._due = 0

    def _header(self, n: int) -> bytes:
        """Write the header of an array of `n` rows, at a length that does not depend on `n` (npy format 1.0, padded with spaces)."""
        fields = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (n, *self.shape)}
        text = repr(fields).encode().ljust(256 - 11) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text

    def append(self, row: np.ndarray) -> None:
        """Write one row."""
        assert row.shape == self.shape
        assert row.dtype == self.dtype
        self._write(row[None])

    def _write(self, rows: np.ndarray) -> None:
        self._file.write(rows.data if rows.flags.c_contiguous else rows.tobytes())
        self.count += len(rows)
        self._due += rows.nbytes
        if self._follower and self._due >= _PIECE:
            self._file.flush()
            self._follower.follow()
            self._due = 0

    def extend(self, rows: Sequence[np.ndarray]) -> None:
        """Write rows, small ones many at once."""
        few = max(1, _TOGETHER * len(rows) // (1 + sum(row.nbytes for row in rows)))
        for start in range(0, len(rows), few):
            together = np.stack(rows[start : start + few]) if few > 1 else rows[start][None]
            assert together.shape[1:] == self.shape
            assert together.dtype == self.dtype
            self._write(together)

    def close(self) -> None:
        """Write the real length, and all to disk."""
        try:
            if self.count != self._expected:
                self._file.seek(0)
                self._file.write(self._header(self.count))
            self._file.flush()
            os.fsync(self._file.fileno())
            if self._follower and self.count == self._expected:
                _verified[_key(self.path.stat())] = self._follower.digest()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close as it is; what a full disk cannot take is dropped without a second error."""
        if self._follower:
            self._follower.close()
        with suppress(OSError):
            self._file.close()


_PIECE = 2**23
"""Bytes that are followed at a time."""
_TOGETHER = 2**18
"""Bytes of small rows that are written at a time."""


class _Follower:
    """Digests a file that grows, and brings it to the disk, in a thread.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self._thread = ThreadPoolExecutor(1)
        self._digest, self._piece = hashlib.sha256(), bytearray(2**18)
        self._asked: list[Future[None]] = []

    def follow(self) -> None:
        """Go on to where the file ends now."""
        self._asked = [f for f in self._asked if not f.done() or f.exception()]
        self._asked.append(self._thread.submit(self._read))

    def _read(self) -> None:
        view = memoryview(self._piece)
        while count := self._file.readinto(view):  # type: ignore[attr-defined]
            self._digest.update(view[:count])
        os.fsync(self._file.fileno())

    def digest(self) -> str:
        """Return the SHA-256 of the whole file.

        Raises:
            OSError: It cannot be read.
        """
        self.follow()
        for asked in self._asked:
            asked.result()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)
        self._file.close()


class CacheWriter:
    """Writes the files of one entry: arrays row by row, within the room that the disk has.

    Args:
        folder: The temporary folder that becomes the entry.
        final: Where it will stand; for messages.
    """

    def __init__(self, folder: Path, final: Path) -> None:
        self.folder, self.final, self.needed = folder, final, 0
        self._open: dict[str, Rows] = {}

    def reserve(self, count: int) -> None:
        """Refuse early where the disk has no room for `count` more bytes."""
        self.needed += count
        if shutil.disk_usage(self.folder).free < count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def rows(self, name: str, shape: tuple[int, ...], dtype: type, expected: int | None = None) -> Rows:
        """Begin a file of rows; the entry is sooner done where their number is what was expected."""
        self._open[name] = Rows(self.folder / f"{name}.npy", shape, dtype, expected)
        return self._open[name]

    def finish(self) -> None:
        """Complete all files of rows."""
        for rows in self._open.values():
            rows.close()
        self._open = {}

    def abandon(self) -> None:
        """Close without completing."""
        for rows in self._open.values():
            rows.abandon()


def entry(
    key: str, build: Callable[[CacheWriter], dict[str, Any]], *, quiet: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray], Path]:
    """Return the entry of `key`, made by `build` if it is not there whole: its facts, its arrays (memory-mapped) and its folder.

    Raises:
        UserError: The cache cannot be written; the message names the path and the bytes needed.
    """
    try:
        found = _found(key)
        if found is None:
            found = _new(key, build, quiet)
        manifest, final = found
        arrays = {f.removesuffix(".npy"): _map(final / f) for f in manifest["files"] if f.endswith(".npy")}
    except OSError as error:
        raise cache_unusable(cache_root() / "data", error) from None
    content = [{f: facts["sha256"] for f, facts in manifest["files"].items() if f.endswith(".npy")}]
    content += [manifest["info"][k] for k in ("sections", "class_names", "captions")]
    return {**manifest["info"], "digest": digest_of(content)}, arrays, final


def _found(key: str) -> tuple[dict[str, Any], Path] | None:
    """Return the manifest and folder of an entry that is whole, in whichever place."""
    for home in cache_folders("data"):
        manifest = _whole(home / key)
        if manifest is not None:
            return manifest, home / key
    return None


def _new(key: str, build: Callable[[CacheWriter], dict[str, Any]], quiet: bool) -> tuple[dict[str, Any], Path]:
    """Make an entry, in a place of one's own where the cache has one of this key that its maker keeps to himself."""
    home = cache_folder("data", quiet=quiet)
    try:
        return _made(home, key, build, quiet)
    except PermissionError as error:
        if home not in Path(str(error.filename)).parents or home == cache_folders("data")[-1]:
            raise
    return _made(cache_folder("data", quiet=quiet, beyond=home), key, build, quiet)


def _made(
    home: Path, key: str, build: Callable[[CacheWriter], dict[str, Any]], quiet: bool
) -> tuple[dict[str, Any], Path]:
    """Make an entry, or wait for the process that makes it."""

    def waiting() -> None:
        if not quiet:
            print("data: another process is reading the same data; waiting for it", file=sys.stderr, flush=True)

    with locked(home / f"{key}.lock", waiting=waiting, quiet=quiet):
        found = _found(key)
        if found is None:
            sweep(home, key)
            _make(home, home / key, build)
            found = _found(key)
            assert found is not None, "an entry that was just written is whole"
    return found


def _map(path: Path) -> np.ndarray:
    array = (
        np.load(path, mmap_mode="r", allow_pickle=False)
        if path.stat().st_size > 256
        else np.load(path, allow_pickle=False)
    )
    return np.asarray(array)


def _make(home: Path, final: Path, build: Callable[[CacheWriter], dict[str, Any]]) -> None:
    if final.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=home))
        os.replace(final, aside)
        shutil.rmtree(aside, ignore_errors=True)  # another user's files: they are out of the way
    writer: CacheWriter | None = None
    try:
        with replacing(final, durable=True) as folder:
            folder.mkdir()
            writer = CacheWriter(folder, final)
            info = build(writer)
            writer.finish()
            lines = [f"{name}: {reason}\n" for name, reason in info["left"]]
            _write(folder / "report.txt", "".join([*(f"{n}\n" for n in info["notes"]), *lines]))
            files = {p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(folder.iterdir())}
            manifest = {"format": FORMAT, "files": files, "info": info}
            _write(folder / "manifest.json", json.dumps({**manifest, "digest": digest_of(manifest)}))
    except OSError as error:
        if error.errno not in FULL:
            raise
        need = f"{writer.needed:,} bytes" if writer and writer.needed else "more room"
        raise UserError(
            f"no room in {home}: {need} needed; free some, or set GENZOO_CACHE to a folder on another disk"
        ) from None
    finally:
        if writer:
            writer.abandon()


def _whole(final: Path) -> dict[str, Any] | None:
    """Return the manifest of an entry, if every file is what was written; else None."""
    try:
        manifest = json.loads((final / "manifest.json").read_text(encoding="utf-8"))
        digest = manifest.pop("digest")
        if manifest["format"] != FORMAT or digest != digest_of(manifest):
            return None
        seen, now = _seen(final), {}
        for name, facts in manifest["files"].items():
            path = final / name
            status = path.stat()
            now[name] = [*_key(status), status.st_ctime_ns, facts["sha256"]]
            if seen.get(name) == now[name]:
                continue
            if status.st_size != facts["bytes"] or _sha256(path) != facts["sha256"]:
                return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    if seen != now:
        with suppress(
            OSError, DiskFull
        ):  # somebody else's cache, or a full disk: the files are digested at every start
            write_atomic(final / SEEN, json.dumps(now).encode())
    return {**manifest, "digest": digest}


def _seen(final: Path) -> dict[str, list[object]]:
    """Return what an entry's files were when they were last digested: place, size, times and digest."""
    try:
        found = json.loads((final / SEEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, remembered in this process for as long as its size and time stay."""
    key = _key(path.stat())
    if key not in _verified:
        with open(path, "rb") as f:
            _verified[key] = hashlib.file_digest(f, "sha256").hexdigest()
    return _verified[key]


def _key(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells a file of certain content, the same after it was renamed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    sync(path)
