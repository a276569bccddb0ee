"""Put a trained system into a plain folder that needs nothing of the run, or into a file for other programs."""

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
from genzoo.use.common.outputs import writable
from genzoo.use.common.source import WORDS, Source, name_of, open_exact
from genzoo.use.exports.parts import part_of
from genzoo.use.exports.web import write_web
from genzoo.use.exports.write import ENDINGS, Format, Written, check, format_of, write_part, write_parts


def export(
    source: Source,
    to: str | Path,
    *,
    part: str | None = None,
    format: Format | None = None,
    overwrite: bool = False,
    runtime: str | Path | None = None,
) -> Path:
    """Write a system into a folder that needs nothing of the run, or into a file that needs nothing of genzoo.

    A folder has model.safetensors (weights, settings and a digest over both), config.json and README.md; `genzoo.load` reads it. A name
    that ends in .onnx or .pt2 is a file with one part of the system: see `export_files`.

    Args:
        source: A run, its path, or a system.
        to: A new or empty folder; or a file that ends in .onnx or .pt2.
        part: Which part of the system the file holds: decode, encode ...; the one that is mostly wanted when not given.
        format: folder, onnx or pt2; by the ending when not given. Of onnx and pt2 a folder gets a file for every part. web is a folder with a
            page that runs a part in the browser.
        overwrite: Replace files that are there, in a folder that has others.
        runtime: For a page, the package onnxruntime-web (.tgz or folder); fetched by npm when not given.

    Returns:
        The folder or the file.

    Raises:
        UserError: As in `export_files`; or `to` is a file, or a folder that is not empty.
    """
    place = Path(to).expanduser()
    if format_of(place, format) != "folder":
        export_files(source, to, part=part, format=format, overwrite=overwrite, runtime=runtime)
        return place
    if part:
        raise UserError(f"part={part} is of a file: give to= a name that ends in {' or '.join(ENDINGS)}")
    return _folder(open_exact(source, verb="export"), _empty(place, overwrite))


def export_files(
    source: Source,
    to: str | Path,
    *,
    part: str | None = None,
    format: Format | None = None,
    overwrite: bool = False,
    runtime: str | Path | None = None,
) -> list[Written]:
    """Write parts of a system as files for other programs, each after it was seen to give what the system gives.

    Args:
        source: A run, its path, or a system.
        to: A file that ends in .onnx or .pt2; or a folder, with `format`, which gets a file for every part.
        part: Which part; of a folder all.
        format: onnx, pt2 or web; by the ending when not given.
        overwrite: Replace files that are there.
        runtime: For a page, the package onnxruntime-web (.tgz or folder); fetched by npm when not given.

    Returns:
        What was written, with how far each file is from the system.

    Raises:
        UserError: An ending that is not written, a part that the system lacks (the message lists those it has), a file that is there
            already, a package that is missing, or a file that differs by more than `genzoo.use.exports.graph.TOLERANCE`: nothing is written then.
    """
    place = Path(to).expanduser()
    form = format_of(place, format)
    if form == "folder":
        raise UserError(
            f"to={place}: give a name that ends in {' or '.join(ENDINGS)}, or format=onnx, pt2 or web for a folder of files"
        )
    whole = place.suffix.lower() not in ENDINGS
    check(form)
    if not whole and place.is_dir():
        raise UserError(f"to={place} is a folder; give another name")
    if not whole and place.exists() and not overwrite:
        raise UserError(f"to={place} is there already; give another name, or overwrite=true")
    if whole:
        _empty(place, overwrite)
    writable(place)
    system = open_exact(source, verb="export")
    about = description(system)
    if form == "web":
        return write_web(system, place, part, about, runtime)
    if not whole:
        return write_part(system, place, form, part, about)
    if part:
        wanted = part_of(system, part).name
        return write_part(system, place / f"{wanted}.{form}", form, wanted, about)
    return write_parts(system, place, form, about)


def _empty(folder: Path, overwrite: bool) -> Path:
    """Refuse a folder that is a file, or that has files which are not to be replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"to={folder} is a file; give a folder")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"to={folder} is not empty; give another folder, or overwrite=true")
    return folder


def _folder(system: System, folder: Path) -> Path:
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
