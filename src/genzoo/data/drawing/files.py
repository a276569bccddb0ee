"""Files that samples of any kind can be written as: arrays of their values, and animations of pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from genzoo.core.files import write_atomic
from genzoo.data.drawing.clips import PER_SECOND, save_mp4
from genzoo.data.drawing.images import save_gif


def save_array(path: Path, samples: Tensor) -> Path:
    """Write the values as they are: .npy, or compressed .npz under the name samples."""
    buffer = io.BytesIO()
    values = samples.detach().cpu().numpy()
    if path.suffix.lower() == ".npz":
        np.savez_compressed(buffer, samples=values)
    else:
        np.save(buffer, values)
    return write_atomic(path, buffer.getvalue())


def save_film(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """Write the pictures of an animation, uint8 [H, W, 3] of one size, at the usual speed: .mp4, or .gif."""
    if path.suffix.lower() == ".mp4":
        return save_mp4(path, pictures)
    return save_gif(path, pictures, milliseconds=1000 // PER_SECOND, rest=1)
