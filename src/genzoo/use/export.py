"""Put a trained system into a plain folder that needs nothing of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.core.system import System
from genzoo.naming.registry import entry_of, given_as
from genzoo.saved import checkpoint
from genzoo.saved.loading import describe, in_words
from genzoo.use.common.source import WORDS, Source, name_of, open_system


def export(source: Source, to: str | Path, *, overwrite: bool = False) -> Path:
    """Write model.safetensors (weights, settings and a digest over both), config.json and README.md; `genzoo.load` reads the folder.

    Args:
        source: A run, its path, or a system.
        to: A new or empty folder.
        overwrite: Replace these three files in a folder that has others.

    Returns:
        The folder.

    Raises:
        UserError: `to` is a file, or a folder that is not empty.
    """
    folder = Path(to).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"to={folder} is a file; give a folder")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"to={folder} is not empty; give another folder, or overwrite=true")
    system = open_system(source)
    meta = description(system)
    folder.mkdir(parents=True, exist_ok=True)
    digest = checkpoint.write(folder / "model.safetensors", system.state_dict(), meta)
    write_atomic(folder / "config.json", (json.dumps(meta, indent=2) + "\n").encode())
    write_atomic(folder / "README.md", _card(system, meta, digest, folder).encode())
    return folder


def description(system: System) -> dict[str, Any]:
    """Describe a model for its file: what `genzoo.load` needs, and what is known of its training."""
    from importlib.metadata import version

    made = {**describe(system), "name": name_of(system), "version": version("genzoo")}
    made.pop("origin", None)
    return {**made, **getattr(system, "trained", {})}


def _card(system: System, meta: dict[str, Any], digest: str, folder: Path) -> str:
    entry, said = entry_of(type(system)), given_as(type(system))
    given = f', system="{said["file"]}"' if "file" in said else f", system={said['class']}" if said else ""
    able = ", ".join(WORDS[c] for c in capabilities(system) if c in WORDS)
    rows = "\n".join(f"| {k} | {in_words(v)} |" for k, v in meta["hparams"].items())
    data = meta.get("data", {}).get("data")
    verbs = ["sample"] if "samples" in capabilities(system) else []
    use = "".join(f"genzoo.{v}(system, n=16, seed=0)  # [16, ...] in [-1, 1]\n" for v in verbs)
    return f"""---
library_name: genzoo
tags: [genzoo, {meta["name"]}]
---
# {meta["name"]}

{entry.idea}{f" Paper: {entry.paper}." if entry.paper else ""} It can {able or "only train"}.
{f"Trained on {data} with genzoo {meta['version']}." if data else f"Made with genzoo {meta['version']}."}

```python
import genzoo

system = genzoo.load("{folder.name}"{given})
{use}```

| setting | value |
|---|---|
{rows}

`model.safetensors` holds weights and settings, digest (BLAKE2b) {digest}; `config.json` repeats the settings.
"""
