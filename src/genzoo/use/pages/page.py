"""Static pages from the templates that stand beside this file: pictures as relative files, no scripts, every word from outside escaped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from genzoo import __version__
from genzoo.core.files import write_atomic


def write_page(path: Path, template: Path, **values: object) -> Path:
    """Fill a template and write the page, whole or not at all.

    Args:
        path: The page.
        template: A file beside which (or beside this one) the templates stand that it extends.
        values: What it names; every one of them has to be given.
    """
    beside = jinja2.FileSystemLoader([template.parent, Path(__file__).parent])
    pages = jinja2.Environment(
        loader=beside, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters |= {"number": number, "measured": measured}
    return write_atomic(path, pages.get_template(template.name).render(version=__version__, **values).encode())


def number(value: object, missing: str = "–") -> str:
    """Write a number as people read it, and other values as they are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return missing if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def measured(record: Mapping[str, Any]) -> str:
    """Write value, error and unit of a measure."""
    spread = f" ± {record['se']:.2g}" if record.get("se") is not None else ""
    return f"{number(record.get('value'))}{spread} {record.get('unit') or ''}".strip()


def address(file: Path, folder: Path) -> str:
    """Give the address of a file as a page in `folder` links to it."""
    return quote(os.path.relpath(file, folder).replace(os.sep, "/"))


def write_evaluation(folder: Path, kept: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
    """Write the page of an evaluation: all that is kept of this run, its pictures, and what could not be measured."""
    captions = found.get("captions", {})
    return write_page(
        folder / "evaluation.html", Path(__file__).with_name("evaluation.html.j2"), title=str(found["system"]), kept=kept,
        about=f"{found.get('data', '')} {found.get('split', '')}, seed {found['seed']}".strip(),
        not_measured=found["not_measured"], notes=found["notes"],
        pictures=[(captions.get(name, name), address(Path(file), folder)) for name, file in found["pictures"].items()],
    )  # fmt: skip
