"""Files that installed packages name by entry points: what they declare is read without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def file_of(module: str) -> Path | None:
    """Find the file of an installed module without importing anything; None where there is none.

    Args:
        module: Its import path, such as package.measures.mine.
    """
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
    from importlib.metadata import entry_points

    found = ((point, file_of(point.value)) for point in entry_points(group=group))
    return {point.name: (file, point.value) for point, file in found if file}
