"""Files that installed packages name by entry points: what they declare is read without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def installed_files(group: str) -> dict[str, tuple[Path, str]]:
    """Return the entry points of a group: name -> file and import path of the module.

    Args:
        group: The group, such as genzoo.commands.
    """
    from importlib.metadata import entry_points

    found = {}
    for point in entry_points(group=group):
        package, *rest = point.value.split(".")
        spec = importlib.util.find_spec(package)  # of a package within another, this would import the outer one
        places = spec.submodule_search_locations or [] if spec else []
        files = [p for place in places if (p := Path(place, *rest).with_suffix(".py")).is_file()]
        files += [Path(spec.origin)] if spec and spec.origin and not rest else []
        if files:
            found[point.name] = (files[0], point.value)
    return found
