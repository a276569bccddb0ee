"""Enlarge photographs and colour them: translation under the names that people look for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genzoo.core.capabilities import Restores, Translates, capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.outputs import folder_for
from genzoo.use.common.scale import Size
from genzoo.use.common.source import WORDS, Source, name_of, open_system, options
from genzoo.use.common.tiles import OVERLAP, TILE
from genzoo.use.translate import translate_files


def restore_files(
    source: Source,
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    direction: str,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    size: Size | None = None,
    tile: int = TILE,
    overlap: int = OVERLAP,
    megapixels: float | None = None,
    per_second: float | None = None,
    quiet: bool = True,
    **own: Any,
) -> list[Path]:
    """Enlarge or colour image files and videos of any size, with their transparency; originals stay.

    Args:
        source: A run, its path, or a system.
        images: A file, a folder, a pattern, or several.
        direction: upscale or colorize.
        out: For a single file a name that ends in .png (.tif, where results are); else a folder. RUN/outputs/DIRECTION when not given.
        overwrite: Replace results of an earlier call.
        size: Size that pictures are brought to first: the shorter side, or height and width; their own when not given.
        tile: Side of the largest piece that goes through the networks at once, where pieces are possible.
        overlap: Pixels that neighbouring pieces share.
        megapixels: Largest image that is read; 1000, or 64 for systems that take an image in one piece, when not given.
        per_second: Frames of a film in a second; a video keeps its own rate when not given.
        quiet: Show no progress.
        own: Options of the system's own `translate`: temperature ...

    Raises:
        UserError: The system cannot do this, or has no such option, or no file can be used.
    """
    system = open_system(source)
    require_direction(system, direction)
    own = options(system, "translate", own, verb=direction)
    path = Path(out).expanduser() if out else folder_for(source) / direction
    return translate_files(
        system,
        images,
        direction,
        out=path,
        overwrite=overwrite,
        size=size,
        tile=tile,
        overlap=overlap,
        megapixels=megapixels,
        per_second=per_second,
        quiet=quiet,
        **own,
    )


def require_direction(system: System, direction: str) -> None:
    """Check that a system enlarges or colours.

    Raises:
        UserError: Says what it can do.
    """
    if isinstance(system, Restores) and isinstance(system, Translates) and direction in system.directions:
        return
    words = {"upscale": "enlarge images", "colorize": "colour images"}
    able = [WORDS[c] for c in capabilities(system) if c in WORDS]
    able += [f"{words[d]}" for d in getattr(system, "directions", ()) if d in words]
    raise UserError(
        f"{direction}: {name_of(system)} cannot {words[direction]}; it can {', '.join(able) or 'only train'}"
    )
