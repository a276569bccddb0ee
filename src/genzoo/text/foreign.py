"""What a file is that is not what was looked for, told from its first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIGNS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive, as PyTorch's torch.save writes it (a pickle, which is never opened)"),
    (b"\x80\x02", "a Python pickle, which is never opened"),
    (b"\x80\x03", "a Python pickle, which is never opened"),
    (b"\x80\x04", "a Python pickle, which is never opened"),
    (b"\x80\x05", "a Python pickle, which is never opened"),
    (b"\x89HDF\r\n", "an HDF5 file (Keras, h5py)"),
    (b"GGUF", "a GGUF file (llama.cpp)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"gzo", "a file of 'genzoo compress'"),
    (b"version https://git-lfs", "a Git LFS pointer, whose file has not been fetched ('git lfs pull' does)"),
    (b"<!DOCTYPE", "a web page, perhaps of a download that failed"),
    (b"<!doctype", "a web page, perhaps of a download that failed"),
    (b"<html", "a web page, perhaps of a download that failed"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"{", "a JSON file"),
)


def what_is(head: bytes) -> str:
    """Name what a file is by its first bytes; empty where they say nothing.

    >>> what_is(b"GGUF 3"), what_is(b"something")
    ('a GGUF file (llama.cpp)', '')
    """
    if not head:
        return "empty"
    return next((words for sign, words in SIGNS if head.startswith(sign)), "")


def kind_of(value: Any) -> str:
    """Name what a value of JSON or TOML is: a list, text, a number ...

    >>> kind_of([1]), kind_of(None), kind_of(True), kind_of({})
    ('a list', 'null', 'true', 'an object')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "text" if isinstance(value, str) else "a number" if isinstance(value, (int, float)) else "a date"
