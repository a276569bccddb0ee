"""Go on from still images: clips that begin with them."""

from __future__ import annotations

from pathlib import Path

import torch

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.inputs import tell_changed
from genzoo.cli.table import Command
from genzoo.core.capabilities import Animates
from genzoo.data import kinds
from genzoo.use.common.images import channels_of, image_files, read_image
from genzoo.use.common.outputs import targets
from genzoo.use.common.source import open_system, require

COMMAND = Command(
    "clips that begin with still images",
    "RUN IMAGE_OR_FOLDER [out=x.gif]",
    place=48,
    needs=("animates",),
    waits=True,
)


def animate(run: str, image: str, out: str = "", overwrite: bool = False) -> None:
    """Go on from still images: clips that begin with them.

    Args:
        run: A run or an exported folder.
        image: An image, a folder of images, or several files separated by commas; scaled and cut to the size of the clips.
        out: File: .gif, .mp4, .png for strips of frames, .npz or .npy for values; RUN/outputs/animate.gif and animate.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Animates, verb="animate")
    whole = Path(image).expanduser().exists()  # a name may have a comma
    files = [file for part in ([image] if whole else image.split(",")) for file, _ in image_files(part.strip())]
    size = tuple(system.hparams["shape"][2:])
    tell_changed(system, files, size)
    first = torch.stack([read_image(f, channels_of(system), size=size) for f in files])
    kind = kinds.of(system)
    paths = targets(run, out, "animate", kind=kind, overwrite=overwrite)
    clips = genzoo.animate(system, first)
    for path in paths:
        wrote(kind.write(path, clips, system.hparams), asked=out)
