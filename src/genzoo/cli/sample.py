"""Draw new data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.table import Command
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.drawing import STILLS
from genzoo.data.drawing.images import save_picture
from genzoo.use.common.outputs import free, targets
from genzoo.use.common.source import CHUNK, open_system
from genzoo.use.sample import Batch, Count, Seed, columns_of, seeds_of, sheet

COMMAND = Command(
    "draw new data",
    "RUN [n=64 seed=0 seeds=0,4-6 out=grid.png label=3 prompt='a red heart']",
    place=40,
    needs=("samples",),
    own="sample",
    waits=True,
)


def sample(
    run: str,
    n: Count | None = None,
    seed: Seed = 0,
    seeds: str = "",
    batch: Batch = CHUNK,
    out: str = "",
    ending: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Draw new data.

    Args:
        run: A run or an exported folder.
        n: How many; when not given 64 (clips and shapes: 16), or of a system that takes a label and is given none, 8 of each class, a row each.
            With prompt="a red heart; a blue square" how many of each; 8 when not given.
        seed: Which; the same seed gives the same samples, and more of them go on from fewer.
        seeds: One sample of each of these seeds, such as 0,1,4-6, in place of n of one.
        batch: How many are computed at once; fewer need less memory.
        out: File: .png, .jpg or .webp for a picture, .wav for sounds, .gif or .mp4 for clips and turns around shapes, .npy (or .npz) for the
            values in [-1, 1], .glb, .stl or .binvox for the faces or cells of shapes; with a / at its end a folder, one file each (of seeds
            seed0004.png ...); RUN/outputs/sample.png (and sample.wav or .gif) when not given.
        ending: Of the files of a folder, such as .npy; .png, for sounds .wav, for clips and shapes .gif when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own sampling.
    """
    system = open_system(run)
    kind, given = kinds.of(system), own or {}
    n = n or (None if seeds else kind.usual)
    how: dict[str, Any] = {"n": n, "seed": seed, "seeds": seeds or None, "batch": batch}
    whole = out.endswith(("/", os.sep))
    each = f".{ending.lower().lstrip('.')}" if ending else kind.single
    if ending and not whole:
        raise UserError(f"sample: ending={ending} is for a folder of files: give out=FOLDER/")
    if each not in kind.suffixes:
        raise UserError(f"sample: ending={ending} cannot be written; give one of {', '.join(kind.suffixes)}")
    if whole:
        folder = Path(out) if overwrite else free(out)
        drawn = genzoo.sample(system, **how, **given)
        names = [f"seed{s:04d}" for s in (seeds_of(seeds) if seeds else ())]
        if len(names) != len(drawn):  # numbered, also where there are several prompts
            names = [f"{i:0{len(str(len(drawn) - 1))}d}" for i in range(len(drawn))]
        for name, one in zip(names, drawn, strict=True):
            kind.write_one(folder / f"{name}{each}", one, system.hparams)
        wrote(folder, asked=out)
        return
    paths = targets(run, out, "sample", kind=kind, overwrite=overwrite)
    drawn = genzoo.sample(system, **how, **given)
    told, laid = sheet(system, drawn, given.get("prompt")), None if seeds else columns_of(system, n, given)
    for path in paths:
        if told is not None and path.suffix.lower() in STILLS:
            wrote(save_picture(path, told), asked=out)
        else:
            wrote(kind.write(path, drawn, system.hparams, columns=laid), asked=out)
