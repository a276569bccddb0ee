"""Where what is worth keeping is kept: the cache folder, which may be shared, and a place of one's own where that cannot be written."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from genzoo.core.errors import UserError

DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""A folder of somebody else's, or a disk that is only read."""
_said: set[str] = set()


def cache_root() -> Path:
    """$GENZOO_CACHE, or ~/.cache/genzoo."""
    return Path(os.environ.get("GENZOO_CACHE") or "~/.cache/genzoo").expanduser()


def places(name: str) -> list[Path]:
    """Where a part of the cache is looked for: in the cache folder, then in ~/.cache/genzoo if that is another."""
    return [root / name for root in dict.fromkeys((cache_root(), Path("~/.cache/genzoo").expanduser()))]


def writable(name: str, *, quiet: bool = False, beyond: Path | None = None) -> Path:
    """The first place of a part of the cache that this user can write, made if need be.

    Args:
        name: The part: data, features, fetched ...
        quiet: Do not say on stderr, once, that it is not in the cache folder.
        beyond: A place that has turned out not to do.

    Raises:
        UserError: There is none, or the cache is no folder; the message names it and what to do.
    """
    wanted, *others = places(name)
    for place in (p for p in (wanted, *others) if p != beyond):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in DENIED:
                continue
            raise unusable(place, error) from None
        if os.access(place, os.W_OK | os.X_OK):
            if place != wanted and not quiet:
                say_once(f"the cache {wanted} cannot be written by this user; what is new is kept in {place}")
            return place
    own = f", nor can {others[0]}" if others else ""
    raise UserError(f"the cache {wanted} cannot be written by this user{own}; set GENZOO_CACHE to a folder that can")


def unusable(place: Path, error: OSError) -> UserError:
    """What is said of a cache that fails for another reason than a full disk."""
    return UserError(
        f"the cache {place} cannot be used ({error.strerror or type(error).__name__}); set GENZOO_CACHE to another folder"
    )


def say_once(text: str) -> None:
    """A note on stderr, the first time in this process."""
    if text not in _said:
        _said.add(text)
        print(f"note: {text}", file=sys.stderr, flush=True)
