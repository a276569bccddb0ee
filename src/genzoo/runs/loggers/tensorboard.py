"""TensorBoard: event files in the run folder's `tensorboard/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genzoo.runs.loggers import About

PACKAGE, EXTRA = "tensorboard", "track"


class TensorBoard:
    """Writes event files.

    Args:
        writer: A `torch.utils.tensorboard.SummaryWriter`.
    """

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, path: Path) -> None:
        """Write an image."""
        with Image.open(path) as image:
            self.writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def make(about: About) -> TensorBoard:
    """Open event files in the run folder."""
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoard(
        SummaryWriter(str(about.folder / "tensorboard"), purge_step=about.step + 1 if about.step else None)
    )
