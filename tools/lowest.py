"""Print pyproject.toml's lower bounds as constraints, one package a line: what `make lowest` installs.

python -m tools.lowest > lowest.txt && pip install -c lowest.txt '.[dev]'
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(project: dict) -> list[str]:
    """Return "name==version" for every dependency with a lower bound, those of the extras too; refuses two bounds for one package.

    Args:
        project: The table `[project]` of pyproject.toml.

    Raises:
        ValueError: Two lists bound one package differently, so that one of the bounds would go untested.
    """
    listed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    bounds: dict[str, str] = {}
    for found in (re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", line) for line in listed):
        if found and bounds.setdefault(found[1], found[2]) != found[2]:
            raise ValueError(f"{found[1]} has the lower bounds {bounds[found[1]]} and {found[2]}: give it one")
    return [f"{name}=={version}" for name, version in bounds.items()]


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])))
