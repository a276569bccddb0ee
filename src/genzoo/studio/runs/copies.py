"""The training images that are nearest to samples: does a run make images, or remember them?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Samples
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.metrics.drawing import draw
from genzoo.metrics.maths.neighbours import nearest
from genzoo.metrics.real import as_levels, real_images
from genzoo.use.common.images import open_for
from genzoo.use.common.source import require

MOST = 64
"""Samples looked at."""
COLUMNS = 5
"""Training images beside each."""
BLOCK = 20_000_000
"""Values of training images compared at a time."""


@torch.no_grad()
def nearest_training(system: System, seed: int, n: int) -> tuple[list[dict[str, Any]], Tensor, list[Tensor], int]:
    """Find the training images nearest to samples, in pixels, as an evaluation does.

    A sample is suspicious where its nearest training image is nearer to it than that image is to any other training image, or the same:
    the rule of the measure `memorization`, taken in pixels.

    Args:
        system: A run that draws images.
        seed: Of the samples.
        n: How many.

    Returns:
        Of each sample, nearest first: index, distances, own (the distance of the nearest training image to another one), suspicious; then
        the samples, uint8 [n, C, H, W]; of each the training images, uint8 [k, C, H, W]; and the number of training images.

    Raises:
        UserError: It draws no images, or its data are not there.
    """
    if not 1 <= n <= MOST:
        raise UserError(f"n={n} is not allowed; give from 1 to {MOST} samples")
    require(system, Samples, verb="nearest training images")
    train = real_images(open_for(system, split="train"))
    fake = draw(system, n, seed, keep=as_levels)
    if fake.shape[1:] != train.shape[1:]:
        raise UserError(
            f"nearest training images: samples have shape {tuple(fake.shape[1:])}, training images {tuple(train.shape[1:])}"
        )
    k, chunk = min(COLUMNS, len(train)), max(100, BLOCK // train[0].numel())
    distance, where = nearest(fake, train, k=k, chunk=chunk)
    own = torch.full((n,), torch.inf, dtype=distance.dtype)
    if len(train) > 1:
        found, place = where[:, 0].unique(return_inverse=True)
        own = nearest(train[found], train, k=2, chunk=chunk)[0][:, 1][place]
    suspicious = (distance[:, 0] < own) | (distance[:, 0] == 0)
    rows = distance[:, 0].argsort(stable=True)
    told = [
        {
            "index": i,
            "distances": distance[i].tolist(),
            "own": None if own[i].isinf() else float(own[i]),
            "suspicious": bool(suspicious[i]),
        }
        for i in rows.tolist()
    ]
    return told, fake[rows], [train[where[i]] for i in rows.tolist()], len(train)
