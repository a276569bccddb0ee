"""Files that other processes and other users share: written whole or not at all, locked, cached, and weights found by one rule.

Nothing heavy is imported here, so `nn` may ask for weights, and `genzoo list` stays quick.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from genzoo.core.errors import UserError, disk_full_is_said


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Lend a temporary path in the same folder; what is made there takes the place of `path` when the block ends well.

    A reader sees the old file (or folder) or the new one, whole. What a killed process leaves behind is named `.NAME.*.part`.

    Args:
        path: The file or folder to be, in a folder that is there. A folder takes the place of none or of an empty one only.
        durable: Return only when name and content are on the disk.
    """
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    part = workshop / path.name
    try:
        yield part
        if durable:
            sync(part)
        os.replace(part, path)
        if durable:
            sync(path.parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write bytes so that a reader sees the old file or the new one, whole; the folder is made if need be.

    Raises:
        DiskFull: There is no room; the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_is_said(path, len(data)), replacing(path) as part:
        part.write_bytes(data)
    return path


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names where the system can, to the disk."""
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left half written. Only for the holder of the folder's (or the name's) lock."""
    for part in folder.glob(f".{name}.*.part"):
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


NONE_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
"""What a mount says that has no locks; the last one is NFS's word for a lock of a file that can only be read."""
PAUSE = 0.05
"""Seconds between two looks at a lock that another process holds."""
PATIENCE = 600.0
"""Seconds after which waiting for a process that cannot be looked for is given up."""


class Busy(Exception):
    """Another process holds the lock: `holder` ("pid 17"), as far as it said so; `remove` is the file to remove if it has ended."""

    def __init__(self, holder: str, remove: Path | None = None) -> None:
        super().__init__(holder)
        self.holder, self.remove = holder or "unknown", remove


@contextlib.contextmanager
def locked(
    path: Path, *, wait: bool = True, waiting: Callable[[], object] = lambda: None, quiet: bool = False
) -> Iterator[None]:
    """Hold the lock of a file, which is made if need be, for this process.

    It is the operating system's, which falls with its process however that ends. Where a mount has none (NFS without a lock service,
    Lustre, some FUSE), a file that only one process can make stands in for it: it names its process, so that one on the same machine
    that died holds nobody up; of another machine's nothing is known, and the person is told which file to remove.

    Args:
        path: The file, in a folder that is there.
        wait: Wait for the lock, instead of raising `Busy`.
        waiting: Called once before a wait.
        quiet: Do not say on stderr, once, that this place has no locks.

    Raises:
        Busy: Another process holds it, and `wait` is false.
        UserError: A place without locks has been held for ten minutes by a process that cannot be looked for.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        handle = os.open(path, os.O_RDONLY)  # another user's: to lock it, that is enough
    try:
        if _taken(handle, path, wait, waiting):
            yield
            return
        if not quiet:
            say_once(f"{path.parent} has no file locks; files that end in .held stand in for them")
        with _stand_in(path.with_name(f"{path.name}.held"), wait, waiting):
            yield
    finally:
        os.close(handle)


def _taken(handle: int, path: Path, wait: bool, waiting: Callable[[], object]) -> bool:
    """Take the operating system's lock; False where there is none."""
    import filelock  # not above: it costs as much as all else that `genzoo list` imports

    try:
        if not filelock.lock_descriptor(handle, blocking=False):
            if not wait:
                raise Busy(_holder(path))
            waiting()
            filelock.lock_descriptor(handle, poll_interval=PAUSE)
    except OSError as error:
        if error.errno not in NONE_HERE:
            raise
        return False
    if not wait:  # held for long: others are told by whom
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, f"\npid {os.getpid()}".encode())
    return True


