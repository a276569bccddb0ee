"""Commands for clips and shapes: sampling into animations and renderings, and animating a still image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genzoo
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.use.common.images import channels_of, image_files, read_image
from genzoo.use.common.outputs import folder_for, free, save, target
from genzoo.use.common.source import open_system, require

SUFFIXES = (".gif", ".png", ".mp4", ".npz", ".npy")
USUAL = 16
"""Clips or shapes where no number is given."""


def frames_of(samples: Tensor, kind: str) -> list[Any]:
    """The frames of the animation of clips, or of a turn around voxels."""
    return kinds.get(kind).frames(samples) or []


def sample_moving(
    system: System, run: str, n: int | None, seed: int, out: str, overwrite: bool, own: dict[str, Any]
) -> None:
    """Draw clips or shapes and write the file that is asked for, a GIF and a picture, or with a folder a GIF each."""
    if out.endswith(("/", os.sep)):
        folder = Path(out) if overwrite else free(out)
        drawn = genzoo.sample(system, n=n or USUAL, seed=seed, **own)
        for i, one in enumerate(drawn):
            path = folder / f"{i:0{len(str(len(drawn) - 1))}d}.gif"
            save(path, one[None], frames=frames_of(one[None], system.data))
        _wrote(folder, out)
        return
    paths = _paths(run, out, "sample", overwrite)
    write(paths, genzoo.sample(system, n=n or USUAL, seed=seed, **own), system.data, out)


def animate(run: str, image: str, out: str = "", overwrite: bool = False) -> None:
    """Go on from still images: clips that begin with them.

    Args:
        run: A run or an exported folder.
        image: An image, a folder of images, or several files separated by commas; scaled and cut to the size of the clips.
        out: File: .gif, .mp4, .png for strips of frames, .npz or .npy for values; RUN/outputs/animate.gif and animate.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, "animates", verb="animate")
    whole = Path(image).expanduser().exists()  # a name may have a comma
    files = [file for part in ([image] if whole else image.split(",")) for file, _ in image_files(part.strip())]
    size = tuple(system.hparams["shape"][2:])
    first = torch.stack([read_image(f, channels_of(system), size=size) for f in files])  # type: ignore[arg-type]
    paths = _paths(run, out, "animate", overwrite)
    write(paths, genzoo.animate(system, first), system.data, out)


def _paths(run: str, out: str, name: str, overwrite: bool) -> list[Path]:
    names = [out] if out else [str(folder_for(run) / f"{name}{suffix}") for suffix in SUFFIXES[:2]]
    return [target(run, each, f"{name}.gif", suffixes=SUFFIXES, overwrite=overwrite) for each in names]


def write(paths: list[Path], samples: Tensor, kind: str, asked: str) -> None:
    """Write clips or shapes to every path, as its suffix says."""
    moving = any(p.suffix.lower() in (".gif", ".mp4") for p in paths)
    frames = frames_of(samples, kind) if moving else None
    for path in paths:
        _wrote(save(path, samples, frames=frames, kind=kind), asked)


def _wrote(path: Path, asked: str) -> None:
    from genzoo.cli.verbs import _wrote as say

    say(path, asked=asked)
