"""Files that installed packages name by entry points: what they declare is read without importing them."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def file_of(module: str) -> Path | None:
    """Find the file of an installed module without importing anything; None where there is none.

    Args:
        module: Its import path, such as package.measures.mine.
    """
    import importlib.util
    from pathlib import Path

    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a module within a package, this would import the package
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    stems = [Path(folder, *rest) for folder in spec.submodule_search_locations or () if rest]
    places = (
        [p for s in stems for p in (s.with_suffix(".py"), s / "__init__.py")] if rest else [Path(spec.origin or "")]
    )
    return next((p for p in places if p.is_file()), None)


def installed_files(group: str) -> dict[str, tuple[Path, str]]:
    """Return the entry points of a group: name -> file and import path of the module.

    Args:
        group: The group, such as genzoo.commands.
    """
    if not _named(group):
        return {}
    from importlib.metadata import entry_points

    found = ((point, file_of(point.value)) for point in entry_points(group=group))
    return {point.name: (file, point.value) for point, file in found if file}


def _named(group: str) -> bool:
    """Say whether any installed package may name a group.

    Importing `importlib.metadata` only to hear that none does would take longer than all of `genzoo --help`. What only that can read, such as an
    archive on the path, it is asked for.
    """
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return True
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:
            return True
        except OSError:
            continue
        for name in names:
            if name.endswith(".egg"):
                return True
            if name.endswith((".dist-info", ".egg-info")):
                told = os.path.join(folder, name, "entry_points.txt")
                with contextlib.suppress(OSError):
                    # Most have none, and to be told so by an error takes longer than to ask.
                    if os.access(told, os.R_OK) and group.encode() in _content(told):
                        return True
    return False


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
