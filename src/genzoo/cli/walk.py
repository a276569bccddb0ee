"""Walk through latent space."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.inputs import first_of, images_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes, Encodes
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.drawing import FILMS
from genzoo.data.drawing.clips import Fps
from genzoo.data.drawing.files import save_film
from genzoo.use.common.arrays import read_latents
from genzoo.use.common.outputs import folder_for, target
from genzoo.use.common.source import open_system, require
from genzoo.use.decode import MOST
from genzoo.use.sample import Seed
from genzoo.use.walk import Rows, Steps, frames, joined, per_second

COMMAND = Command(
    "walk through latent space: a picture and a GIF",
    "RUN [images=A.png,B.png prompts='a cat; a dog' at='s0; s3+2d1' rows=8 steps=10 seed=0 out=walk.mp4]",
    place=41,
    needs=("decodes",),
    own="sample_prior",
    waits=True,
)


def walk(
    run: str,
    rows: Rows = 8,
    steps: Steps = 10,
    seed: Seed = 0,
    path: Literal["spherical", "linear"] | None = None,
    images: str = "",
    data: str = "",
    prompts: str = "",
    at: str = "",
    latents: str = "",
    fps: Fps | None = None,
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Walk through latent space.

    Args:
        run: A run or an exported folder.
        rows: Walks; each is a row of the picture.
        steps: Pictures in a walk, both ends included.
        seed: Which ends are drawn.
        path: spherical follows the arc between two latents, linear the straight line; what suits the system when not given. Classes, codes
            and sentences always go straight.
        images: Images to walk between in place of draws: files separated by commas, or a folder, in the order of names.
        data: Walk between the first test images of a data set in place of draws: a name, a folder, an archive.
        prompts: Sentences to walk between, with semicolons between them; a row has the same noise at all its ends.
        at: Places of latent space to walk between, such as 's0; s3+2d1; i1', where i1 is the first of images=: see genzoo decode. A row from each to
            the next, and a film that goes through all of them.
        latents: File of what z1, z2 ... of at= are, as genzoo project writes it (.npz).
        fps: Pictures in a second of the film, with many steps= for a smooth one; about 7 when not given.
        out: File: .png, .jpg or .webp for the rows, .gif or .mp4 for the walk, .npy for the values, of shapes .glb or .stl; RUN/outputs/walk.png and
            walk.gif when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own prior, for ends that are drawn.
    """
    if sum(map(bool, (images, data, prompts))) > 1:
        raise UserError("walk: give one of images=, data= and prompts=")
    system = open_system(run)
    ends = None
    if at:
        ends = images_of(system, images, MOST) if images else None
    elif images or data:
        require(system, Encodes, Decodes, verb="walk")
        ends = images_of(system, images, rows + 1) if images else first_of(system, data, rows + 1)
        if len(ends) < 2:
            raise UserError(f"walk: {images or data} has fewer than two images; a walk needs two ends")
    names: tuple[str | Path, ...] = (out,) if out else (folder_for(run) / "walk.png", folder_for(run) / "walk.gif")
    kind = kinds.of(system)
    known = (*PICTURES, *FILMS, *kind.models)
    paths = [target(run, name, "walk.png", suffixes=known, overwrite=overwrite) for name in names]
    walked = genzoo.walk(
        system, rows=rows, steps=steps, seed=seed, path=path, images=ends, prompts=prompts or None, at=at or None,
        latents=read_latents(latents, "latents") if latents else None, **(own or {}),
    )  # fmt: skip
    for file, name in zip(paths, names, strict=True):
        if file.suffix.lower() in FILMS:
            shown = frames(joined(walked) if at else walked, kind)
            wrote(save_film(file, shown, per_second=fps or per_second(kind), rest=1 if fps else 8), asked=name)
        else:
            values = walked if file.suffix.lower() == ".npy" else walked.flatten(0, 1)
            wrote(kind.write(file, values, system.hparams, columns=steps), asked=name)
