"""List the systems, family by family."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict

from genzoo.cli.table import Command
from genzoo.cli.text import columns
from genzoo.core.errors import UserError, nearest
from genzoo.naming import registry

COMMAND = Command("the systems, family by family", "[FAMILY]", place=10, light=True)


def list_(family: str = "", json: bool = False) -> None:
    """List the systems, family by family.

    Args:
        family: Only this one.
        json: Print JSON.
    """
    entries = registry.listed()
    families = list(dict.fromkeys(e.family for e in entries))
    if family and family not in families:
        raise UserError(
            f"there is no family '{family}'{nearest(family, families) or '.'} There are {', '.join(families)}."
        )
    shown = [e for e in entries if family in ("", e.family)]
    if json:
        print(jsonlib.dumps([asdict(e) for e in shown], indent=2))
        return
    indent = max((len(e.name) for e in shown), default=0)
    for f in dict.fromkeys(e.family for e in shown):
        rows = []
        for e in (e for e in shown if e.family == f):
            rows.append((e.name.ljust(indent), e.idea))
            if e.presets:
                rows.append(("", "presets: " + ", ".join(e.presets)))
        print(f"{f}\n{columns(rows)}\n")
    for taken in registry.shadowed():
        print(f"note: {taken}")
    count = sum(len(e.presets) for e in entries)
    print(
        f"{len(entries)} systems, {count} presets. 'genzoo show NAME' explains one, 'genzoo train NAME data=...' trains it."
    )
