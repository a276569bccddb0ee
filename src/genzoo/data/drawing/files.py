"""Files that samples of any kind can be written as: arrays of their values, and animations of pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.drawing.clips import PER_SECOND, save_mp4
from genzoo.data.drawing.images import save_gif

MOST_OF_GIF = 50
"""Pictures in a second, above which browsers show a GIF slowly."""


def save_array(path: Path, samples: Tensor) -> Path:
    """Write the values as they are: .npy, or compressed .npz under the name samples."""
    buffer = io.BytesIO()
    values = samples.detach().cpu().numpy()
    if path.suffix.lower() == ".npz":
        np.savez_compressed(buffer, samples=values)
    else:
        np.save(buffer, values)
    return write_atomic(path, buffer.getvalue())


def save_film(path: Path, pictures: Sequence[np.ndarray], *, per_second: float = PER_SECOND, rest: int = 1) -> Path:
    """Write the pictures of an animation, uint8 [H, W, 3] of one size: .mp4, or .gif, where the last one stays `rest` times as long.

    Raises:
        UserError: They are too many in a second for a GIF.
    """
    if path.suffix.lower() == ".mp4":
        return save_mp4(path, pictures, per_second=per_second)
    if per_second > MOST_OF_GIF:
        raise UserError(
            f"a GIF shows at most {MOST_OF_GIF} pictures in a second, not {per_second:g}; give a name that ends in .mp4"
        )
    return save_gif(path, pictures, milliseconds=round(1000 / per_second), rest=rest)
