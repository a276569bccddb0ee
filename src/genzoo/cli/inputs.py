"""Images that a command is given: of files, or of a data set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.decode import stills
from genzoo.data.decode.forms import Rejected
from genzoo.use.common.files import gathered
from genzoo.use.common.images import channels_of, first_batch, image_files, open_for, read_image, window_of
from genzoo.use.common.source import name_of

Few = Annotated[int, Field(ge=1, le=4096)]
LOOKED_AT = 200
"""Pictures of a folder whose sizes are looked at, to say what becomes of them."""


def first_of(system: System, data: str, n: int) -> Tensor:
    """Read the first examples of a data set, or of the test part of the run's own where none is named."""
    x: Tensor = kinds.examples(first_batch(system, open_for(system, data or None), n))
    if x.ndim == 4 and data and Path(data).expanduser().exists():
        tell_changed(system, [file for file, _ in image_files(data)][:LOOKED_AT], tuple(x.shape[-2:]))
    return x


def images_of(system: System, images: str, most: int) -> Tensor:
    """Read images of a folder, or files and patterns separated by commas, in the size that the system takes."""
    whole = Path(images).expanduser().exists()  # a name may have a comma
    files = [file for file, _ in gathered([images] if whole else images.split(","))][:most]
    if not files:
        raise UserError(f"images={images} holds no image")
    size = tuple(system.hparams.get("shape", ())[1:])
    tell_changed(system, files, size)
    return torch.stack([read_image(f, channels_of(system), size=size, window=window_of(system)) for f in files])


def tell_changed(system: System, files: Sequence[Path], size: tuple[int, ...]) -> None:
    """Say on stderr, in one sentence, which pictures have another size or other colors than a system takes, and what becomes of them.

    Args:
        system: It.
        files: The pictures; what is none is passed over.
        size: Height and width that they are brought to.
    """
    channels, found, done = channels_of(system), list[str](), dict[str, None]()
    seen = 0
    for file in files:
        try:
            with open(file, "rb") as opened:
                height, width, colors = stills.look(opened, file.name).shape
        except (Rejected, OSError):
            continue
        seen += 1
        changes = []
        if (height, width) != size:
            changes.append("scaled" if height * size[1] == width * size[0] else "scaled and cut to their middle")
        if colors > 1 and channels == 1:
            changes.append("made gray")
        if changes:
            found.append(f"'{file}' is {width}x{height}{' in color' if colors > 1 else ' in gray'}")
            done |= dict.fromkeys(changes)
    if found:
        takes = f"{size[1]}x{size[0]}{' in gray' if channels == 1 else ''}"
        who = f"{found[0]}, and" if seen == 1 else f"{len(found)} of {seen} pictures are others than"
        words = ", ".join(done).replace("their middle", "its middle" if seen == 1 else "their middle")
        print(
            f"note: {who} {name_of(system)} takes {takes}: it is {words}" if seen == 1
            else f"note: {who} the {takes} that {name_of(system)} takes ({found[0]}): they are {words}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
