"""Show one system: its idea, its settings with their bounds, and what it can do."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from typing import Any

from genzoo.cli.table import Command, offered
from genzoo.cli.text import columns, paragraph, settings_table, word
from genzoo.naming import registry

COMMAND = Command("one system: idea, paper, settings with bounds, presets, what it can do", "NAME", place=11)


def show(name: str, json: bool = False) -> None:
    """Show one system.

    Args:
        name: System or preset.
        json: Print JSON.
    """
    from genzoo.cli.settings import json_schema, table
    from genzoo.core.capabilities import capabilities
    from genzoo.core.schema import capability_of, settings
    from genzoo.data.kinds import example_of
    from genzoo.training.settings import FALLBACKS, TrainSettings
    from genzoo.use.common.source import own_options

    entry, preset = registry.find(name)
    cls = registry.system_class(name)
    able = capabilities(cls)
    values = cls.presets[preset] if preset else {}
    starts = {**FALLBACKS, **cls.defaults, **cls.preset_defaults.get(preset or "", {})}
    if json:
        page = {**asdict(entry), "preset": preset, "overrides": values, "capabilities": able}
        page |= {"presets": cls.presets, "settings": json_schema(cls)["properties"]}
        page |= {"training": json_schema(TrainSettings)["properties"], "training_defaults": starts}
        print(jsonlib.dumps(page, indent=2, default=str))
        return
    title = f"{preset} (a preset of {entry.name})" if preset else entry.name
    print(f"{title}, family {entry.family}" + (f", {entry.paper}" if entry.paper else ""))
    print(paragraph(entry.idea) + "\n")
    for part in (cls.__doc__ or "").split("Args:")[0].split("\n\n"):
        if part.strip():
            print(paragraph(part) + "\n")
    print(f"Trains on: {entry.data} data")
    if likelihood := getattr(cls, "likelihood", None):
        print(f"Likelihood: {likelihood}")
    print("\nSettings:\n" + settings_table(table(cls), values))
    if cls.presets:
        rows = [(p, " ".join(f"{k}={word(v)}" for k, v in o.items())) for p, o in cls.presets.items()]
        print("\nPresets (names to train by):\n" + columns(rows))
    changed = [(n, word(starts[n]) if starts.get(n) is not None else d, a, t) for n, d, a, t in table(TrainSettings)]
    print("\nTraining:\n" + settings_table(changed) + "\n  and the keys of the data: 'genzoo help data' lists them.")
    uses = []
    for c in offered(able, entry.directions):
        more = own_options(cls, c.own) if c.own else []
        uses.append((c.call("RUN"), c.line + (f"; its own options: {', '.join(more)}" if more else "")))
    # what a system cannot be built without stands in its tiny arguments as well
    inner = "".join(f" {k}=RUN" for k, s in settings(cls).items() if capability_of(s.annotation) and k in cls.tiny)
    print(f"\nTry:\n  genzoo train {name} data={example_of(entry.data)}{inner}")
    if uses:
        print("then:\n" + columns(uses))
    options = [r for c in offered(able, entry.directions) if c.own for r in _own_rows(cls, c, settings)]
    if options:
        print("\nOwn options of these commands:\n" + settings_table(options))


def _own_rows(cls: type, command: Command, settings: Any) -> list[tuple[str, str, str, str]]:
    from genzoo.use.common.source import own_options

    known = settings(getattr(cls, command.own))
    return [
        (
            f"{command.name} {n}",
            "required" if known[n].required else word(known[n].default),
            known[n].allowed,
            known[n].doc,
        )
        for n in own_options(cls, command.own)
    ]
