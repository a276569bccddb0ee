"""Frames at even times: a film whose frames stand at any times is shown anew, so many frames in a second."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from genzoo.data.decode.forms import Rejected

Shown = tuple[Fraction | None, Fraction, np.ndarray | None]
"""When a frame begins, in seconds, None where nobody says; how long it is shown; and the frame, None for some that are missing."""
MOST_FRAMES = 2**20
"""Frames of one file at most; at 25 in a second they last 11 hours."""
LATE = Fraction(1, 10)
"""Of the time of a frame: one that begins this little after a moment is what is seen at it. Containers round times, to a millisecond as a rule."""


def at_rate(shown: Iterable[Shown], rate: Fraction) -> Iterator[np.ndarray | None]:
    """Yield what is seen at 0, 1 / rate, 2 / rate ... seconds after the first frame; None where frames are missing.

    A frame is seen from its beginning to that of the next, so slow ones are repeated and of quick ones some are passed over; nothing is mixed.

    Args:
        shown: The frames in order.
        rate: Frames in a second.

    Raises:
        Rejected: There would be more frames than anybody has.
    """
    begin: Fraction | None = None
    held: np.ndarray | None = None
    at = end = Fraction(0)
    gap = False

    def first(time: Fraction) -> int:
        return max(0, math.ceil((time - (begin or 0)) * rate - LATE))

    def until(time: Fraction) -> Iterator[np.ndarray | None]:
        ticks = range(first(at), first(time))
        if ticks and ticks[-1] >= MOST_FRAMES:
            raise Rejected(
                f"at fps={float(rate):g} it has more than {MOST_FRAMES:,} frames (one lasts {float(time - at):,.0f} seconds); cut it up"
            )
        for _ in ticks:
            yield held

    for time, lasts, frame in shown:
        if frame is None:
            if held is not None:
                yield from until(end)
            gap, held = held is not None or gap, None
            continue
        time = end if time is None else time
        if held is not None and time < at:
            continue  # time does not run backwards
        begin = time if begin is None else begin
        if held is not None:
            yield from until(time)
        if gap:
            yield None
        gap, held, at, end = False, frame, time, time + lasts
    if held is not None:
        yield from until(end)
