"""What commands say when they have written their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".png", ".npy")


def wrote(path: Path, *, asked: str | Path) -> None:
    """Print where a result lies, and where that is not where it was asked for, why."""
    moved = (
        f" ({asked} was there already; overwrite=true replaces it)"
        if asked and path.name != Path(asked).name and not Path(asked).is_dir()
        else ""
    )
    print(f"wrote {path}{moved}")


def wrote_images(written: Sequence[Path], *, given: str, asked: str) -> None:
    """Print where the results of an image, or of a folder of images, lie."""
    if Path(given).expanduser().is_file():
        wrote(written[0], asked=asked if asked.endswith((".png", ".tif")) else "")
    else:
        print(f"wrote {len(written)} images to {os.path.commonpath([p.parent for p in written])}")
