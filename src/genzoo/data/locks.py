"""Locks between processes: one decodes data, writes a run or a study's journal, while the others wait or say who does."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from genzoo.core.errors import UserError
from genzoo.core.files import say_once

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


def held_by(path: Path) -> int | None:
    """Find the process of this machine that holds the lock of a file for long (`wait=False`); None where none does.

    Nobody is disturbed: the lock is tried only where the process that the file names is there, which then holds it as a rule.

    Args:
        path: The file, which need not be there.
    """
    import filelock

    stand_in = path.with_name(f"{path.name}.held")
    if stand_in.exists():
        machine, *process = _record(stand_in)
        if machine != socket.gethostname() or not process or not _alive(process[0]):
            return None
        lock = filelock.SoftFileLock(stand_in)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return int(process[0])
        lock.release()
        return None
    word, _, number = _holder(path).partition(" ")
    if word != "pid" or not _alive(number):
        return None
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:  # a number may belong to another process by now: only one that holds the lock counts
        return None if filelock.lock_descriptor(handle, blocking=False) else int(number)
    except OSError:
        return None
    finally:
        os.close(handle)


def _alive(number: str) -> bool:
    """Tell whether a text is the number of a process of this machine."""
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 2**31):
        return False
    try:
        os.kill(int(number), 0)
    except OSError as error:
        return error.errno == errno.EPERM  # another user's
    return True


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
