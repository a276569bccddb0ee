"""Print the versions of genzoo and of what it stands on."""

from __future__ import annotations

import json as jsonlib

from genzoo.cli.table import Command

COMMAND = Command("versions of genzoo and of what it stands on", place=90, light=True)


def version(json: bool = False) -> None:
    """Print the versions of genzoo and of what it stands on.

    Args:
        json: Print JSON.
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    from genzoo import __version__

    found = {"genzoo": __version__}
    for package in ("torch", "numpy", "pillow", "safetensors", "pydantic", "rich"):
        try:
            found[package] = of(package)
        except PackageNotFoundError:
            found[package] = "missing"
    found["python"] = platform.python_version()
    print(jsonlib.dumps(found, indent=2) if json else "\n".join(f"{k} {v}" for k, v in found.items()))
