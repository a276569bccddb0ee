"""The Jacobian of a map at a point, by reverse-mode differentiation of many copies of the point at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genzoo.core.errors import UserError

LARGEST_JACOBIAN = 4096
"""Dimensions of the largest Jacobian that a system computes: in float64 it takes 128 MB."""
COPIES = 128
"""Rows of a Jacobian that one backward pass computes."""


def jacobian(f: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """Return df/du at one point, [D, D], for a map of [B, ...] with D values an example to [B, D].

    The point is repeated, and copy i sends back output i alone. Examples must not see each other (no batch statistics).

    Args:
        f: The map.
        u: The point, [1, ...].
    """
    rows = []
    for outputs in torch.arange(u.numel(), device=u.device).split(COPIES):
        copies = u.detach().expand(outputs.shape[0], *u.shape[1:]).clone().requires_grad_()
        with torch.enable_grad():
            chosen = f(copies).flatten(1).gather(1, outputs[:, None]).sum()
        rows.append(torch.autograd.grad(chosen, copies)[0].flatten(1))
    return torch.cat(rows)


def extreme_singular_values(f: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """Return the largest and the smallest singular value of df/du at each point of `u` [B, ...]: [B, 2], float64.

    Raises:
        UserError: More than 4096 dimensions.
    """
    dims = u[0].numel()
    if dims > LARGEST_JACOBIAN:
        raise UserError(
            f"the Jacobian of {dims} dimensions is too large; at most {LARGEST_JACOBIAN}: give a smaller size."
        )
    values = [torch.linalg.svdvals(jacobian(f, point).double()) for point in u.split(1)]
    return torch.stack([torch.stack([v[0], v[-1]]) for v in values])
