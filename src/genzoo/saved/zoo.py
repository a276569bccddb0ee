"""Trained models that come in the package genzoo-zoo: `zoo:NAME` stands wherever a model is taken.

The package is data alone, one folder for each model, and nothing of it is run. Names of models of other programs, which
`genzoo import` fetches, share the namespace: they are known here so that a message can say what to do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from genzoo.core.errors import UserError, nearest
from genzoo.naming.published import ZOO

PREFIX = ZOO
PACKAGE = "genzoo-zoo"
RECORD = "record.json"
IMPORTED = ("eyes", "faces", "sharper", "vintage")
"""Models of other programs: `genzoo import zoo:NAME` makes a run of them."""
INSTALL = f"pip install {PACKAGE}, or, beside the sources of genzoo, pip install ./packages/zoo"


def root() -> Path | None:
    """Find the folder of the package; None where it is not installed."""
    found = importlib.util.find_spec("genzoo_zoo")
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def folders() -> dict[str, Path]:
    """Find the models of the package: name -> folder; none where it is not installed."""
    place = root()
    return {p.parent.name: p.parent for p in sorted(place.glob(f"*/{RECORD}"))} if place else {}


def folder_of(place: str) -> Path:
    """Return the folder of a model of the package.

    Args:
        place: zoo:NAME.

    Raises:
        UserError: There is none of that name, it is one that has to be imported first, or the package is missing.
    """
    name, known = place.removeprefix(PREFIX), folders()
    if name in known:
        return known[name]
    if name in IMPORTED:
        raise UserError(
            f"{place} is a model of another program: 'genzoo import {place}' fetches it and makes a run of it, runs/{name}, that stands here"
        )
    if root() is None:
        raise UserError(f"{place} is in a package of its own, which is not installed: {INSTALL}")
    hint = nearest(name, [*known, *IMPORTED]).replace("'", f"'{PREFIX}", 1) or "."
    raise UserError(f"there is no '{place}'{hint} There are {', '.join(known)}; 'genzoo zoo' shows them")
