"""Project images into latent space."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.inputs import Few, first_of, images_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data import kinds
from genzoo.data.drawing.files import save_film
from genzoo.metrics.maths.similarity import psnr
from genzoo.use.common.outputs import folder_for, target
from genzoo.use.common.source import open_system, require
from genzoo.use.project import Loss, Rate, Starts, Steps
from genzoo.use.reconstruct import side_by_side
from genzoo.use.sample import Seed

COMMAND = Command(
    "the latents of your own images, by search: any system that decodes",
    "RUN [IMAGE_OR_FOLDER] [data=DATA n=8 steps=300 loss=vgg16 out=way.mp4]",
    place=42,
    needs=("decodes",),
    waits=True,
    many="images",
)
ENDINGS = (".png", ".npz", ".gif", ".mp4")


def project(
    run: str,
    images: tuple[str, ...] = (),
    data: str = "",
    n: Few = 8,
    steps: Steps = 300,
    loss: Loss = "pixels",
    rate: Rate = 0.1,
    starts: Starts = 256,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Find the latents whose images come nearest to given ones.

    Args:
        run: A run or an exported folder.
        images: Files, or a folder; they are scaled and cut to the size of the system.
        data: The first test images of a data set in place of files; of the run's own data when neither is given.
        n: How many images at most.
        steps: Steps of the search.
        loss: pixels, the mean squared error; alexnet or vgg16, LPIPS by that network plus the mean squared error.
        rate: Learning rate, in standard deviations of the prior's draws.
        starts: Draws of which the nearest is the start.
        seed: Seed of draws and noise.
        out: File: .png for the images above what was found, .gif or .mp4 for the way there, .npz for latents, images and losses;
            RUN/outputs/project.png, .gif and .npz when not given.
        overwrite: Replace files that are there.
    """
    if images and data:
        raise UserError("project: give images or data=, not both")
    system = open_system(run)
    require(system, Decodes, verb="project")
    names: tuple[str | Path, ...] = (
        (out,) if out else tuple(folder_for(run) / f"project{e}" for e in (".png", ".gif", ".npz"))
    )
    paths = [target(run, name, "project.png", suffixes=ENDINGS, overwrite=overwrite) for name in names]
    kind = kinds.of(system)
    x = images_of(system, ",".join(images), n) if images else first_of(system, data, n)
    found = genzoo.project(system, x, steps=steps, loss=loss, rate=rate, starts=starts, seed=seed)
    for path, name in zip(paths, names, strict=True):
        if path.suffix.lower() == ".npz":
            values = {"latents": found.latents, "images": found.images, "given": x, "loss": found.loss}
            file = io.BytesIO()
            np.savez_compressed(file, allow_pickle=False, **{k: v.numpy() for k, v in values.items()})
            wrote(write_atomic(path, file.getvalue()), asked=name)
        elif path.suffix.lower() == ".png":
            wrote(kind.write(path, side_by_side(x, found.images), system.hparams, columns=8), asked=name)
        else:
            shown = [kind.picture(side_by_side(x, found.way[:, t])) for t in range(found.way.shape[1])]
            wrote(save_film(path, [*shown, *shown[-1:] * 10]), asked=name)
    error = (x - found.images).square().mean().item()
    start = (x - found.way[:, 0]).square().mean().item()
    more = f", PSNR {psnr(x, found.images, data_range=2).mean():.2f} dB" if x.ndim == 4 else ""
    print(f"mean squared error {error:.5f}{more} on {len(x)}; the nearest of {starts} draws had {start:.5f}")