@contextlib.contextmanager
def _stand_in(file: Path, wait: bool, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a file that only one process can make; one of a process of this machine that has ended is taken over."""
    import filelock

    lock = filelock.SoftFileLock(file)
    told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=PATIENCE if told else 0, poll_interval=PAUSE)
        except filelock.Timeout:
            machine, *process = _record(file)
            holder = " pid ".join((machine, *process))
            if not wait:
                raise Busy(holder, file) from None
            if told and machine != socket.gethostname():
                raise UserError(
                    f"{file} has been held for {PATIENCE / 60:.0f} minutes by {holder or 'an unknown process'}; "
                    "remove the file if that process has ended"
                ) from None
            if not told:
                told = True
                waiting()
    try:
        yield
    finally:
        lock.release()


def _record(file: Path) -> list[str]:
    """Machine and process that the library's file names, or its only words; nothing where it cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return [""]
    return [lines[1], lines[0]] if len(lines) > 1 else [lines[0].strip()]


def _holder(path: Path) -> str:
    try:
        with open(path, "rb", buffering=0) as f:
            f.seek(1)  # the first byte is what is locked on Windows, where it cannot be read
            return f.read(100).decode(errors="replace").strip()
    except OSError:
        return ""


DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""A folder of somebody else's, or a disk that is only read."""
_said: set[str] = set()


def folder_named(variable: str) -> Path | None:
    """Read the folder that an environment variable names, with `~` expanded; None where it is not set."""
    given = os.environ.get(variable)
    return Path(given).expanduser() if given else None


def cache_root() -> Path:
    """Return $GENZOO_CACHE, or ~/.cache/genzoo."""
    return folder_named("GENZOO_CACHE") or Path("~/.cache/genzoo").expanduser()


def cache_folders(part: str) -> list[Path]:
    """List where a part of the cache is looked for: in the cache folder, then in ~/.cache/genzoo if that is another."""
    return [root / part for root in dict.fromkeys((cache_root(), Path("~/.cache/genzoo").expanduser()))]


def cache_folder(part: str, *, quiet: bool = False, beyond: Path | None = None) -> Path:
    """Return the first folder for a part of the cache that this user can write, made if need be.

    Args:
        part: data, features, fetched, weights ...
        quiet: Do not say on stderr, once, that it is not in the cache folder.
        beyond: A folder that has turned out not to do.

    Raises:
        UserError: There is none, or the cache is no folder; the message names it and what to do.
    """
    wanted, *others = cache_folders(part)
    for place in (p for p in (wanted, *others) if p != beyond):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in DENIED:
                continue
            raise cache_unusable(place, error) from None
        if os.access(place, os.W_OK | os.X_OK):
            if place != wanted and not quiet:
                say_once(f"the cache {wanted} cannot be written by this user; what is new is kept in {place}")
            return place
    own = f", nor can {others[0]}" if others else ""
    raise UserError(f"the cache {wanted} cannot be written by this user{own}; set GENZOO_CACHE to a folder that can")


def cache_unusable(place: Path, error: OSError) -> UserError:
    """Put into words that a cache fails for another reason than a full disk."""
    why = error.strerror or type(error).__name__
    return UserError(f"the cache {place} cannot be used ({why}); set GENZOO_CACHE to another folder")


def say_once(text: str) -> None:
    """Print a note on stderr, the first time in this process."""
    if text not in _said:
        _said.add(text)
        print(f"note: {text}", file=sys.stderr, flush=True)


def weights_folders() -> list[Path]:
    """List where weights of published networks are looked for: in $GENZOO_WEIGHTS, then in `weights` of the cache."""
    given = folder_named("GENZOO_WEIGHTS")
    return [*([given] if given else []), *cache_folders("weights")]


def find_weights(name: str, given: str | Path | None = None) -> Path | None:
    """Find weights of a published network: the one rule, for measures, losses, frozen networks and encoders alike.

    Args:
        name: Of the file or folder.
        given: The path that the person gave for it, which is then the only one looked at.
    """
    places = [Path(given).expanduser()] if given else [folder / name for folder in weights_folders()]
    return next((place for place in places if place.exists()), None)


def weights_lacking(name: str, given: str | Path | None = None) -> str:
    """Say where weights were looked for in vain, and what to do (see `find_weights`)."""
    if given:
        return f"there is no {Path(given).expanduser()}"
    *most, last = map(str, weights_folders())
    looked = f"{', '.join(most)} or {last}" if most else last
    return f"there is no {name} in {looked}; set GENZOO_WEIGHTS to the folder that has it"
