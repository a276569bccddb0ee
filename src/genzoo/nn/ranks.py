"""Numbers that all ranks of torch.distributed share: sums, means and rows of everybody's batch. Without ranks, one's own.

Every rank must come by, in the same order: a call in a branch that one rank does not take stops the others for ever.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """Return how many processes train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum over all ranks; `values` itself without ranks."""
    if ranks() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean over all ranks; `values` itself without ranks."""
    return sum_over_ranks(values) / ranks() if ranks() > 1 else values


def pooled(rows: Tensor, index: Tensor) -> Tensor:
    """Return rows [M, D] at `index` [M] (rank 0's) of the rows of all ranks one after the other; every rank has as many, and gets the same."""
    if ranks() == 1:
        return rows[index]
    dist.broadcast(index, 0)
    here = index - dist.get_rank() * rows.shape[0]
    mine = (here >= 0) & (here < rows.shape[0])
    return sum_over_ranks(torch.where(mine[:, None], rows[here.clamp(0, rows.shape[0] - 1)], 0))
