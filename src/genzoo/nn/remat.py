"""Maps that the backward pass computes again instead of finding them kept (activation checkpointing, Chen et al., arXiv:1604.06174).

A network says which parts it can do so with by a class attribute `remat` and by calling them through `again`; training switches that on
(`training.prepare.compute_again`). Weights come out the same, because random numbers are drawn again from the state that they were drawn from.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from genzoo.ranks.batch import AsNow

Found = TypeVar("Found")


def again(net: Any, part: Callable[..., Found], *inputs: Any) -> Found:
    """Return what a part of a network makes of its inputs, of which in training the backward pass keeps the inputs alone.

    Args:
        net: The network, which has an attribute `remat`.
        part: A function or a module that changes no buffer, but for what it does in the first batch alone.
        inputs: What it is given.
    """
    if not (net.remat and net.training and torch.is_grad_enabled()):
        return part(*inputs)
    return _checkpoint(part, *inputs)


def apart(net: Any, part: Callable[..., Found], *inputs: Any) -> Found:
    """Return what a part of a network makes of its inputs, of which in training nothing is kept until its own backward pass, which computes it again.

    For what one player makes and another learns from first: the maps of both need not lie there at once.

    Args:
        net: The network; one that computes its parts again anyway (`remat`) is left to do so.
        part: A function that changes no buffer.
        inputs: What it is given.
    """
    if net.remat or not (net.training and torch.is_grad_enabled()):
        return part(*inputs)
    return _checkpoint(part, *inputs)


def _checkpoint(part: Callable[..., Found], *inputs: Any) -> Found:
    # What is drawn again is drawn for the same examples of the batch of all ranks.
    found: Found = checkpoint(part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), AsNow()))
    return found
