"""Pictures of a person's own, read as a system takes them; and examples of a run's data in their place."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Restores
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.studio.play.results import Picture, Result
from genzoo.use.common.files import Photo, read_photo
from genzoo.use.common.images import channels_of, first_batch, open_for, size_of, window_of
from genzoo.use.zoo import shipped
from genzoo.web.pictures import MEGAPIXELS, read_image

EXAMPLES = 64
"""Test images of a run's own data that one may take."""


def as_system_takes(system: System, picture: Picture) -> Tensor:
    """Read a picture in the size and channels of a system, [1, C, H, W] in [-1, 1]; of one that learns from clips in the size of a frame."""
    channels, size, window = channels_of(system), size_of(system), window_of(system)
    return read_image(picture.data, channels, name=picture.name, size=size, window=window)[None]


@contextmanager
def as_file(picture: Picture) -> Iterator[Path]:
    """Lay a picture into a folder of its own for what reads files, and let messages speak of the name that the person knows.

    Raises:
        UserError: What reads it refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="genzoo-") as folder:
        ending = re.search(r"\.[A-Za-z0-9]{1,8}$", picture.name)
        path = Path(folder) / f"picture{ending[0] if ending else ''}"
        path.write_bytes(picture.data)
        try:
            yield path
        except UserError as error:
            raise type(error)(str(error).replace(str(path), picture.name).replace(folder, "")) from None


def photo_of(picture: Picture, channels: int, **how: Any) -> Photo:
    """Read a photograph at its own size.

    Raises:
        UserError: It is no image, or too large.
    """
    with as_file(picture) as path:
        return read_photo(path, channels, megapixels=MEGAPIXELS, **how)


def beside_made(result: Result, picture: Picture) -> Result:
    """Add the picture itself to the files of a result where it is one that the page has made: its command reads it."""
    if picture.made:
        return result.reads(picture.name, lambda path: path.write_bytes(picture.data))
    return result


def example_of(system: System, index: int, side: str = "") -> Picture:
    """Take an example of the test part of a run's own data, as a system that restores would be given it.

    Models of the zoo come without their data, some with examples of what they take: of those the example is one of these.

    Args:
        system: Whose data.
        index: Which, from 0 on; counted on from the first where there are fewer.
        side: Of pairs a or b.

    Raises:
        UserError: The data are not there, or are no pictures.
    """
    if side != "b" and (with_it := [e for m in shipped().values() if m.place == system.origin for e in m.examples]):
        file = with_it[index % len(with_it)]
        return Picture(f"example-{file.name}", file.read_bytes(), made=True)
    batch = first_batch(system, open_for(system), index + 1)
    x: Tensor = batch[side] if side in batch else kinds.examples(batch)
    one = x[index % len(x)][None]
    kind = kinds.of(system)
    if one.ndim == 5:
        one = one[:, :, 0]  # a clip's first frame
    if isinstance(system, Restores):
        with torch.no_grad():
            one = system.degrade(one.to(system.device)).float().cpu()
    ending = ".wav" if ".wav" in kind.suffixes else ".png"
    if ending == ".png" and one.ndim == 4:
        kind = kinds.get("image")
    with tempfile.TemporaryDirectory(prefix="genzoo-") as folder:
        path = Path(folder) / f"example{ending}"
        kind.write_one(path, one[0], system.hparams)
        return Picture(f"example-{index}{'-' + side if side in batch else ''}{ending}", path.read_bytes(), made=True)
