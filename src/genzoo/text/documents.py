"""Text files that people and other programs write: TOML, JSON, lines of JSON. What is wrong in one is one sentence with its name."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from genzoo.core.errors import DamagedFile, UserError
from genzoo.text.foreign import kind_of, what_is

MOST = 64 * 2**20
"""Bytes of a file of settings or results; a larger one is something else."""


def read_text(path: Path, *, name: str = "") -> str:
    """Read the text of a UTF-8 file.

    Raises:
        DamagedFile: It is no text, or of more than 64 MiB.
        OSError: It cannot be read.
    """
    name = name or str(path)
    if path.stat().st_size > MOST:
        raise DamagedFile(f"{name} has {path.stat().st_size / 2**20:.0f} MiB: a text file of at most 64 is expected")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = what_is(data)
        raise DamagedFile(
            f"{name} is {kind or f'no UTF-8 text (byte {error.start} is {data[error.start]:#04x})'}"
        ) from None


def read_toml(path: Path, *, name: str = "", mend: str = "") -> dict[str, Any]:
    """Read the values of a TOML file.

    Args:
        path: The file.
        name: What it is called in messages; its path when not given.
        mend: What to do about a file that is none.

    Raises:
        UserError: It is no TOML; the message has the place.
        OSError: It cannot be read.
    """
    name = name or str(path)
    try:
        return tomllib.loads(read_text(path, name=name))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line \d+, column \d+|end of document", str(error))
        raise UserError(f"{name} is not TOML{f' ({place[0]})' if place else ''}{mend}") from None
    except (RecursionError, ValueError) as error:  # a number of more digits than Python reads
        if isinstance(error, UserError):
            raise DamagedFile(f"{error}{mend}") from None
        what = "is nested too deeply" if isinstance(error, RecursionError) else "holds a number that is too long"
        raise UserError(f"{name} {what}{mend}") from None


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON value.

    Raises:
        ValueError: It is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path, *, mend: str = "") -> dict[str, Any]:
    """Read the object in a JSON file.

    Args:
        path: The file.
        mend: What to do about a file that holds none.

    Raises:
        DamagedFile: It is no JSON, or something else than an object.
        OSError: It cannot be read.
    """
    try:
        value = parse_json(read_text(path))
    except DamagedFile as error:
        raise DamagedFile(f"{error}{mend}") from None
    except ValueError as error:
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise DamagedFile(f"{path} is damaged: it is no JSON{place}{mend}") from None
    if not isinstance(value, dict):
        raise DamagedFile(f"{path} is damaged: it holds {kind_of(value)}, not an object{mend}")
    return value


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the objects of a file of JSON lines, and count how many lines hold none (the last one, where a process was killed)."""
    if not path.exists():
        return [], 0
    found: list[dict[str, Any]] = []
    *lines, last = path.read_bytes().split(b"\n")
    for line in (*lines, last):
        with contextlib.suppress(ValueError):
            value = parse_json(line)
            if isinstance(value, dict):
                found.append(value)
    return found, len(lines) + bool(last) - len(found)


def is_number(value: Any) -> bool:
    """Return True for a finite number that a float can hold.

    >>> is_number(3), is_number(True), is_number(float("nan")), is_number(10**400)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max
