"""Images that a command is given: of files, or of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.use.common.files import gathered
from genzoo.use.common.images import channels_of, first_batch, open_for, read_image, window_of

Few = Annotated[int, Field(ge=1, le=4096)]


def first_of(system: System, data: str, n: int) -> Tensor:
    """Read the first examples of a data set, or of the test part of the run's own where none is named."""
    x: Tensor = kinds.examples(first_batch(system, open_for(system, data or None), n))
    return x


def images_of(system: System, images: str, most: int) -> Tensor:
    """Read images of a folder, or files and patterns separated by commas, in the size that the system takes."""
    whole = Path(images).expanduser().exists()  # a name may have a comma
    files = [file for file, _ in gathered([images] if whole else images.split(","))][:most]
    if not files:
        raise UserError(f"images={images} holds no image")
    size = tuple(system.hparams.get("shape", ())[1:])
    return torch.stack([read_image(f, channels_of(system), size=size, window=window_of(system)) for f in files])
