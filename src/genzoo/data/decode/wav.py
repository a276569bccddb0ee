"""One careful reader of WAV: what the header says, what is really there, and the samples, without a library.

| header | treatment |
|---|---|
| RIFF, RF64, BW64; WAVE_FORMAT_EXTENSIBLE | the chunks before the samples are looked through |
| integers of 8 to 32 bits, A-law, mu-law, floats of 32 and 64 bits | read here; other codings, such as ADPCM, are left to `soundfile` |
| a length of 0, 0x7FFFFFFF or 0xFFFFFFFF, as programs write it into a pipe | read to the end of the file |
| a length beyond the end of the file | what is there is read, and the sound is marked as cut |
| another RIFF file behind the samples | marked as joined: a length cannot be trusted, and nothing behind it is read |
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from genzoo.data.decode.forms import Rejected

Mark = Literal["", "pipe", "cut", "joined", "links"]
"""What is wrong with a sound that is read all the same; see the notes of a set."""
_UNSTATED = 0x7FFF0000
"""Lengths from here on mean that the writer did not know: sox and ffmpeg write 0x7FFFFFFF less a header, or 0xFFFFFFFF."""
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8), _ALAW: (1,), _MULAW: (1,)}


@dataclass(frozen=True)
class Wav:
    """Where the samples of a WAV file are, and how they are stored.

    Args:
        rate: Samples per second.
        channels: Of every frame.
        coding: 1 integers, 3 floats, 6 A-law, 7 mu-law.
        width: Bytes of a sample.
        start: Place of the first byte.
        frames: Samples of each channel that are there.
        mark: See `Mark`.
    """

    rate: int
    channels: int
    coding: int
    width: int
    start: int
    frames: int
    mark: Mark


def header(file: BinaryIO) -> Wav | None:
    """Read the header of a WAV file; None for another file, or a coding that is not read here.

    Raises:
        Rejected: It is a WAV file, and its header is damaged.
    """
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(0)
    top = file.read(12)
    if top[:4] not in (b"RIFF", b"RF64", b"BW64") or top[8:12] != b"WAVE":
        return None
    form, long = b"", None
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        at = file.tell()
        if name == b"data":
            if len(form) < 16:
                raise Rejected("a damaged WAV: nothing says how its samples are stored; export it again")
            return _samples_at(file, form, at, end, long if size == 0xFFFFFFFF and long is not None else size)
        if name == b"fmt ":
            form = file.read(min(size, 64))
        elif name == b"ds64":
            long = struct.unpack_from("<Q", file.read(16).ljust(16, b"\0"), 8)[0]
        file.seek(at + size + size % 2)
    raise Rejected("a damaged WAV: it has a header and no samples; export it again")


def _samples_at(file: BinaryIO, form: bytes, at: int, end: int, stated: int) -> Wav | None:
    coding, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", form)
    if coding == _EXTENSIBLE and len(form) >= 26:
        coding = struct.unpack_from("<H", form, 24)[0]
    width = block // channels if channels and block else -(-bits // 8)
    if width not in _WIDTHS.get(coding, ()):
        return None
    if not channels or not rate:
        raise Rejected(f"a damaged WAV: it says {channels} channels of {rate} samples per second; export it again")
    there = end - at
    mark: Mark = ""
    if stated > there:
        mark = "pipe" if stated >= _UNSTATED else "cut"
    elif not stated and there and not _is_chunk(file, at, end):
        mark = "pipe"
    else:
        there = stated
        file.seek(at + stated + stated % 2)
        mark = "joined" if file.read(4) in (b"RIFF", b"RF64") else ""
    return Wav(rate, channels, coding, width, at, there // (width * channels), mark)


def _is_chunk(file: BinaryIO, at: int, end: int) -> bool:
    """Tell whether a chunk begins at a place that ends within the file."""
    file.seek(at)
    head = file.read(8)
    return len(head) == 8 and all(32 <= b < 127 for b in head[:4]) and struct.unpack("<I", head[4:])[0] <= end - at - 8


def stored(file: BinaryIO, wav: Wav, first: int, count: int) -> np.ndarray:
    """Read some samples [count, channels]: int16 where the file has integers, rounded from more bits; else float64 as they are."""
    step = wav.width * wav.channels
    file.seek(wav.start + first * step)
    raw = file.read(count * step)
    raw = raw[: len(raw) // step * step]
    if wav.coding == _FLOAT:
        with np.errstate(invalid="ignore"):  # signalling NaN, which is refused later
            values = np.frombuffer(raw, f"<f{wav.width}").astype(np.float64)
    elif wav.coding == _PCM:
        values = _sixteen_bits(raw, wav.width)
    else:
        values = (_A_LAW if wav.coding == _ALAW else _MU_LAW)[np.frombuffer(raw, np.uint8)]
    return values.reshape(-1, wav.channels)


def loudest(wav: Wav) -> int:
    """Return the level at which samples of this coding are at full scale."""
    return {(_PCM, 1): 127 * 256, (_ALAW, 1): 32256, (_MULAW, 1): 32124}.get((wav.coding, wav.width), 32767)


def is_float(wav: Wav) -> bool:
    """Tell whether the format leaves open which range its values have: floats."""
    return wav.coding == _FLOAT


def _sixteen_bits(raw: bytes, width: int) -> np.ndarray:
    """Convert PCM of 1 to 4 bytes to int16, rounded to the nearest."""
    if width == 2:
        return np.frombuffer(raw, "<i2").astype(np.int16)
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) * 256
    if width == 3:
        deep = np.zeros((len(raw) // 3, 4), np.uint8)
        deep[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    else:
        deep = np.frombuffer(raw, np.uint8).reshape(-1, 4)
    whole = np.ascontiguousarray(deep).view("<i4")[:, 0].astype(np.int64)
    return ((whole + 32768) // 65536).clip(-32768, 32767).astype(np.int16)


def _expanded() -> tuple[np.ndarray, np.ndarray]:
    """Expand every byte of A-law and of mu-law (ITU-T G.711) to the sample that it stands for, int16 [256] each."""
    byte = np.arange(256)
    a = byte ^ 0x55
    steps, low = a >> 4 & 7, (a & 15) * 16 + 8
    a_law = np.where(steps == 0, low, (low + 256) << np.maximum(steps - 1, 0)) * np.where(a & 128, 1, -1)
    mu = byte ^ 0xFF
    mu_law = ((((mu & 15) * 8 + 132) << (mu >> 4 & 7)) - 132) * np.where(mu & 128, -1, 1)
    return a_law.astype(np.int16), mu_law.astype(np.int16)


_A_LAW, _MU_LAW = _expanded()
