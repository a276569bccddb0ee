"""Command lines as a person types them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from genzoo.core.schema import written


def typed(words: Sequence[str]) -> str:
    """Write a command line as a person types it.

    >>> typed(["train", "dcgan", "data=my photos/"])
    "genzoo train dcgan 'data=my photos/'"
    """
    return " ".join(["genzoo", *map(quote, words)])


def word(place: str | Path) -> str:
    """Write the path of a run, or zoo:NAME, as a word of a command line, which begins with no dash.

    >>> word("-runs/one"), word("zoo:small")
    ('./-runs/one', 'zoo:small')
    """
    return f"./{place}" if str(place).startswith("-") else str(place)


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Write options as a command takes them."""
    return [f"{k}={written(v)}" for k, v in options.items()]
