"""Show where in images their bits are."""

from __future__ import annotations

import torch

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.inputs import Few, first_of, images_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Predicts
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.use.common.heat import heat
from genzoo.use.common.outputs import target
from genzoo.use.common.source import open_system, require

COMMAND = Command(
    "where in images their bits are: how surprising each pixel is",
    "RUN [IMAGE_OR_FOLDER ...] [data=DATA n=8 most=8]",
    place=49,
    device=True,
    waits=True,
    many="images",
)


def bits(
    run: str,
    images: tuple[str, ...] = (),
    data: str = "",
    n: Few = 8,
    most: float | None = None,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Show where in images their bits are: each image, and in colours how many bits each of its pixels takes.

    Args:
        run: A run or an exported folder.
        images: Files, or a folder; they are scaled and cut to the size of the system.
        data: The first test images of a data set in place of files; of the run's own data when neither is given.
        n: How many images at most.
        most: Bits that the lightest color stands for; those of the most surprising pixel when not given.
        out: File, .png, .jpg or .webp; .npy for the bits, [N, H, W]; RUN/outputs/bits.png when not given.
        overwrite: Replace the file if it is there.
    """
    if images and data:
        raise UserError("bits: give images or data=, not both")
    system = open_system(run)
    require(system, Predicts, verb="bits")
    path = target(run, out, "bits.png", suffixes=PICTURES, overwrite=overwrite)
    x = images_of(system, ",".join(images), n) if images else first_of(system, data, n)
    found = genzoo.bits(system, x)
    kind = kinds.of(system)
    if path.suffix.lower() == ".npy":
        wrote(kind.write(path, found, system.hparams), asked=out)
    else:
        pairs = torch.stack([x.expand(-1, 3, -1, -1), heat(found, most)], 1).flatten(0, 1)
        wrote(kind.write(path, pairs, system.hparams, columns=2), asked=out)
    top = found.max() if most is None else most
    print(
        f"{found.sum((1, 2)).mean():.1f} bits an image, {found.mean():.4f} a pixel, {found.mean() / x.shape[1]:.4f} a dimension, "
        f"over {len(x)}; the lightest color is {top:.2f} bits"
    )
