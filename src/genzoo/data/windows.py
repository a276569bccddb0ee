"""Windows by name: which values of a scan are black and white. For CT they are Hounsfield units."""

from __future__ import annotations

from genzoo.core.errors import UserError

WINDOWS: dict[str, tuple[float, float]] = {
    "soft": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "all": (-1024.0, 3071.0),
}
"""Windows of CT by name, black and white in Hounsfield units: soft tissue 400 wide at 40, lung 1500 at -600, bone 1800 at 400, brain 80 at 40, and
all that 12 bits hold."""
OWN = "file"
"""The window that the files state."""


def resolved(window: tuple[float, float] | str | None) -> tuple[float, float] | None:
    """Return the two values of a window that is given by name or by values; None for the files' own.

    >>> resolved("lung"), resolved((0, 80)), resolved("file")
    ((-1350.0, 150.0), (0, 80), None)

    Raises:
        UserError: Its ends are in the wrong order.
    """
    if isinstance(window, str):
        return WINDOWS.get(window)
    if window is not None and window[0] >= window[1]:
        raise UserError(f"gray_window={window[0]:g},{window[1]:g} is empty; give the darker value first")
    return window
