"""Where results go: a folder of the run, under a name that is never taken from a file that is already there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.kinds import Kind
from genzoo.use.common.source import Source, run_path


def folder_for(source: Source) -> Path:
    """Return the folder of results of a run: RUN/outputs; the working folder for a system in memory."""
    path = run_path(source)
    return path / "outputs" if path else Path()


def free(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return `path`, or with `overwrite=False` the first of NAME, NAME-2, NAME-3 ... that does not exist yet."""
    path = Path(path).expanduser()
    if overwrite or not path.exists():
        return path
    k = 2
    while (other := path.with_name(f"{path.stem}-{k}{path.suffix}")).exists():
        k += 1
    return other


def target(source: Source, out: str | Path | None, name: str, *, suffixes: tuple[str, ...], overwrite: bool) -> Path:
    """Choose the file that a verb writes: `out`, or `name` in the run's folder of results.

    Raises:
        UserError: `out` ends in a suffix that cannot be written.
    """
    path = Path(out).expanduser() if out else folder_for(source) / name
    if path.is_dir():
        path = path / name
    if path.suffix.lower() not in suffixes:
        raise UserError(f"out={path} cannot be written; give a name that ends in {' or '.join(suffixes)}, or a folder")
    writable(path)
    return free(path, overwrite=overwrite)


def targets(source: Source, out: str | Path | None, name: str, *, kind: Kind, overwrite: bool) -> list[Path]:
    """Choose the files that samples of a kind are written as: the one that is asked for, or the usual ones of the kind.

    Args:
        source: A run, its path, or a system.
        out: The file, or a folder; in the run's folder of results when not given.
        name: What the files are called, without an ending.
        kind: What is written.
        overwrite: Replace files that are there.

    Raises:
        UserError: `out` ends in a suffix that this kind cannot be written as.
    """
    names = [out] if out else [folder_for(source) / f"{name}{ending}" for ending in kind.files]
    return [target(source, n, f"{name}{kind.files[0]}", suffixes=kind.suffixes, overwrite=overwrite) for n in names]


def writable(path: Path) -> None:
    """Look before the work, not after it, whether a file can be written at `path`.

    Raises:
        UserError: A part of the path is a file, or a folder that cannot be written to.
    """
    there = next(p for p in (path.parent, *path.parent.parents) if p.exists())
    if not there.is_dir():
        raise UserError(f"out={path} cannot be written: {there} is a file")
    if not os.access(there, os.W_OK):
        raise UserError(f"{path} cannot be written: there is no permission for {there}; give out= in another folder")


def save_json(path: Path, values: dict[str, Any]) -> Path:
    """Write values as readable JSON."""
    return write_atomic(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
