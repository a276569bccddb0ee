"""Encode and decode: what a system's code keeps of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.capabilities import Decodes, Encodes
from genzoo.use.common.arrays import as_tensor, shape_is_said
from genzoo.use.common.source import CHUNK, Source, open_system, require


@torch.no_grad()
def reconstruct(source: Source, images: Tensor) -> Tensor:
    """Return the reconstructions of `images` [N, C, H, W] in [-1, 1], same shape and range.

    Args:
        source: A run, its path, or a system.
        images: What to encode and decode; also an array, or uint8.

    Raises:
        UserError: The system has no encoder or no decoder, or takes images of another shape.
    """
    system = open_system(source)
    encoder, decoder = require(system, Encodes, Decodes, verb="reconstruct")
    x = as_tensor(images, "reconstruct")
    with shape_is_said(x, system, "reconstruct"):
        parts = x.to(system.device).split(CHUNK)
        return torch.cat([decoder.decode(encoder.encode(part)).float().cpu() for part in parts])


def side_by_side(images: Tensor, others: Tensor, *, columns: int = 8) -> Tensor:
    """Interleave rows: a row of `images`, the row of `others` under it, and so on, for a grid with `columns` columns."""
    pairs = zip(images.split(columns), others.split(columns), strict=True)
    blank = images.new_ones(columns, *images.shape[1:])
    return torch.cat([torch.cat([part, blank[: columns - len(part)]]) for pair in pairs for part in pair])
