"""What `data=` names: from a text to a source."""

from __future__ import annotations

import os
import re
from pathlib import Path

from genzoo.core.errors import NoSuchData, UserError, nearest
from genzoo.data.settings import DataSettings
from genzoo.data.sources.arrays import ArrayFile
from genzoo.data.sources.contents import Source
from genzoo.data.sources.embedded import Embedded
from genzoo.data.sources.files import Files, OneFile
from genzoo.data.sources.hub import Hub
from genzoo.data.sources.moving_digits import Moving
from genzoo.data.sources.names import DRAWN, EMBEDDED, MOVING, POINTS, STANDARD, available, located, two_sides
from genzoo.data.sources.pairs import TwoSides
from genzoo.data.sources.planar import Planar
from genzoo.data.sources.records import holds_images
from genzoo.data.sources.shapes import Shapes
from genzoo.data.sources.shelf import is_records, spread
from genzoo.data.sources.standard import Standard
from genzoo.data.sources.tables import ENDINGS as TABLES
from genzoo.data.sources.tables import TableFile
from genzoo.data.sources.trees import is_tar, is_zip


def find(
    text: str,
    settings: DataSettings,
    *,
    declared: str = "",
    two: bool = False,
    single: bool = False,
    seed: int = 0,
    quiet: bool = False,
) -> Source:
    """Find the source that a person means.

    Args:
        text: What was written after data=.
        settings: How a folder or an archive is read.
        declared: What kind of data the system takes, for the message where that is not two sides.
        two: Whether two sides are taken.
        single: Whether an array of three sides is one image.
        seed: Seed that points in the plane are drawn from.
        quiet: Say nothing on stderr.

    Raises:
        UserError: There is none; the message has the nearest name or path.
    """
    if sides := two_sides(text):
        if not two:
            raise UserError(
                f"data={text} names two sides, which only a system for pairs or for unpaired data takes (this one takes {declared})"
            )
        return TwoSides(*(find(side, settings, quiet=quiet) for side in sides))
    if text in POINTS:
        return Planar(text, seed)
    if text.startswith("hf:"):
        return Hub(text[3:])
    key = text.lower().replace("_", "-")
    if key in EMBEDDED:
        return Embedded(key)
    if key in DRAWN:
        return Shapes()
    if key in MOVING:
        digits = Embedded("digits") if key == "moving-digits" else Standard("mnist", quiet=quiet)
        return Moving(key, digits)
    if key in STANDARD:
        return Standard(key, quiet=quiet)
    path, chosen = located(text), ""
    if not path.exists() and (found := re.fullmatch(r"(.*\.npz):([^:]+)", str(path))):  # one array of several
        path, chosen = Path(found[1]), found[2]
    if not path.exists() and (shards := spread(text)):
        if not any(p.is_file() for p in shards):
            raise NoSuchData(
                f"data={text}: none of the {len(shards)} files of this pattern is there, {shards[0]} is the first"
            )
        return Files(path, settings, shards)
    if not path.exists():
        raise NoSuchData(_missing(text, path))
    if not path.is_dir() and not path.is_file():
        raise UserError(f"data={text} is neither a file nor a folder")
    return _file(path, single, settings, chosen)


def _file(path: Path, single: bool, settings: DataSettings, chosen: str = "") -> Source:
    try:
        if path.is_dir():
            return Files(path, settings)
        if path.suffix.lower() in (".npy", ".npz"):
            return ArrayFile(path, single=single, chosen=chosen)
        if is_records(path) and (path.suffix.lower() not in TABLES or holds_images(path)):
            return Files(path, settings)
        if path.suffix.lower() in TABLES and not chosen:
            return TableFile(path)
        if is_zip(path) or is_tar(path):
            return Files(path, settings)
    except OSError as error:
        raise UserError(f"data={path} cannot be read: {error.strerror}") from None
    return OneFile(path)


def _missing(text: str, path: Path) -> str:
    siblings = (
        [p.name for p in path.parent.iterdir()] if path.parent.is_dir() and os.access(path.parent, os.R_OK) else []
    )
    hint = nearest(text, available()) or nearest(path.name, siblings)
    return f"data={text}: there is no set and no path of this name{hint or '.'} Sets: {', '.join(available())}."
