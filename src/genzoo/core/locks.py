"""One lock for everything that processes take turns at: runs, trials, journals, entries of the cache.

It is `flock`, which falls with its process however that ends. Where a mount has none (NFS without a lock service, Lustre, some FUSE), a
file that only one process can make stands in for it: it names its process, so that one on the same machine that died holds nobody up; of
another machine's nothing is known, and the person is told which file to remove.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from genzoo.core.errors import UserError
from genzoo.core.places import say_once

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NONE_HERE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
"""What a mount says that has no locks; the last one is NFS's word for a lock of a file that can only be read."""
PAUSE = 0.05
"""Seconds between two looks at a file that stands in for a lock."""
PATIENCE = 600.0
"""Seconds after which waiting for a process that cannot be looked for is given up."""


class Busy(Exception):
    """Another process holds the lock.

    Args:
        holder: Which, as far as it said so: "pid 17", "other-machine pid 17".
        remove: The file to remove if that process is known to have ended; none where the lock falls by itself.
    """

    def __init__(self, holder: str, remove: Path | None = None) -> None:
        super().__init__(holder)
        self.holder, self.remove = holder or "unknown", remove


@contextlib.contextmanager
def locked(
    path: Path, *, wait: bool = True, waiting: Callable[[], object] = lambda: None, quiet: bool = False
) -> Iterator[None]:
    """Hold the lock of a file, which is made if need be, for this process.

    Args:
        path: The file, in a folder that is there.
        wait: Wait for the lock, instead of raising `Busy`.
        waiting: Called once before a wait.
        quiet: Do not say on stderr, once, that this place has no locks.

    Raises:
        Busy: Another process holds it, and `wait` is false.
        UserError: A place without locks has been held for ten minutes by a process that cannot be looked for.
        OSError: The file cannot be opened.
    """
    handle = _opened(path)
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


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)  # another user's: to lock it, that is enough


def _taken(handle: int, path: Path, wait: bool, waiting: Callable[[], object]) -> bool:
    """Take the lock; False where there are none."""
    if fcntl is None:
        return False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Busy(_read(path)) from None
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        if not wait:  # held for long: others are told by whom
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"pid {os.getpid()}".encode(), 0)
    except OSError as error:
        if error.errno not in NONE_HERE:
            raise
        return False
    return True


@contextlib.contextmanager
def _stand_in(file: Path, wait: bool, waiting: Callable[[], object]) -> Iterator[None]:
    mine = f"{socket.gethostname()} pid {os.getpid()} {_since(os.getpid())}".strip()
    begun = time.monotonic()
    told = False
    while not _made(file, mine):
        holder = _read(file)
        if _ended(holder):
            _remove(file, holder)
            continue
        if not wait:
            raise Busy(holder, file)
        if not told:
            told = True
            waiting()
        if time.monotonic() - begun > PATIENCE and not _is_here(holder):
            raise UserError(
                f"{file} has been held for {PATIENCE / 60:.0f} minutes by {holder or 'an unknown process'}; "
                "remove the file if that process has ended"
            )
        time.sleep(PAUSE)
    try:
        yield
    finally:
        _remove(file, mine)


def _made(file: Path, text: str) -> bool:
    """Make the file, as the only process that does."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
    return True


def _remove(file: Path, text: str) -> None:
    """Take away a file that says `text`; what another process has made in the meantime is put back."""
    aside = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(file, aside)
        if _read(aside) != text:
            with contextlib.suppress(OSError):
                os.link(aside, file)
        aside.unlink()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _is_here(holder: str) -> bool:
    return holder.startswith(f"{socket.gethostname()} pid ")


def _ended(holder: str) -> bool:
    """True where the process was one of this machine, and is no more."""
    words = holder.removeprefix(f"{socket.gethostname()} pid ").split() if _is_here(holder) else []
    if not words or not words[0].isdecimal():
        return False
    pid = int(words[0])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # another user's
    return len(words) > 1 and _since(pid) not in ("", words[1])  # the number has been given to another process


def _since(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where that is not told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
