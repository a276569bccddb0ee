"""What a library's exception means, in words of our own: its text is written for those who know its inside."""

from __future__ import annotations

import json
import struct
import tarfile
import tomllib
import zipfile
import zlib

_ENDS_EARLY = (
    "truncated",
    "unexpected end",
    "end of data",
    "not enough data",
    "premature",
    "incomplete",
    "ended before",
)
_SAID = (
    ((zipfile.BadZipFile, tarfile.TarError, zlib.error), "damaged: it cannot be unpacked"),
    (ImportError, "a part that it needs is not installed"),
    (MemoryError, "it does not fit into memory"),
    (NotImplementedError, "stored in a way that is not read"),
)


def in_words(error: BaseException) -> str:
    """Give the reason why something cannot be read, without a word of the library that said so.

    >>> in_words(OSError(13, "Permission denied", "x.png"))
    'permission denied'
    >>> in_words(OSError("image file is truncated (3 bytes not processed)"))
    'truncated'
    >>> in_words(ModuleNotFoundError("No module named 'charset_normalizer'"))
    'a part that it needs is not installed'
    >>> in_words(TypeError("cannot unpack <_io.BufferedReader>"))
    'damaged'

    Args:
        error: What was raised. Of an OSError the words of the operating system are given, which name a cause that people know.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return f"no text in UTF-8 (byte {error.start})"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, tomllib.TOMLDecodeError):
        return "no TOML"
    if isinstance(error, (EOFError, struct.error)) or any(word in str(error).lower() for word in _ENDS_EARLY):
        return "truncated"
    return next((said for kinds, said in _SAID if isinstance(error, kinds)), "damaged")
