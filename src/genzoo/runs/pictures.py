"""The sample pictures of a run: one for each time that it was drawn, and all of them as a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.images import save_gif, save_png

FRAMES = 60
"""Most frames of a film."""


def save_preview(system: System, folder: Path, step: int, shown: np.ndarray | Tensor) -> Path:
    """Write samples/step_*.png, and of samples [n, ...] what else shows their kind: a WAV, a GIF. Returns the picture's path."""
    path = folder / f"step_{step:09d}.png"
    if not isinstance(shown, Tensor):
        return save_png(path, shown)
    kind = kinds.of(system)
    for ending in kind.previews:
        kind.write(path.with_suffix(ending), shown, system.hparams)
    return path


def training_gif(folder: Path, to: Path) -> Path | None:
    """Join the sample pictures of a run into a GIF of at most `FRAMES` frames and 480 px."""
    paths = sorted(folder.glob("step_*.png"))
    if len(paths) < 2:
        return None
    chosen = [
        paths[round(i * (len(paths) - 1) / (min(len(paths), FRAMES) - 1))] for i in range(min(len(paths), FRAMES))
    ]
    shown = []
    for path in chosen:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((480, 480))
            shown.append(np.asarray(small))
    same = [f for f in shown if f.shape == shown[-1].shape]
    return save_gif(to, same)
