"""Where results go: a folder of the run, under a name that is never taken from a file that is already there."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.drawing.clips import PER_SECOND, save_mp4
from genzoo.data.drawing.images import save_gif, save_png
from genzoo.data.drawing.sounds import save_wav
from genzoo.data.kinds import picture
from genzoo.use.common.source import Source, run_path


def folder_for(source: Source) -> Path:
    """The folder of results of a run: RUN/outputs; the working folder for a system in memory."""
    path = run_path(source)
    return path / "outputs" if path else Path()


def free(path: str | Path, *, overwrite: bool = False) -> Path:
    """`path`, or with `overwrite=False` the first of NAME, NAME-2, NAME-3 ... that does not exist yet."""
    path = Path(path).expanduser()
    if overwrite or not path.exists():
        return path
    k = 2
    while (other := path.with_name(f"{path.stem}-{k}{path.suffix}")).exists():
        k += 1
    return other


def target(source: Source, out: str | Path | None, name: str, *, suffixes: tuple[str, ...], overwrite: bool) -> Path:
    """The file that a verb writes: `out`, or `name` in the run's folder of results.

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


def save(
    path: Path,
    samples: Tensor,
    *,
    columns: int | None = None,
    frames: Any = None,
    rate: int | None = None,
    kind: str = "image",
) -> Path:
    """Write samples as the suffix says: .png a picture, .gif or .mp4 an animation of `frames`, .wav sounds, .npy or .npz the float values."""
    if path.suffix.lower() == ".wav":
        assert rate, "a sound has a rate"
        return save_wav(path, samples, rate)
    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, samples.cpu().numpy())
        return write_atomic(path, buffer.getvalue())
    if path.suffix.lower() == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, samples=samples.cpu().numpy())
        return write_atomic(path, buffer.getvalue())
    if path.suffix.lower() == ".mp4":
        return save_mp4(path, frames)
    if path.suffix.lower() == ".gif":
        return save_gif(path, frames, **({"milliseconds": 1000 // PER_SECOND, "rest": 1} if samples.ndim == 5 else {}))
    return save_png(path, picture(samples, columns=columns, kind=kind))


def save_json(path: Path, values: dict[str, Any]) -> Path:
    """Write values as readable JSON."""
    return write_atomic(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
