"""Numbers that all ranks of torch.distributed share: sums, means and rows of everybody's batch. Without ranks, one's own.

Every rank must come by, in the same order: a call in a branch that one rank does not take stops the others for ever. All of it can be
differentiated, more than once. The gradient that a rank finds is that of the sum of all ranks' losses, so that the mean over ranks, which the
update takes, is that of their mean.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """Return how many processes train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this one is, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


class _Sum(torch.autograd.Function):
    """The sum over ranks; its own adjoint."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        found: Tensor = _Sum.apply(gradient[0])  # type: ignore[no-untyped-call]
        return found


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum over all ranks; `values` itself without ranks."""
    if ranks() == 1:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean over all ranks; `values` itself without ranks."""
    return sum_over_ranks(values) / ranks() if ranks() > 1 else values


def everybody(rows: Tensor) -> Tensor:
    """Return the rows [b, ...] of all ranks one after the other, [ranks · b, ...]: the batch in the order in which one process has it."""
    if ranks() == 1:
        return rows
    before, after = rank() * len(rows), (ranks() - 1 - rank()) * len(rows)
    parts = [rows.new_zeros(before, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:])]
    if rows.dtype == torch.bool:
        return sum_over_ranks(torch.cat(parts).byte()).bool()
    return sum_over_ranks(torch.cat(parts))


def own(rows: Tensor) -> Tensor:
    """Return this rank's part of rows [ranks · b, ...] that all ranks hold."""
    b = len(rows) // ranks()
    return rows[rank() * b : (rank() + 1) * b]


def the_one_before(rows: Tensor) -> Tensor:
    """Return for each row [b, ...] the one before it in the batch of all ranks; for the first one the last."""
    return own(everybody(rows).roll(1, 0))


def pooled(rows: Tensor, index: Tensor) -> Tensor:
    """Return rows [M, D] at `index` [M], which is the same on all ranks, of the rows of all ranks one after the other; every rank has as many."""
    if ranks() == 1:
        return rows[index]
    here = index - rank() * rows.shape[0]
    mine = (here >= 0) & (here < rows.shape[0])
    return sum_over_ranks(torch.where(mine[:, None], rows[here.clamp(0, rows.shape[0] - 1)], 0))
