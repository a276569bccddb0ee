"""Encode data and decode them again."""

from __future__ import annotations

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.inputs import Few, first_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes, Encodes
from genzoo.data import kinds
from genzoo.data.drawing import STILLS
from genzoo.metrics.maths.similarity import psnr
from genzoo.use.common.outputs import target
from genzoo.use.common.source import open_system, require
from genzoo.use.reconstruct import side_by_side

COMMAND = Command(
    "encode and decode images", "RUN [data=DATA n=32]", place=42, needs=("encodes", "decodes"), waits=True
)


def reconstruct(run: str, data: str = "", n: Few = 32, out: str = "", overwrite: bool = False) -> None:
    """Encode and decode images; originals stand above their reconstructions.

    Args:
        run: A run or an exported folder.
        data: Images: a name, a folder, an archive; the test part of the run's own data when not given.
        n: How many.
        out: File, .png, .jpg, .webp or .npy; RUN/outputs/reconstruct.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Encodes, Decodes, verb="reconstruct")
    path = target(run, out, "reconstruct.png", suffixes=PICTURES, overwrite=overwrite)
    kind = kinds.of(system)
    images = first_of(system, data, n)
    back = genzoo.reconstruct(system, images)
    if images.ndim == 4 and path.suffix.lower() in STILLS:
        wrote(kind.write(path, side_by_side(images, back), system.hparams, columns=8), asked=out)
    else:
        wrote(kind.write(path, back, system.hparams), asked=out)
    error = (images - back).square().mean().item()
    print(
        f"mean squared error {error:.5f}"
        + (f", PSNR {psnr(images, back, data_range=2).mean():.2f} dB" if images.ndim == 4 else "")
        + f" on {len(images)}"
    )
