"""Files that other processes and other users share: written whole or not at all, cached, and weights found by one rule.

Nothing heavy is imported here, so `nn` may ask for weights, and `genzoo list` stays quick.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
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
