"""Where one sound ends and another begins in a file of several joined ones: libsndfile reads the first and says nothing of the others.

Ogg has a flag for the first page of a stream, which RFC 3533 calls chaining; FLAC and MP3 files are joined by `cat`, and players play them through.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_FLAC = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
"""Mark and header of the block that begins every FLAC file."""
_TAG = 128
"""Bytes of the tag at the end of an MP3 file."""


def links(file: BinaryIO) -> list[tuple[int, int]]:
    """Find the first byte and the end of every sound of a file; one pair for a file that is not joined, or of a format that cannot be."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(0)
    head = file.read(4)
    starts = [0]
    if head == b"OggS":
        starts = list(_ogg(file))
    elif head == b"fLaC":
        starts = list(_flac(file))
    elif head[:3] == b"ID3" or (len(head) == 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        starts = list(_mp3(file, end))
    return list(zip(starts, [*starts[1:], end], strict=True))


def _ogg(file: BinaryIO) -> Iterator[int]:
    """Find where a page of an Ogg file begins a stream after pages of another."""
    at, begun = 0, True
    yield 0
    while True:
        file.seek(at)
        page = file.read(27 + 255)
        if len(page) < 27 or page[:4] != b"OggS":
            return
        first = bool(page[5] & 2)
        if first and not begun:
            yield at
        begun = first
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])


def _flac(file: BinaryIO) -> Iterator[int]:
    file.seek(0)
    data = file.read()
    at = 0
    while at >= 0:
        yield at
        after = [p for p in (data.find(mark, at + 8) for mark in _FLAC) if p >= 0]
        at = min(after, default=-1)


def _mp3(file: BinaryIO, end: int) -> Iterator[int]:
    """Find the streams of an MP3 by the length in the first frame (Xing or Info), which encoders write; without it the file is one stream."""
    at = 0
    while True:
        yield at
        file.seek(at)
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            at += 10 + sum((b & 127) << (7 * (3 - i)) for i, b in enumerate(head[6:10]))
        file.seek(at)
        frame = file.read(256)
        place = max(frame.find(b"Xing"), frame.find(b"Info"))
        if place < 0 or len(frame) < place + 16:
            return
        (flags,) = struct.unpack_from(">I", frame, place + 4)
        if not flags & 2:
            return
        (size,) = struct.unpack_from(">I", frame, place + 8 + 4 * (flags & 1))
        at += size
        file.seek(at)
        after = file.read(3)
        if after == b"TAG":
            at += _TAG
            file.seek(at)
            after = file.read(3)
        if not size or at >= end or not (after == b"ID3" or (after[:1] == b"\xff" and after[1] & 0xE6 == 0xE2)):
            return
