"""Maps that the backward pass computes again instead of finding them kept (activation checkpointing, Chen et al., arXiv:1604.06174).

A network says which parts it can do so with by a class attribute `remat` and by calling them through `again`. Nothing is computed again until
`switch_on`; weights come out the same, because random numbers are drawn again from the state that they were drawn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from genzoo.core.errors import UserError

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
    found: Found = checkpoint(part, *inputs, use_reentrant=False)
    return found


def switch_on(system: nn.Module, name: str) -> None:
    """Let all networks of a system that can keep less of a step.

    Args:
        system: The system.
        name: What it is called.

    Raises:
        UserError: None of its networks can.
    """
    able: list[Any] = [
        m for m in system.modules() if hasattr(m, "remat") and any(p.requires_grad for p in m.parameters())
    ]
    if not able:
        raise UserError(
            f"remat=true is for systems of many equal blocks, and {name} has no part that can be computed again; leave it out, or take a "
            "smaller batch"
        )
    for module in able:
        module.remat = True
