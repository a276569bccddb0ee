"""How images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """Return the same images [B, C, H, W] with the channels of a pixel side by side, as the trainer's nets have their weights.

    Images of one channel lie so whatever their strides say, and are only told so: convolutions go by the strides, and would give maps of
    many channels in the slower layout.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)
