"""Errors that are meant for the person at the keyboard, and the search for the word that they meant."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space on the device, a quota that is used up, a limit on the size of files."""


class UserError(ValueError):
    """A mistake that its maker can mend: the command line prints it on one or two lines and exits with 2."""


class DamagedFile(UserError):
    """A file is not what was written: truncated, altered, or of another kind."""


class NoSuchData(UserError):
    """There are no data of a name, or at a path."""


class NotHere(UserError):
    """The class of a model is not here: it is somebody's own, or of a package that is not installed."""


class TrainingStopped(RuntimeError):
    """Training ended before its budget, with its state saved.

    Args:
        message: What happened and what to try.
        code: Exit code for a command line: 1 health, 130 SIGINT, 143 SIGTERM.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class DiskFull(UserError):
    """There is no room for a file; what was there before is untouched."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " — did you mean 'x'?" for the known word closest to `word` (files share an ending: closer), or "".

    >>> nearest("dcgna", ["dcgan", "vae"])
    " — did you mean 'dcgan'?"
    >>> nearest("3dgan", ["dcgan", "gan-3d"])  # the same letters in another order are nearer than others
    " — did you mean 'gan-3d'?"
    """
    import difflib

    names = {name.lower(): name for name in known}
    same = [name for name in names if sorted(name.replace("-", "")) == sorted(word.lower().replace("-", ""))]
    close = difflib.get_close_matches(word.lower(), same or names, n=1, cutoff=0.75 if "." in word else 0.5)
    return f" — did you mean '{names[close[0]]}'?" if close else ""


@contextlib.contextmanager
def disk_full_is_said(path: str | os.PathLike[str], need: int) -> Iterator[None]:
    """Name the file and the room that it needs, `need` bytes (0: not known), where writing it fails because the disk is full.

    Raises:
        DiskFull: Instead of the error, where that says that there is no room; others pass.
    """
    try:
        yield
    except Exception as error:
        # An error from Rust (safetensors) has no errno, but its words end in "(os error 28)".
        said = [n for n in FULL if getattr(error, "errno", None) == n or f"(os error {n})" in str(error)]
        if not said:
            raise
        import shutil  # not above: `genzoo list` answers at once

        free = shutil.disk_usage(os.path.dirname(os.fspath(path)) or ".").free
        why = {errno.EDQUOT: "; your quota is used up", errno.EFBIG: "; files may not be that large here"}
        raise DiskFull(
            f"no room to write {path}: {f'{_bytes(need)} are needed, ' if need else ''}{_bytes(free)} are free{why.get(said[0], '')}. "
            "What was there before is untouched; make room and try again"
        ) from None


def _bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 10_000 else f"{n:,} bytes"
