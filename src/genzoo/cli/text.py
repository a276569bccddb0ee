"""Plain text for terminals and pipes: columns, wrapped to the width there is."""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


def width() -> int:
    """Columns of the terminal (or what COLUMNS says), between 60 and 140; 110 where there is none."""
    told = os.environ.get("COLUMNS", "")
    found = int(told) if told.isdecimal() else 0
    with contextlib.suppress(AttributeError, ValueError, OSError):  # as shutil asks, which imports archives
        found = found or os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    return max(60, min(140, found or 110))


def wrap(text: str, room: int) -> list[str]:
    """Break a text between words into lines of at most `room` characters; hyphens do not part a word.

    >>> wrap("one two three", 8)
    ['one two', 'three']
    """
    words = text.split(" ")
    if not text.isprintable() or "" in words or max(map(len, words)) > room:
        import textwrap  # it compiles its patterns when it is imported, which takes longer than this

        return textwrap.wrap(text, room, break_on_hyphens=False)
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def columns(rows: Iterable[Sequence[str]], *, indent: int = 2, gap: int = 2, caps: Sequence[int] = ()) -> str:
    """Lay rows out in columns; the last one wraps, and a cell wider than its cap pushes the rest of its row one line down.

    >>> print(columns([("a", "one"), ("bcd", "two")]))
      a    one
      bcd  two
    """
    table = [list(r) for r in rows]
    if not table:
        return ""
    last = max(len(r) for r in table) - 1
    widths = [max((len(r[i]) for r in table if len(r) > i), default=0) for i in range(last)]
    widths = [min(w, caps[i]) if i < len(caps) else w for i, w in enumerate(widths)]
    start, room = indent + sum(w + gap for w in widths), width()
    lines = []
    for row in table:
        head = " " * indent
        for i, cell in enumerate(row[:last]):
            head += cell.ljust(widths[i]) + " " * gap
            if len(cell) > widths[i]:
                lines.append(head.rstrip())
                head = " " * (indent + sum(w + gap for w in widths[: i + 1]))
        body = wrap(row[last] if len(row) > last else "", max(24, room - start)) or [""]
        lines.append((head + body[0]).rstrip())
        lines += [" " * start + more for more in body[1:]]
    return "\n".join(lines)


def paragraph(text: str, *, indent: int = 0) -> str:
    """Wrap one paragraph."""
    import textwrap

    return textwrap.fill(" ".join(text.split()), width(), initial_indent=" " * indent, subsequent_indent=" " * indent)


def number(value: object) -> str:
    """Write a number as people read it, and other values as they are.

    >>> number(0.123456), number(81.30042), number(12)
    ('0.1235', '81.3004', '12')
    """
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.4f}"
    return "-" if value is None else str(value)


def settings_table(rows: list[tuple[str, str, str, str]], values: dict[str, Any] | None = None) -> str:
    """Lay out settings, their defaults (or the values given here), and what is allowed."""
    changed = values or {}
    laid = [(n, word(changed[n]) if n in changed else d or "(empty)", f"{t} [{a}]" if a else t) for n, d, a, t in rows]
    return columns(laid, caps=(24, 20))


def word(value: Any) -> str:
    """Write a value as it is typed."""
    if isinstance(value, (tuple, list)):
        return ",".join(str(v) for v in value)
    return (
        str(value).lower()
        if isinstance(value, bool) or value is None
        else number(value)
        if not isinstance(value, float)
        else f"{value:g}"
    )
