"""What can be done with a run, said when its training is over."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

from genzoo.cli.table import offered
from genzoo.core.capabilities import CAPABILITIES, capabilities
from genzoo.core.schema import capability_of, settings
from genzoo.naming import registry
from genzoo.naming.own import key_for
from genzoo.use.common.source import open_system


def tell_next_steps(path: Path) -> None:
    """Print the commands that a trained run allows; on the first rank only."""
    if int(os.environ.get("RANK", 0)):
        return
    system = open_system(path)
    able, there = capabilities(system), quote(str(path))
    given = f" {key_for(said)}" if (said := registry.given_as(type(system))) else ""
    found = offered(able, getattr(system, "directions", ()))
    more = f", or {', '.join([*(c.name for c in found[1:]), 'evaluate'])}" if found else ""
    print(f"{path}: try '{found[0].call(there) if found else f'genzoo evaluate {there}'}{given}'{more}")
    for name, key in _built_on("tokenizes") if "tokenizes" in able and "samples" not in able else ():
        print(f"it draws nothing new itself; 'genzoo train {name} {key}={there} data=...{given}' does, from its codes")


def _built_on(ability: str) -> list[tuple[str, str]]:
    """List systems that are built on one with an ability, and their argument for it."""
    found = []
    for entry in registry.entries().values():
        if entry.inner:
            wanted = capability_of(settings(registry.system_class(entry.name))[entry.inner].annotation)
            found += [(entry.name, entry.inner)] if wanted is CAPABILITIES[ability] else []
    return found
