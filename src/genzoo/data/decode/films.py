"""Video files, through `av` (the extra `video`): which container, and its frames upright, in their shape, without those that are damaged.

| what a file holds | treatment |
|---|---|
| a display matrix (phones turn the picture by it) | applied: quarter turns and mirrorings |
| pixels that are not square | the shorter side is stretched, as players do |
| transparency | composited on white, as in images |
| an edit list | followed by the library: frames that are not shown are not read |
| packets that cannot be decoded, and frames up to the next key frame, which build on them | left out and counted; no clip spans the gap |
| less than the header promises | what is there is used, and counted |
| several video streams, a cover picture | the first stream that is no cover |
| uneven times | every frame once, and said; or at even ones, see `genzoo.data.decode.times` |
| interlaced lines | as they are stored, and said |
| sound | left out, and said |
"""

from __future__ import annotations

import itertools
import os
import struct
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from genzoo.data.decode.forms import ImageFormat, Rejected, Shape
from genzoo.data.decode.images import to_form
from genzoo.data.decode.times import Shown
from genzoo.data.formats import HEAD, refusal

MOST = 2**36
"""Pixels of a clip, all frames together; more are refused before they are decoded."""
USUAL = Fraction(1, 25)
"""Seconds that a frame is shown where nothing says."""
_TURNS = {
    (1, 0, 0, 1): None,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""What a display matrix (a, b, c, d) asks for: the point (x, y), y downwards, is shown at (ax + cy, bx + dy)."""
_MAGIC = (
    (0, b"\x1a\x45\xdf\xa3", "matroska"), (0, b"\x00\x00\x01\xba", "mpeg"), (0, b"OggS", "ogg"), (0, b"FLV", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"), (8, b"AVI ", "avi"),
)  # fmt: skip


def container(file: BinaryIO) -> str | None:
    """Name the demuxer of a file by the way it begins; None where it is not one of the known containers.

    Only these are handed to the library, and by name: its guesses include play lists, which may name other files.
    """
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") and head[8:12] not in (b"avif", b"avis"):
        return "mov"
    # A transport stream has a mark every 188 bytes; cameras put 4 bytes before it.
    if any(len(head) > step + at and head[at] == head[step + at] == 0x47 for at, step in ((0, 188), (4, 192))):
        return "mpegts"
    return next((name for at, magic, name in _MAGIC if head[at:].startswith(magic)), None)


class Film:
    """A video file that is open.

    Args:
        file: The file.
        demuxer: See `container`.
        name: Its name, for the reason why it is none.

    Attributes:
        told: What was seen: turned, mirrored, stretched, slanted, uneven, interlaced, sound (1 each), lost and missing (frames).
        rate: Frames per second, where the file says so.
    """

    def __init__(self, file: BinaryIO, demuxer: str, name: str) -> None:
        self.file, self.told = file, Counter[str]()
        try:
            import av
        except (ImportError, OSError):
            raise Rejected("a video file needs the extra: pip install 'genzoo[video]'") from None
        head = file.read(HEAD)
        file.seek(0)
        try:
            self.opened = av.open(file, mode="r", format=demuxer)
        except Exception:  # av.error.FFmpegError, ValueError
            raise Rejected("damaged: its index cannot be read, as where a copy was cut short; copy it again") from None
        streams = self.opened.streams
        films = [s for s in streams.video if not self._is_cover(s)]
        if not films:
            heard = bool(streams.audio or streams.video)  # not to be asked of what is closed
            self.opened.close()
            if heard:
                raise Rejected(
                    "sound without moving pictures: systems for sound read WAV and FLAC: ffmpeg -i FILE OUT.wav"
                )
            raise Rejected(f"no video in it ({refusal(head, name, 'clip')})")
        self.stream = films[0]
        self.told["sound"] = int(bool(streams.audio))
        self.demuxer = demuxer
        self.rate: Fraction | None = self.stream.average_rate
        pixel = self.stream.sample_aspect_ratio or Fraction(1)
        self.pixel = pixel if Fraction(1, 8) <= pixel <= 8 else Fraction(1)
        self.turn: Image.Transpose | None = None

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *exc: object) -> None:
        self.opened.close()

    @staticmethod
    def _is_cover(stream: Any) -> bool:
        return bool(stream.disposition & type(stream.disposition).attached_pic)

    def probe(self) -> Shape:
        """Return height, width and channels of the film's frames as they are shown, from the first that can be decoded."""
        frame = next((f for f in self._decoded() if f is not None), None)
        if frame is None:
            raise Rejected("damaged: no frame of it can be decoded; export it again")
        if max(self.stream.frames, 1) * frame.width * frame.height > MOST:
            raise too_large(f"{self.stream.frames} frames of {frame.width}x{frame.height}")
        width, height = self._upright(Image.new("L", (frame.width, frame.height)), frame).size
        return height, width, 1 if frame.format.name.startswith("gray") else 3

    def even_rate(self) -> Fraction | None:
        """Return the rate of most frames of a film whose frames stand at uneven times, by its packets alone; None of an even one.

        The film is read to its end by this, and has to be opened anew.
        """
        try:
            times = sorted(p.pts for p in self.opened.demux(self.stream) if p.pts is not None and p.size)
        except Exception:  # the container is damaged: what is uneven is said when it is read
            return None
        if not _uneven(list(times)) or not self.stream.time_base:
            return None
        steps = [s for s in _steps(list(times)) if s > 0]
        return 1 / (steps[len(steps) // 2] * self.stream.time_base) if steps else None

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray | None]:
        """Yield the film's frames, uint8 [C, H, W]; None stands for frames that are missing between two others."""
        return (frame for _, _, frame in self.timed(form))

    def timed(self, form: ImageFormat) -> Iterator[Shown]:
        """Yield them with their times, see `genzoo.data.decode.times`."""
        budget = MOST
        usual = 1 / self.rate if self.rate else USUAL
        for frame in self._decoded():
            if frame is None:
                yield None, usual, None
                continue
            budget -= frame.width * frame.height
            if budget < 0:
                raise too_large("its frames are together")
            if any(c.is_alpha for c in frame.format.components):
                kind = "rgba"
            else:
                kind = "gray" if form.channels < 3 else "rgb24"
            base = frame.time_base or self.stream.time_base
            at = None if frame.pts is None or not base else frame.pts * base
            lasts = frame.duration * base if base and frame.duration else usual
            yield at, lasts, to_form(self._upright(Image.fromarray(frame.to_ndarray(format=kind)), frame), form)

    def _decoded(self) -> Iterator[Any]:
        """Yield the frames of the library; None once where some are left out."""
        times: list[Any] = []
        packets, broken, gap, due = 0, False, False, set[int]()
        reading = self.opened.demux(self.stream)
        while True:
            try:
                packet = next(reading, None)
            except Exception:  # the container is damaged from here on
                self.told["lost"] += 1
                break
            if packet is None:
                break
            packets += packet.size > 0
            # In an MP4 every packet is a frame: one that never comes is lost, although decoders pass over damage without a word.
            shown = packet.pts if self.demuxer == "mov" and not packet.is_discard else None
            promised = shown is not None
            if shown is not None:
                due.add(shown)
            try:
                found = packet.decode()
            except Exception:
                self.told["lost"] += not promised
                broken = gap = True
                continue
            for frame in found:
                missed = {at for at in due if frame.pts is not None and at < frame.pts}
                self.told["lost"] += len(missed)
                due -= {*missed, frame.pts}
                gap |= bool(missed)
                broken = ((broken or bool(missed)) and not frame.key_frame) or frame.is_corrupt
                if broken:
                    self.told["lost"] += 1
                    gap = True
                    continue
                if gap:
                    yield None
                    times.append(None)
                gap = False
                times.append(frame.pts)
                self.told["interlaced"] |= bool(frame.interlaced_frame)
                yield frame
        self.told["lost"] += len(due)
        self.told["missing"] += self._beyond(packets)
        self.told["uneven"] |= _uneven(times)

    def _beyond(self, packets: int) -> int:
        """Count the frames that the file promises and does not hold.

        The index of an MP4 says where each packet is. Their number says nothing: an edit list leaves some of them out.
        """
        if self.demuxer != "mov":
            return max(self.stream.frames - packets, 0)
        end = self.file.seek(0, os.SEEK_END)
        return sum(entry.pos + entry.size > end for entry in getattr(self.stream, "index_entries", ()))

    def _upright(self, image: Image.Image, frame: Any) -> Image.Image:
        """Bring a frame into the form in which a player shows it: in its proportions, turned and mirrored."""
        wide = self.pixel
        if wide != 1:
            self.told["stretched"] = 1
            w, h = image.size
            image = image.resize((round(w * wide), h) if wide > 1 else (w, round(h / wide)), Image.Resampling.BICUBIC)
        matrix = next((bytes(s) for s in frame.side_data if s.type.name == "DISPLAYMATRIX"), b"")
        if len(matrix) == 36:
            a, b, _, c, d = struct.unpack("9i", matrix)[:5]
            largest = max(abs(v) for v in (a, b, c, d)) or 1
            wanted = tuple(round(v / largest) for v in (a, b, c, d))
            if wanted in _TURNS:
                self.turn = _TURNS[wanted]
            else:
                self.told["slanted"] = 1
        if self.turn is None:
            return image
        self.told["turned"] = 1
        return image.transpose(self.turn)


def too_large(what: str) -> Rejected:
    """Say why a clip of too many pixels is left out."""
    return Rejected(f"{what}: more than {MOST // 10**9} gigapixels; cut it into shorter files, or scale it down")


def _steps(times: list[int | None]) -> list[int]:
    """Return the steps of time from frame to frame, small ones first; gaps do not count."""
    return sorted(b - a for a, b in itertools.pairwise(times) if a is not None and b is not None)


def _uneven(times: list[int | None]) -> bool:
    """Tell whether frames follow each other in unequal steps of time."""
    steps = _steps(times)
    if len(steps) < 2:
        return False
    middle = steps[len(steps) // 2]
    return steps[-1] > 1.5 * middle or steps[0] < 0.5 * middle
