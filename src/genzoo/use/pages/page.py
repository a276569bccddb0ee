"""Static pages: HTML with pictures as relative files, no scripts, and every word from outside escaped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genzoo import __version__
from genzoo.core.files import write_atomic

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2330; background: #fff; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #dde2ea; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.small, figcaption { color: #5a6577; font-size: .85em; } .best { font-weight: 700; color: #0b6b3a; } .no { color: #9a3412; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; } figcaption { max-width: 34rem; }
figure img { max-width: 34rem; width: 100%; image-rendering: pixelated; border: 1px solid #dde2ea; }
@media (prefers-color-scheme: dark) {
  body { color: #dfe5ee; background: #14181f; } th, td { border-color: #2b3340; } .small, figcaption { color: #94a1b5; }
  .best { color: #4ade80; } .no { color: #fdba74; }
}
"""


class Html(str):
    """Text that is HTML already; everything else is escaped."""


def text(value: object) -> Html:
    """Escape what is not `Html`."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, content: object, **attributes: str) -> Html:
    """One element; `class_` becomes class."""
    given = "".join(f' {k.rstrip("_")}="{escape(v)}"' for k, v in attributes.items() if v)
    return Html(f"<{name}{given}>{text(content)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Join, escaping what has to be."""
    return Html(between.join(text(p) for p in parts))


def rows(header: Sequence[object], body: Iterable[Sequence[object]]) -> Html:
    """Write a table as HTML."""
    head = tag("tr", join(tag("th", h) for h in header))
    lines = (tag("tr", join(c if c.startswith("<td") else tag("td", c) for c in map(text, line))) for line in body)
    return tag("table", join([tag("thead", head), tag("tbody", join(lines, "\n"))]))


def figure(file: Path, folder: Path, caption: object) -> Html:
    """Refer to a picture beside the page, by its relative path."""
    there = quote(os.path.relpath(file, folder).replace(os.sep, "/"))
    image = Html(f'<img src="{there}" alt="{escape(str(caption))}">')
    return tag("figure", join([image, tag("figcaption", caption)]))


def document(title: str, *parts: object) -> bytes:
    """Write the whole page as HTML."""
    head = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n"
    )
    body = tag("body", join([tag("h1", title), *parts, tag("p", f"genzoo {__version__}", class_="small")], "\n"))
    return f"{head}<style>{STYLE}</style>\n{body}\n</html>\n".encode()


def number(value: object) -> str:
    """Write a number as people read it."""
    return (
        "–"
        if value is None
        else f"{value:.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def value_words(record: Mapping[str, Any]) -> str:
    """Value, error and unit."""
    spread = f" ± {record['se']:.2g}" if record.get("se") is not None else ""
    return f"{number(record.get('value'))}{spread} {record.get('unit') or ''}".strip()


def write_evaluation(folder: Path, kept: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
    """Draw the page of an evaluation: all that is kept of this run, its pictures, and what could not be measured."""
    body = [
        (name, Html(tag("td", value_words(r), class_="n")), Html(tag("td", number(r.get("floor")), class_="n")), number(r.get("n")),
         tag("span", r.get("protocol", ""), class_="small"))
        for name, r in kept.items()
    ]  # fmt: skip
    parts: list[object] = [
        tag("p", f"{found.get('data', '')} {found.get('split', '')}, seed {found['seed']}".strip(), class_="small")
    ]
    if body:
        parts += [
            tag("h2", "Measured"),
            rows(("measure", "value ± standard error", "real against real", "N", "protocol"), body),
        ]
        parts.append(
            tag(
                "p",
                "Only values with one protocol compare: 'genzoo compare' says which do. "
                "Real against real is what training images score.",
                class_="small",
            )
        )
    if found["not_measured"]:
        parts += [tag("h2", "Not measured"), rows(("measure", "why"), found["not_measured"].items())]
    if found["notes"]:
        parts += [tag("h2", "Notes"), *(tag("p", note) for note in found["notes"])]
    if found["pictures"]:
        captions = found.get("captions", {})
        parts += [
            tag("h2", "Pictures"),
            *(figure(Path(file), folder, captions.get(name, name)) for name, file in found["pictures"].items()),
        ]
    return write_atomic(folder / "evaluation.html", document(str(found["system"]), *parts))
