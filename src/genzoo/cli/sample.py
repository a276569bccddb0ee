"""Draw new data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.table import Command
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.images import save_png, to_uint8
from genzoo.data.drawing.sounds import save_wav
from genzoo.data.kinds import picture
from genzoo.use.common.outputs import folder_for, free, save, target
from genzoo.use.common.source import open_system
from genzoo.use.sample import Count, Seed, columns_of, sheet

COMMAND = Command(
    "draw new data",
    "RUN [n=64 seed=0 out=grid.png label=3 prompt='a red heart']",
    place=40,
    needs=("samples",),
    own="sample",
    waits=True,
)
SOUNDS = (".wav", ".png", ".npy")
MOVING = (".gif", ".png", ".mp4", ".npz", ".npy")
FEW = 16
"""Clips or shapes where no number is given."""


def sample(
    run: str,
    n: Count | None = None,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Draw new data.

    Args:
        run: A run or an exported folder.
        n: How many; when not given 64 (clips and shapes: 16), or of a system that takes a label and is given none, 8 of each class, a row each.
            With prompt="a red heart; a blue square" how many of each; 8 when not given.
        seed: Which; the same seed gives the same samples.
        out: File: .png for a picture, .wav for sounds, .gif or .mp4 for clips and turns around shapes, .npy (or .npz) for the values in
            [-1, 1]; with a / at its end a folder, one file each; RUN/outputs/sample.png (and sample.wav or .gif) when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own sampling.
    """
    system = open_system(run)
    if system.data == "audio":
        _sample_sounds(system, run, n, seed, out, overwrite, own or {})
        return
    if system.data in ("video", "voxels"):
        _sample_moving(system, run, n, seed, out, overwrite, own or {})
        return
    one_each = out.endswith(("/", os.sep))
    path = (
        free(out)
        if one_each and not overwrite
        else Path(out)
        if one_each
        else target(run, out, "sample.png", suffixes=(*PICTURES, ".npz"), overwrite=overwrite)
    )
    drawn = genzoo.sample(system, n=n, seed=seed, **(own or {}))
    if one_each:
        for i, x in enumerate(drawn):
            save_png(path / f"{i:0{len(str(len(drawn) - 1))}d}.png", picture(x[None]) if x.ndim == 1 else _pixels(x))
        wrote(path, asked=out)
    else:
        told = sheet(system, drawn, (own or {}).get("prompt")) if path.suffix.lower() == ".png" else None
        laid = columns_of(system, n, own or {})
        wrote(save(path, drawn, columns=laid) if told is None else save_png(path, told), asked=out)


def _sample_sounds(
    system: System, run: str, n: int | None, seed: int, out: str, overwrite: bool, own: dict[str, Any]
) -> None:
    """Write WAV and a picture of spectrograms, or with a folder a WAV each."""
    rate = system.hparams["rate"]
    if out.endswith(("/", os.sep)):
        folder = Path(out) if overwrite else free(out)
        drawn = genzoo.sample(system, n=n, seed=seed, **own)
        for i, x in enumerate(drawn):
            save_wav(folder / f"{i:0{len(str(len(drawn) - 1))}d}.wav", x, rate)
        wrote(folder, asked=out)
        return
    paths = sound_files(run, out, "sample", overwrite)
    drawn = genzoo.sample(system, n=n, seed=seed, **own)
    for path in paths:
        wrote(save(path, drawn, rate=rate), asked=out)


def sound_files(run: str, out: str, name: str, overwrite: bool) -> list[Path]:
    """The file that is asked for, or a WAV and a picture."""
    names = [out] if out else [str(folder_for(run) / f"{name}{suffix}") for suffix in SOUNDS[:2]]
    return [target(run, each, f"{name}.wav", suffixes=SOUNDS, overwrite=overwrite) for each in names]


def _sample_moving(
    system: System, run: str, n: int | None, seed: int, out: str, overwrite: bool, own: dict[str, Any]
) -> None:
    """Draw clips or shapes and write the file that is asked for, a GIF and a picture, or with a folder a GIF each."""
    if out.endswith(("/", os.sep)):
        folder = Path(out) if overwrite else free(out)
        drawn = genzoo.sample(system, n=n or FEW, seed=seed, **own)
        for i, one in enumerate(drawn):
            path = folder / f"{i:0{len(str(len(drawn) - 1))}d}.gif"
            save(path, one[None], frames=frames_of(one[None], system.data))
        wrote(folder, asked=out)
        return
    paths = moving_files(run, out, "sample", overwrite)
    write_moving(paths, genzoo.sample(system, n=n or FEW, seed=seed, **own), system.data, out)


def moving_files(run: str, out: str, name: str, overwrite: bool) -> list[Path]:
    """Choose the file that is asked for, or a GIF and a picture."""
    names = [out] if out else [str(folder_for(run) / f"{name}{suffix}") for suffix in MOVING[:2]]
    return [target(run, each, f"{name}.gif", suffixes=MOVING, overwrite=overwrite) for each in names]


def write_moving(paths: list[Path], samples: Tensor, kind: str, asked: str) -> None:
    """Write clips or shapes to every path, as its suffix says."""
    moving = any(p.suffix.lower() in (".gif", ".mp4") for p in paths)
    frames = frames_of(samples, kind) if moving else None
    for path in paths:
        wrote(save(path, samples, frames=frames, kind=kind), asked=asked)


def frames_of(samples: Tensor, kind: str) -> list[Any]:
    """The frames of the animation of clips, or of a turn around voxels."""
    return kinds.get(kind).frames(samples) or []


def _pixels(x: Tensor) -> Any:
    array = to_uint8(x).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array
