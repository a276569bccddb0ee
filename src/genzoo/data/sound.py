"""One careful sound decoder: what a file holds, and its samples as 16-bit mono.

| sound | treatment |
|---|---|
| WAV with 16-bit PCM | as it is |
| WAV with 8, 24 or 32-bit PCM | brought to 16 bits, rounded |
| FLAC, OGG, MP3, AIFF, float or compressed WAV | read by `soundfile` (the extra `audio`), rounded to 16 bits |
| two or more channels | left out, with the reason; `channels=1` takes their mean |
| another rate than most files of the set | resampled to theirs, and said |
| empty, text, truncated, shorter than a window | left out, with the reason |
"""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from genzoo.data.decode import Refused, _is_text

MAX_VALUES = 2**28
"""Files with more values (samples times channels) are refused before they are read."""

_BLOCK = 1 << 14
"""Samples that are resampled at a time."""

_OTHERS = {b"fLaC": "FLAC", b"OggS": "OGG", b"FORM": "AIFF", b"ID3\x03": "MP3", b"ID3\x04": "MP3", b"RIFF": "this WAV"}


@dataclass(frozen=True)
class Sound:
    """What a file says of itself.

    Args:
        rate: Samples per second.
        channels: 1 mono, 2 stereo.
        frames: Samples of each channel.
    """

    rate: int
    channels: int
    frames: int


def probe(file: BinaryIO) -> Sound:
    """Rate, channels and length from the header.

    Raises:
        Refused: This is no usable sound.
    """
    try:
        with wave.open(file, "rb") as plain:
            return _checked(Sound(plain.getframerate(), plain.getnchannels(), plain.getnframes()))
    except (wave.Error, EOFError):
        with _open(file) as other:
            return _checked(Sound(other.samplerate, other.channels, other.frames))


def samples(file: BinaryIO) -> np.ndarray:
    """All samples, int16 [frames, channels].

    Raises:
        Refused: This is no usable sound.
    """
    try:
        with wave.open(file, "rb") as plain:
            said = _checked(Sound(plain.getframerate(), plain.getnchannels(), plain.getnframes()))
            raw, width = plain.readframes(said.frames), plain.getsampwidth()
    except (wave.Error, EOFError):
        return _by_library(file)
    there = len(raw) // (width * said.channels)
    if there < said.frames:
        raise Refused(f"truncated: {there:,} of {said.frames:,} samples are there")
    return _sixteen_bits(raw, width).reshape(-1, said.channels)


def mono(values: np.ndarray) -> np.ndarray:
    """The mean of all channels, rounded: int16 [frames, channels] to int16 [frames]."""
    if values.shape[1] == 1:
        return values[:, 0]
    return np.rint(values.astype(np.float64).mean(1)).astype(np.int16)


def at_rate(values: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Bring int16 [T] from one rate to another: int16 [ceil(T · wanted / rate)].

    What the new rate can hold stays, what it cannot is filtered out: a sinc of 32 zero crossings under a Kaiser window (β = 9), each
    phase of it scaled to sum to one, so that a constant stays what it was. Beyond its ends a sound is silent.
    """
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    if up == down:
        return values
    cutoff = min(1.0, wanted / rate) * 0.95  # of half the old rate; the window's slope ends at the lower of both halves
    half = math.ceil(16 / cutoff)
    steps = np.arange(1 - half, half + 1)
    apart = np.arange(up)[:, None] / up - steps  # [phases, taps], in samples of the old rate
    window = np.i0(9 * np.sqrt(np.clip(1 - (apart / half) ** 2, 0, None)))
    taps = np.sinc(cutoff * apart) * window
    taps /= taps.sum(1, keepdims=True)
    padded = np.pad(values.astype(np.float64), (half - 1, half + 1))
    count = -(-len(values) * up // down)
    made = np.empty(count, np.int16)
    for start in range(0, count, _BLOCK):
        place = np.arange(start, min(start + _BLOCK, count), dtype=np.int64) * down
        near = padded[(place // up)[:, None] + np.arange(2 * half)]
        made[start : start + len(place)] = np.rint((near * taps[place % up]).sum(1)).clip(-32768, 32767)
    return made


def _sixteen_bits(raw: bytes, width: int) -> np.ndarray:
    """PCM of 1 to 4 bytes to int16, rounded to the nearest."""
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


def _checked(said: Sound) -> Sound:
    if said.frames * said.channels > MAX_VALUES:
        raise Refused(f"{said.frames:,} samples: more than {MAX_VALUES // 2**20} million values")
    if said.frames < 1 or said.rate < 1:
        raise Refused("no samples")
    return said


def _open(file: BinaryIO) -> Any:
    """Open all but plain WAV by `soundfile`; refuses what no library would read."""
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if not head:
        raise Refused("empty file")
    if all(b >= 32 or b in (9, 10, 12, 13) for b in head) and _is_text(head):
        raise Refused("text, not sound")
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there, the C library behind it is not
        kind = _OTHERS.get(head[:4])
        if kind is None:
            raise Refused("not a sound of a known format") from None
        raise Refused(f"{kind} needs the extra: pip install 'genzoo[audio]'") from None
    try:
        return soundfile.SoundFile(file)
    except Exception as error:  # LibsndfileError, and TypeError for raw data
        raise Refused(f"not a sound of a known format ({str(error).splitlines()[0][-80:]})") from None


def _by_library(file: BinaryIO) -> np.ndarray:
    with _open(file) as sound:
        said = _checked(Sound(sound.samplerate, sound.channels, sound.frames))
        try:
            values = sound.read(dtype="float64", always_2d=True)
        except Exception as error:  # LibsndfileError
            raise Refused(f"damaged: {str(error).splitlines()[0][:80]}") from None
    if len(values) < said.frames:
        raise Refused(f"truncated: {len(values):,} of {said.frames:,} samples are there")
    if not np.isfinite(values).all():
        raise Refused("some samples are not finite numbers")
    return np.rint(values * 32768).clip(-32768, 32767).astype(np.int16)
