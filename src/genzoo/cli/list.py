"""List the systems, family by family."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict

from genzoo.cli.table import Command, commands, offered
from genzoo.cli.text import columns
from genzoo.naming import registry

COMMAND = Command("the systems, family by family", "[FAMILY_OR_NAMES task=translate]", place=10, light=True)


def list_(family: str = "", task: str = "", json: bool = False) -> None:
    """List the systems, family by family.

    Args:
        family: Only this one, or the systems whose name (or a preset's) fits a pattern: "style*".
        task: Only what a command can be used on, such as translate, or what can do something: likelihoods are density.
        json: Print JSON.
    """
    verb = commands().get(task)
    if verb and (verb.needs or verb.direction):
        shown = [e for e in registry.select(family) if verb in offered(e.abilities, e.directions)]
    else:
        shown = registry.select(family, task)
    if json:
        print(jsonlib.dumps([asdict(e) for e in shown], indent=2))
        return
    if not shown:
        print(f"none of {family or 'the systems'} is for {task}; 'genzoo list task={task}' shows what is")
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
    count = sum(len(e.presets) for e in shown)
    print(
        f"{len(shown)} systems, {count} presets. 'genzoo show NAME' explains one, 'genzoo train NAME data=...' trains it."
    )
