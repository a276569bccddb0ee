"""Show the principal directions of latent space."""

from __future__ import annotations

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes
from genzoo.data import kinds
from genzoo.use.common.directions import principal
from genzoo.use.common.outputs import targets
from genzoo.use.common.source import open_system, require
from genzoo.use.directions import Columns, Reach, Rows
from genzoo.use.sample import Seed

COMMAND = Command(
    "the directions of latent space that change images most, a row each",
    "RUN [rows=6 columns=7 seed=0 reach=3]",
    place=43,
    needs=("decodes",),
    waits=True,
)


def directions(
    run: str,
    rows: Rows = 6,
    columns: Columns = 7,
    seed: Seed = 0,
    reach: Reach = 3.0,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Show the directions of latent space that change images most, a row each.

    Args:
        run: A run or an exported folder.
        rows: Directions, the one that changes images most first; 'genzoo decode RUN at="s0+2d1"' goes along the first.
        columns: Images of a row, from -reach to reach.
        seed: The image that is moved.
        reach: How far, in standard deviations of the prior along the direction.
        out: File, as of sample; RUN/outputs/directions.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Decodes, verb="directions")
    kind = kinds.of(system)
    paths = targets(run, out, "directions", kind=kind, overwrite=overwrite)
    images = genzoo.directions(system, rows, columns, seed, reach)
    for path in paths:
        wrote(kind.write(path, images.flatten(0, 1), system.hparams, columns=columns), asked=out)
    found = principal(system)
    shares = ", ".join(f"d{i + 1} {share:.1%}" for i, share in enumerate(found.shares[: len(images)].tolist()))
    print(f"share of the variance of {found.draws} images that each direction's component has: {shares}")
