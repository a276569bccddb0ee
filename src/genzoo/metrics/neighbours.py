"""Nearest training images of samples: is the model making images, or remembering them?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def nearest(
    samples: Tensor, reference: Tensor | np.ndarray, *, k: int = 1, chunk: int = 10_000
) -> tuple[Tensor, Tensor]:
    """Return the k nearest reference images of every sample in pixel space: distances and indices, [N, k], nearest first.

    The distance is the root of the mean squared difference in grey levels. Equal distances go to the lower index.

    Args:
        samples: uint8 [N, C, H, W].
        reference: uint8 [M, C, H, W]; an array or a memory map, read in chunks.
        k: Neighbours of each.
        chunk: Reference images at a time.
    """
    if samples.dtype != torch.uint8 or tuple(samples.shape[1:]) != tuple(reference.shape[1:]):
        raise ValueError(
            f"samples must be uint8 [N, {', '.join(map(str, reference.shape[1:]))}], not {tuple(samples.shape)}"
        )
    # Grey levels are whole numbers, so squared distances are exact in float64: a copy has distance 0, not nearly 0.
    x = samples.flatten(1).double()
    squares = x.square().sum(1, keepdim=True)
    best = torch.full((len(x), k), torch.inf, dtype=torch.float64)
    where = torch.full((len(x), k), -1)
    for start in range(0, len(reference), chunk):
        part = torch.as_tensor(np.ascontiguousarray(reference[start : start + chunk])).flatten(1).double()
        distance = torch.addmm(squares + part.square().sum(1), x, part.T, alpha=-2)
        candidates = torch.cat([best, distance], 1)
        index = torch.cat([where, torch.arange(start, start + len(part)).expand(len(x), -1)], 1)
        best, order = candidates.sort(dim=1, stable=True)
        best, where = best[:, :k], index.gather(1, order[:, :k])
    return (best / x.shape[1]).sqrt(), where
