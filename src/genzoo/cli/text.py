"""Plain text for terminals and pipes: columns, wrapped to the width there is."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any


def width() -> int:
    """Columns of the terminal, between 60 and 140."""
    return max(60, min(140, shutil.get_terminal_size((110, 24)).columns))


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
    start = indent + sum(w + gap for w in widths)
    lines = []
    for row in table:
        head = " " * indent
        for i, cell in enumerate(row[:last]):
            head += cell.ljust(widths[i]) + " " * gap
            if len(cell) > widths[i]:
                lines.append(head.rstrip())
                head = " " * (indent + sum(w + gap for w in widths[: i + 1]))
        body = textwrap.wrap(
            row[last] if len(row) > last else "", max(24, width() - start), break_on_hyphens=False
        ) or [""]
        lines.append((head + body[0]).rstrip())
        lines += [" " * start + more for more in body[1:]]
    return "\n".join(lines)


def paragraph(text: str, *, indent: int = 0) -> str:
    """Wrap one paragraph."""
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
