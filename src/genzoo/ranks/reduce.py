"""The mean of gradients over ranks, on its way while the backward pass is: torch's own reducer, that of `DistributedDataParallel`.

The wrapper around it is left out: it would stand between a system and its networks, and it takes one loss and one backward pass for each forward
pass of one network. The reducer asks for neither; each player has one of its own, and a penalty's double backward pass goes through it.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import Reducer, _compute_bucket_assignment_by_size

from genzoo.ranks.launch import patience
from genzoo.ranks.shards import piece_of

FIRST, LATER = 1 << 20, 25 << 20
"""Bytes of a message of gradients: the first one is small, so that it leaves early."""


@cache
def _lines(_: object) -> Any:
    """Return lines for gradients alone: what the backward pass itself sums (batch statistics) waits for none of them."""
    return dist.new_group(timeout=timedelta(minutes=patience()))


class Reduction:
    """Averages the gradients of one player over ranks.

    Args:
        parameters: What the player owns, all of which require gradients. Gradients of pieces are means already (`ranks.shards`).
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.lines = _lines(dist.group.WORLD)
        whole = [p for p in self.parameters if piece_of(p) is None]
        self.reducer = self._reducer(whole) if whole else None

    def _reducer(self, parameters: list[Tensor]) -> Reducer:
        # Some parameters have no gradient in every step, so the reducer is told to look for these; it warns where there are none, and so
        # it is given one.
        never = torch.zeros_like(parameters[0].flatten()[:1], requires_grad=True)
        every = [*parameters, never]
        sparse = [False] * len(every)
        buckets, limits = _compute_bucket_assignment_by_size(every, [FIRST, LATER], sparse)
        # Gradients come from the last layer first, and lie in the messages themselves: they take no memory twice.
        find_unused = as_views = True
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")  # of sides of length 1
        return Reducer(every, buckets[::-1], limits[::-1], self.lines, sparse, LATER, find_unused, as_views, {}, FIRST)

    def backward(self, loss: Tensor, flag: Tensor) -> None:
        """Send `loss` back onto the parameters; their gradients are the means over ranks, and so is `flag`, in place."""
        sent = dist.all_reduce(flag, group=self.lines, async_op=True)
        if self.reducer:
            self.reducer.prepare_for_backward([loss])
        torch.autograd.backward(loss, inputs=self.parameters)
        sent.wait()
        flag /= dist.get_world_size()
