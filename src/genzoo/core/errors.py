"""Errors that are meant for the person at the keyboard, and the search for the word that they meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that its maker can mend: the command line prints it on one or two lines and exits with 2."""


class DamagedFile(UserError):
    """A file is not what was written: truncated, altered, or of another kind."""


class TrainingStopped(RuntimeError):
    """Training ended before its budget, with its state saved.

    Args:
        message: What happened and what to try.
        code: Exit code for a command line: 1 health, 130 SIGINT, 143 SIGTERM.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " — did you mean 'x'?" for the known word closest to `word`, or an empty string.

    >>> nearest("dcgna", ["dcgan", "vae"])
    " — did you mean 'dcgan'?"
    >>> nearest("fdl", ["FLD", "FID"])
    " — did you mean 'FLD'?"
    >>> nearest("zzz", ["dcgan"])
    ''
    """
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    return f" — did you mean '{names[found[0]]}'?" if found else ""
