"""Nearest training images of samples: is the model making images, or remembering them?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.features.extractors import Images
from genzoo.metrics.maths.inputs import centred_pair, checked_pair, squared_distances


@torch.no_grad()
def nearest(samples: Tensor, reference: Images, *, k: int = 1, chunk: int = 10_000) -> tuple[Tensor, Tensor]:
    """Return the k nearest reference images of every sample in pixel space: distances and indices, [N, k], nearest first.

    The distance is the root of the mean squared difference in grey levels. Equal distances go to the lower index.

    Args:
        samples: uint8 [N, C, H, W].
        reference: uint8 [M, C, H, W]; an array or or what reads them as they are asked for, in chunks.
        k: Neighbours of each.
        chunk: Reference images, and samples, at a time.

    Raises:
        UserError: No uint8 images of one shape, or fewer reference images than neighbours.
    """
    if samples.dtype != torch.uint8 or tuple(samples.shape[1:]) != tuple(reference.shape[1:]):
        raise UserError(
            f"samples must be uint8 [N, {', '.join(map(str, reference.shape[1:]))}], not {tuple(samples.shape)}"
        )
    if not 1 <= k <= len(reference):
        raise UserError(f"k={k} neighbours need k ≥ 1 and at least k reference images, there are {len(reference)}")
    # Grey levels are whole numbers, so squared distances are exact in float64: a copy has distance 0, not nearly 0.
    x = samples.flatten(1)
    best = torch.full((len(x), k), torch.inf, dtype=torch.float64)
    where = torch.full((len(x), k), -1)
    for start in range(0, len(reference), chunk):
        part = torch.as_tensor(np.ascontiguousarray(reference[start : start + chunk])).flatten(1).double()
        squares = part.square().sum(1)
        index = torch.arange(start, start + len(part))
        for rows, levels in zip(torch.arange(len(x)).split(chunk), x.split(chunk), strict=True):
            some = levels.double()
            distance = torch.addmm(squares + some.square().sum(1, keepdim=True), some, part.T, alpha=-2)
            near, order = torch.cat([best[rows], distance], 1).sort(dim=1, stable=True)
            known = torch.cat([where[rows], index.expand(len(rows), -1)], 1)
            best[rows], where[rows] = near[:, :k], known.gather(1, order[:, :k])
    return (best / x.shape[1]).sqrt(), where


@torch.no_grad()
def nearest_rows(
    x: Tensor, reference: Tensor, *, leave_one_out: bool = False, chunk: int = 2000
) -> tuple[Tensor, Tensor]:
    """Return the nearest reference row of every row, by Euclidean distance: distances, float64 [N], and indices [N].

    Neighbours are searched by matrix products in float32 after the mean is taken off; the distance to the one that is found is then
    taken from the difference itself in float64, so that a copy has distance 0 exactly.

    Args:
        x: Features [N, D].
        reference: Features [M, D].
        leave_one_out: `x` and `reference` are the same rows in the same order: no row is its own neighbour.
        chunk: Side of a block of the distance matrix; memory is chunk².

    Raises:
        UserError: Shapes that do not fit, no other row, NaN or infinite values.
    """
    x, reference = checked_pair(x, reference, ("the samples", "the reference"), at_least=1)
    if leave_one_out and (len(x) != len(reference) or len(x) < 2):
        raise UserError(f"leave_one_out takes the same two or more rows twice, not {len(x)} and {len(reference)}")
    a, b = centred_pair(x, reference)
    best = torch.full((len(a),), torch.inf, device=a.device)
    where = torch.zeros(len(a), dtype=torch.long, device=a.device)
    for i in range(0, len(a), chunk):
        for j in range(0, len(b), chunk):
            d = squared_distances(a[i : i + chunk], b[j : j + chunk])
            if leave_one_out and i == j:
                d.fill_diagonal_(torch.inf)
            near = d.min(1)
            better = near.values < best[i : i + chunk]  # equal distances stay with the lower index
            best[i : i + chunk] = torch.where(better, near.values, best[i : i + chunk])
            where[i : i + chunk] = torch.where(better, near.indices + j, where[i : i + chunk])
    parts = zip(x.split(chunk), where.split(chunk), strict=True)
    return torch.cat([(p.double() - reference[w].double()).norm(dim=1) for p, w in parts]), where
