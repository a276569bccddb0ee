"""Decode places of latent space."""

from __future__ import annotations

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.inputs import images_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.use.common.arrays import read_latents
from genzoo.use.common.outputs import targets
from genzoo.use.common.source import open_system, require
from genzoo.use.decode import FORM, MOST

COMMAND = Command(
    "places of latent space: seeds, sums of them, moves along directions",
    "RUN at='s0; s3+2d1; 0.7*s5' [images=A.png,B.png latents=project.npz out=x.png]",
    place=43,
    needs=("decodes",),
    waits=True,
)


def decode(run: str, at: str = "", images: str = "", latents: str = "", out: str = "", overwrite: bool = False) -> None:
    """Decode places of latent space: seeds, sums of them, moves along principal directions, codes of images.

    Args:
        run: A run or an exported folder.
        at: The places, with semicolons between them: sums of s3 (the latent of seed 3; s3[label=2] with options of the prior), d1 (one standard
            deviation along the first principal direction), i1 (the code of the first image) and z1 (the first latent), each with a factor:
            's3+2d1-0.5d4; s1-s2+s3; 0.7*s5'. s3/4/s7 has the layers before the fourth of s3 and the others of s7.
        images: Files separated by commas, or a folder: what i1, i2 ... are.
        latents: File of what z1, z2 ... are: an .npz that project wrote.
        out: File, as of sample: .png, .gif, .npy ...; RUN/outputs/decode.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Decodes, verb="decode")
    if not at:
        raise UserError(f"decode: at= is missing; {FORM}")
    kind = kinds.of(system)
    paths = targets(run, out, "decode", kind=kind, overwrite=overwrite)
    x = images_of(system, images, MOST) if images else None
    drawn = genzoo.decode(system, at, images=x, latents=read_latents(latents, "latents") if latents else None)
    for path in paths:
        wrote(kind.write(path, drawn, system.hparams), asked=out)
