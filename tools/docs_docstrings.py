"""Docstrings as the site shows them: doctests in blocks of code, brackets as brackets (Griffe loads this; mkdocs.yml names it)."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"(?:^[ \t]*>>> .*\n?(?:^[ \t]*\S.*\n?)*)+", re.MULTILINE)


def shown(text: str) -> str:
    """Return a docstring's text as Markdown: a shape like [B, C] is no link, and what the interpreter would print is no quotation."""
    parts, at = [], 0
    for found in _DOCTEST.finditer(text):
        parts += [_plain(text[at : found.start()]), f"```pycon\n{found[0].rstrip()}\n```\n"]
        at = found.end()
    return "".join([*parts, _plain(text[at:])])


def _plain(text: str) -> str:
    return re.sub(r"\](?=\s*[(\[])", r"\\]", text)


class Docstrings(griffe.Extension):
    """Rewrites every docstring that is read."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)
