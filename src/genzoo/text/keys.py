"""Names of settings as a person writes them and as Python does, which keeps a few words for itself: `from` is `from_`."""

from __future__ import annotations

import keyword


def spoken(name: str) -> str:
    """Return the name of an argument as a person writes it.

    >>> spoken("from_"), spoken("form")
    ('from', 'form')
    """
    return name[:-1] if name.endswith("_") and keyword.iskeyword(name[:-1]) else name


def in_python(name: str) -> str:
    """Return the name of an argument as Python writes it.

    >>> in_python("from"), in_python("from_")
    ('from_', 'from_')
    """
    return f"{name}_" if keyword.iskeyword(name) else name
