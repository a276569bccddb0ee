"""Print the versions of genzoo and of what it stands on."""

from __future__ import annotations

import sys

from genzoo.cli.table import Command

COMMAND = Command("versions of genzoo and of what it stands on", place=90, light=True)


def version(json: bool = False) -> None:
    """Print the versions of genzoo and of what it stands on.

    Args:
        json: Print JSON.
    """
    from genzoo import __version__
    from genzoo.naming.installed import versions_of

    stands_on = versions_of(("torch", "numpy", "pillow", "safetensors", "pydantic", "rich"))
    found = {"genzoo": __version__, **{package: version or "missing" for package, version in stands_on.items()}}
    found["python"] = sys.version.split()[0]
    if json:
        import json as jsonlib

        print(jsonlib.dumps(found, indent=2))
        return
    print("\n".join(f"{k} {v}" for k, v in found.items()))
