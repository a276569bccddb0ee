"""Draw the density of a model of points."""

from __future__ import annotations

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.table import Command
from genzoo.core.capabilities import Density
from genzoo.data import kinds
from genzoo.data.drawing.images import save_picture
from genzoo.use.common.heat import density_picture
from genzoo.use.common.outputs import target
from genzoo.use.common.source import open_system, require
from genzoo.use.density import Side
from genzoo.use.sample import Seed

COMMAND = Command(
    "the density of points in the plane as a map",
    "RUN [size=200 box=-2,-2,2,2 out=density.png]",
    place=49,
    device=True,
    waits=True,
)


def density(
    run: str,
    size: Side = 200,
    box: tuple[float, float, float, float] | None = None,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Draw the density of a model of points in the plane as a map, dark where there is none.

    Args:
        run: A run or an exported folder.
        size: Places in a row and in a column.
        box: Left, bottom, right, top in the data's own units; around samples of the model when not given.
        seed: Of the samples that say where, and of an estimate of the density.
        out: File, .png, .jpg or .webp; .npy for log-densities in nats; RUN/outputs/density.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Density, verb="density")
    path = target(run, out, "density.png", suffixes=PICTURES, overwrite=overwrite)
    found, where = genzoo.density(system, size, box, seed)
    if path.suffix.lower() == ".npy":
        wrote(kinds.of(system).write(path, found, system.hparams), asked=out)
    else:
        wrote(save_picture(path, density_picture(found)), asked=out)
    print(f"box={','.join(f'{v:g}' for v in where)}; the lightest color is a density of {found.max().exp():.4g}")
