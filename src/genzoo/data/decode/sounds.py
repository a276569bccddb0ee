"""One careful sound decoder: what a file holds, and its samples as 16-bit mono.

| sound | treatment |
|---|---|
| WAV with 16-bit PCM | as it is |
| WAV with 8, 24 or 32-bit PCM, A-law, mu-law | brought to 16 bits, rounded; see `genzoo.data.decode.wav` for headers that are wrong |
| WAV of floats | [-1, 1], or the range of 16, 24 or 32-bit integers, see `scale_of`; what is beyond is clipped, and counted |
| floats of which clipping would take a tenth or more | left out, with the reason: what is left of them is a square wave |
| FLAC, OGG, MP3, AIFF and the like, compressed WAV | read by `soundfile` (the extra `audio`), rounded to 16 bits |
| several sounds joined in one Ogg, FLAC or MP3 file | read one after the other, and said; of different rates or channels: left out |
| cut off | what is there is read, and said |
| two or more channels | left out, with the reason; `channels=1` takes their mean |
| another rate than most files of the set | resampled to theirs, and said |
| empty, text, not finite, shorter than a window | left out, with the reason |
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np

from genzoo.data.decode import wav
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.joined import links
from genzoo.data.formats import HEAD, refusal

MAX_VALUES = 2**28
"""Files with more values (samples times channels) are refused before they are read."""
SCALES = {1.0: "[-1, 1]", 2.0**15: "16-bit integers", 2.0**23: "24-bit integers", 2.0**31: "32-bit integers"}
"""Ranges that floats are stored in, by what they are divided by."""
BEYOND = 4.0
"""Floats in [-1, 1] may be this much beyond full scale; what is louder has another range."""

SQUARE = 0.1
"""Root mean square of what clipping takes of floats, over that of all of them, from which on they are left out: -20 dB of distortion."""
_HUGE = 1e100
"""Levels above it count as this, so that their squares are numbers."""
_BLOCK = 1 << 14
"""Samples that are resampled at a time."""
_OTHERS = {
    b"fLaC": "FLAC", b"OggS": "OGG", b"FORM": "AIFF", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"RIFF": "this WAV",
    b"RIFX": "this WAV", b"riff": "W64", b"caff": "CAF", b".snd": "AU",
}  # fmt: skip
"""What the library reads, by the first bytes."""
_READ = 1 << 10
"""Samples that the library is asked for at a time: of a damaged file, less than this is lost before the damage."""


@dataclass(frozen=True)
class Sound:
    """What a file says of itself.

    Args:
        rate: Samples per second.
        channels: 1 mono, 2 stereo.
        frames: Samples of each channel.
        floats: Stored as floats, whose range the format does not say.
    """

    rate: int
    channels: int
    frames: int
    floats: bool = False


@dataclass(frozen=True)
class Samples:
    """What was read of a file.

    Args:
        values: int16 [frames, channels].
        full: How many of them are at full scale.
        over: How many were beyond it, and were clipped.
        mark: pipe: the length was not stated; cut: the file ends before its stated length; joined: another file stands behind it; links: it is
            several sounds, which were all read.
    """

    values: np.ndarray
    full: int
    over: int
    mark: wav.Mark


class _Reader(Protocol):
    """A file that is open."""

    said: Sound
    loudest: int
    mark: wav.Mark

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield samples [n, channels], one block after the other: int16, or float64 where the range has to be known."""


def probe(file: BinaryIO, name: str = "") -> Sound:
    """Read rate, channels and length from the header.

    Raises:
        Rejected: This is no usable sound.
    """
    with _reader(file, name) as reader:
        return reader.said


def peak(file: BinaryIO, name: str = "") -> float:
    """Return the largest absolute value in a sound file of floats.

    Raises:
        Rejected: This is no usable sound.
    """
    with _reader(file, name) as reader:
        return max((float(np.abs(_finite(block)).max(initial=0)) for block in reader.blocks()), default=0.0)


