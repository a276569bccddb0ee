"""Video files in and out for the commands that change images: every frame is changed like a photograph, one at a time.

| in the file | in the result |
|---|---|
| frames | each changed by itself, upright and in the shape that players show, 8 bits in a channel |
| rate | the same; frames at uneven times are shown at even ones, at the rate of most of them, and it is said |
| sound | not kept, and it is said |
| damaged frames | left out and counted |

A film is read and written through `av` (the extra `video`) and never held whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.core.files import replacing
from genzoo.data.decode.films import Film, container
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.decode.times import at_rate
from genzoo.data.drawing.clips import PER_SECOND, mp4
from genzoo.data.drawing.files import save_film
from genzoo.data.formats import FILMS, HEAD, refusal, what_is

Add = Callable[[np.ndarray], None]
FASTEST = 1000
"""Frames in a second above which a file's word for its rate is not taken."""


def is_film(path: Path) -> bool:
    """Tell a video file by its first bytes, and one that is damaged from there on by its name."""
    try:
        with open(path, "rb") as file:
            if container(file) is not None:
                return True
            found = what_is(file.read(HEAD), path.name)
    except OSError:
        return False
    return path.suffix.lower() in FILMS and (found is None or found.group != "picture")


def length(path: Path) -> int:
    """Return the number of frames that a film promises; 1 where it promises none, or is no film."""
    try:
        with _opened(path) as film:
            return max(film.stream.frames, 1)
    except UserError:  # why, is said when it is read
        return 1


def rate_of(path: Path) -> Fraction:
    """Return the frames in a second of a film, of one with uneven times that of most; `PER_SECOND` where it does not say.

    Raises:
        UserError: It cannot be opened.
    """
    if (even := even_rate(path)) is not None:
        return even
    with _opened(path) as film:
        return film.rate if film.rate and 0 < film.rate <= FASTEST else Fraction(PER_SECOND)


def even_rate(path: Path) -> Fraction | None:
    """Return the rate that a film with frames at uneven times is brought to; None of one whose frames are even.

    Raises:
        UserError: It cannot be opened.
    """
    with _opened(path) as film:
        even = film.even_rate()
    return even if even is not None and even <= FASTEST else None


def frames(path: Path, channels: int, rate: Fraction | None = None) -> Iterator[np.ndarray]:
    """Yield the frames of a film, uint8 [H, W, channels]; say at its end what is not kept.

    Args:
        path: The film.
        channels: 1 gray, 3 RGB.
        rate: Frames in a second, where they are brought to even times: one that is seen longer comes again, as the same array. Every frame once
            when not given.

    Raises:
        UserError: It is damaged from the beginning, or the extra is not installed.
    """
    with _opened(path) as film:
        form = ImageFormat(*_shape(film, path), channels)
    with _opened(path) as film:
        sound = bool(film.opened.streams.audio)
        before: np.ndarray | None = None
        given = np.empty(0)
        for frame in at_rate(film.timed(form), rate) if rate else film.frames(form):
            if frame is None:
                continue
            if frame is not before:
                before, given = frame, np.ascontiguousarray(frame.transpose(1, 2, 0))
            yield given
        lost = film.told["lost"] + film.told["missing"]
        told = ["its sound is not kept"] * sound
        told += [f"{lost} damaged or missing {'frame is' if lost == 1 else 'frames are'} left out"] * bool(lost)
        if film.told["uneven"]:
            told.append(
                f"its frames stand at uneven times; the result shows them at {float(rate):.4g} in a second, some of them again" if rate
                else "its frames stand at uneven times; each is taken once"
            )  # fmt: skip
    for note in told:
        print(f"'{path}': {note}", file=sys.stderr)


@contextmanager
def written(path: Path, per_second: Fraction) -> Iterator[Add]:
    """Write a film (.mp4, or .gif, whose pictures are held until the end), whole or not at all: lends what adds a picture, uint8 [H, W, 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".gif":
        held: list[np.ndarray] = []
        yield held.append
        save_film(path, held, per_second=float(per_second))
        return
    with disk_full_is_said(path, 0), replacing(path) as part, mp4(part, per_second) as add:
        yield add


def _shape(film: Film, path: Path) -> tuple[int, int]:
    try:
        height, width, _ = film.probe()
    except Rejected as reason:
        raise UserError(f"'{path}' is no usable video: {reason}") from None
    return height, width


@contextmanager
def _opened(path: Path) -> Iterator[Film]:
    try:
        with open(path, "rb") as file:
            demuxer = container(file)
            if demuxer is None:
                raise Rejected(refusal(file.read(HEAD), path.name, "clip"))
            with Film(file, demuxer, path.name) as film:
                yield film
    except Rejected as reason:
        raise UserError(f"'{path}' is no usable video: {reason}") from None
