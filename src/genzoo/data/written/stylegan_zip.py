"""StyleGAN's zips (2-ada, 3, and EDM's): PNG files that are not compressed again, and dataset.json with a number for each."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from genzoo.core.errors import UserError
from genzoo.data.written import Part

WHAT = "a zip of PNG files with dataset.json, as StyleGAN2-ADA and 3 train on"
SUFFIX = ".zip"
PARTS = 1


def check(parts: Sequence[Part]) -> list[str]:
    """Refuse what StyleGAN does not train on, and tell what its file has no place for.

    Raises:
        UserError: Images that are no squares with a side of a power of two, or that have transparency.
    """
    _, channels, height, width = parts[0].images.shape
    if height != width or height & (height - 1) or height < 4:
        side = 2 ** max(round(math.log2(min(height, width))), 2)
        raise UserError(
            f"StyleGAN's discriminator takes squares with a side of a power of two, not {height}x{width}; give size={side}"
        )
    if channels not in (1, 3):
        raise UserError(f"StyleGAN takes images of 1 or 3 channels, not {channels}; give channels=3")
    more = [
        f"the test part ({len(p)} images) is not in it: split=test writes it into a file of its own" for p in parts[1:]
    ]
    return [*more, *(["captions are not in it: StyleGAN's list has none"] if any(p.texts for p in parts) else [])]


def write(path: Path, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
    """Write one part.

    Args:
        path: The file.
        parts: The part.
        advance: Is told how many images are done.
    """
    (part,) = parts
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        names = []
        for i, data in part.encoded(advance):
            names.append(f"{i // 1000:05d}/img{i:08d}.png")
            archive.writestr(zipfile.ZipInfo(names[-1]), data)
        labels = None if part.labels is None else [[n, int(k)] for n, k in zip(names, part.labels, strict=True)]
        archive.writestr(zipfile.ZipInfo("dataset.json"), json.dumps({"labels": labels}))