def scale_of(peaks: Sequence[float]) -> float:
    """Choose the number that all floats of a set are divided by: 1, 2^15, 2^23 or 2^31, by the peak of the middle file.

    Files of floats do not say whether they hold [-1, 1] or integers. Half of a set louder than four times full scale is none that is
    meant to be heard, so it is taken for integers of as few bits as hold it, twice as loud at most (resampling overshoots).

    Args:
        peaks: Largest absolute value of every file; silent ones do not count.
    """
    heard = sorted(p for p in peaks if p > 0)
    middle = heard[len(heard) // 2] if heard else 0.0
    if middle <= BEYOND:
        return 1.0
    return next((scale for scale in SCALES if scale > 1 and middle <= 2 * scale), 2.0**31)


def samples(file: BinaryIO, scale: float = 1.0, name: str = "") -> Samples:
    """Read all samples of a sound file.

    Args:
        file: The sound.
        scale: What floats are divided by, see `scale_of`.
        name: Its name, for the reason why it is none.

    Raises:
        Rejected: This is no usable sound.
    """
    with _reader(file, name) as reader:
        full = over = 0
        loudest = cut = power = 0.0
        found = []
        for block in reader.blocks():
            if block.dtype != np.int16:
                with np.errstate(over="ignore"):  # infinitely loud is clipped as well
                    levels = np.rint(_finite(block) * (32768 / scale))
                over += int((np.abs(levels) > 32768).sum())
                size = np.abs(levels).clip(max=_HUGE) / 32768
                loudest = max(loudest, float(size.max(initial=0)))
                cut, power = cut + float(np.square((size - 1).clip(0)).sum()), power + float(np.square(size).sum())
                block = levels.clip(-32768, 32767).astype(np.int16)
            full += int((np.abs(block.astype(np.int32)) >= reader.loudest).sum())
            found.append(block)
        if not sum(map(len, found)):
            raise Rejected("damaged: no sample of it can be decoded; export it again")
        count = sum(block.size for block in found)
        if over and cut >= SQUARE**2 * power:
            raise Rejected(
                f"{over:,} of its {count:,} samples lie beyond full scale (the loudest {loudest:.3g} times) and would be cut to a square wave; "
                "bring them to [-1, 1] (sox FILE OUT.wav norm)"
            )
        return Samples(np.concatenate(found), full, over, reader.mark)


def _finite(values: np.ndarray) -> np.ndarray:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise Rejected("some samples are not finite numbers (NaN or infinity); export it again")
    return values


def mono(values: np.ndarray) -> np.ndarray:
    """Average all channels, rounded: int16 [frames, channels] to int16 [frames]."""
    if values.shape[1] == 1:
        return values[:, 0]
    mean: np.ndarray = np.rint(values.astype(np.float64).mean(1)).astype(np.int16)
    return mean


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


def _checked(said: Sound) -> Sound:
    if said.frames * said.channels > MAX_VALUES:
        raise Rejected(
            f"{said.frames:,} samples: more than {MAX_VALUES // 2**20} million values; cut it into shorter files"
        )
    if said.frames < 1 or said.rate < 1:
        raise Rejected("no samples")
    return said


@contextmanager
def _reader(file: BinaryIO, name: str) -> Iterator[_Reader]:
    """Open a sound file for reading: by this package where it can, else by the library soundfile."""
    found = wav.header(file)
    if found is not None:
        yield _Plain(file, found)
        return
    file.seek(0)
    if not file.read(1):
        raise Rejected("empty file")
    opened: list[Any] = []
    try:
        for start, end in links(file):
            file.seek(start)
            opened.append(_by_library(io.BytesIO(file.read(end - start)), name))
        yield _Library(opened)
    finally:
        for sound in opened:
            sound.close()


class _Plain:
    """A WAV file that this package reads."""

    def __init__(self, file: BinaryIO, found: wav.Wav) -> None:
        self.file, self.found, self.mark = file, found, found.mark
        self.said = _checked(Sound(found.rate, found.channels, found.frames, wav.is_float(found)))
        self.loudest = wav.loudest(found)

    def blocks(self) -> Iterator[np.ndarray]:
        step = 2**22 // self.said.channels or 1
        for first in range(0, self.said.frames, step):
            yield wav.stored(self.file, self.found, first, min(step, self.said.frames - first))


class _Library:
    """What `soundfile` opened, one sound or several joined ones."""

    loudest = 32767

    def __init__(self, sounds: Sequence[Any]) -> None:
        self.sounds = sounds
        self.mark: wav.Mark = "links" if len(sounds) > 1 else ""
        kinds = sorted({(s.samplerate, s.channels) for s in sounds})
        if len(kinds) > 1:
            seen = " and ".join(f"{rate} Hz with {channels} channel{'s' * (channels > 1)}" for rate, channels in kinds)
            raise Rejected(f"sounds of {seen} are joined in it; save it as one sound: ffmpeg -i FILE OUT.wav")
        (rate, channels), frames = kinds[0], sum(s.frames for s in sounds)
        self.said = _checked(Sound(rate, channels, frames, any(s.subtype in ("FLOAT", "DOUBLE") for s in sounds)))

    def blocks(self) -> Iterator[np.ndarray]:
        count = 0
        for sound in self.sounds:
            values = _whole(sound)
            count += len(values)
            yield values
            if len(values) < sound.frames:
                break
        if count < self.said.frames:
            self.mark = "cut"


def _whole(sound: Any) -> np.ndarray:
    """Read all samples [frames, channels], or those before the damage.

    At once where that can be: the library sets its place anew after every call, from which an MP3 does not go on as it would
    have (in blocks most samples come out different).
    """
    try:
        values: np.ndarray = sound.read(dtype="float64", always_2d=True)
        return values
    except Exception:  # LibsndfileError
        found = [np.empty((0, sound.channels))]
    try:
        sound.seek(0)
        while len(block := sound.read(_READ, dtype="float64", always_2d=True)):
            found.append(block)
    except Exception:  # here is the damage
        pass
    return np.concatenate(found)


def _by_library(data: io.BytesIO, name: str) -> Any:
    """Open all but plain WAV by `soundfile`; what it does not read is named."""
    head = data.read(HEAD)
    data.seek(0)
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there, the C library behind it is not
        kind = next((title for magic, title in _OTHERS.items() if head.startswith(magic)), None)
        reason = (
            refusal(head, name, "sound") if kind is None else f"{kind} needs the extra: pip install 'genzoo[audio]'"
        )
        raise Rejected(reason) from None
    try:
        return soundfile.SoundFile(data)
    except Exception:  # LibsndfileError, and TypeError for raw data
        known = any(head.startswith(magic) for magic in _OTHERS)
        raise Rejected("damaged; export it again" if known else refusal(head, name, "sound")) from None
