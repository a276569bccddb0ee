"""Names that methods of systems had before version 0.2 (November 2026), kept for one release: version 0.3 goes without this file."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

RENAMED = {
    "latent": "sample_prior", "observe": "partial_fit", "end_of_pass": "finish_pass",
    "survey": "calibrate", "end_of_survey": "finish_calibration", "surveying": "calibrating",
}  # fmt: skip
"""Old name -> new name."""


def bridge(cls: type) -> None:
    """Let a class that defines an old name have the new one, and answer to the old name where it has the new one.

    An old name that a class uses for something else (`self.latent = ...`) is left alone.
    """
    used = {n for c in cls.__mro__ for f in vars(c).values() for n in _names(f)}
    for old, new in RENAMED.items():
        own = vars(cls).get(old)
        if (inspect.isfunction(own) or isinstance(own, property)) and not hasattr(cls, new):
            said = f"{cls.__name__} defines {old}, which is called {new} now; rename it: the old name goes with version 0.3"
            warnings.warn(said, DeprecationWarning, stacklevel=3)
            setattr(cls, new, own)
        elif inspect.isfunction(vars(cls).get(new)) and not hasattr(cls, old) and old not in used:
            setattr(cls, old, _answering(old, new))


def _names(function: Any) -> set[str]:
    """List the attributes and texts that a function mentions."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    return set() if code is None else {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}


def _answering(old: str, new: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kw: Any) -> Any:
        said = f"{type(self).__name__}.{old} is called {new} now; the old name goes with version 0.3"
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        return getattr(self, new)(*args, **kw)

    method.__name__ = old
    method.__doc__ = f"Call `{new}`, as this is called now."
    return method
