"""What every measure asks of its inputs: two dimensions, enough rows, the same features on both sides, and no NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.held import let_go, parts

PART = 4096
"""Rows that are brought to float64 together."""


def checked(x: Tensor, name: str = "features", *, at_least: int = 2, dims: int | None = None) -> Tensor:
    """Return detached features [N, D] after refusing what no measure is defined on.

    Args:
        x: Features [N, D]; whole numbers become float32.
        name: What they are called in the message.
        at_least: Fewest rows.
        dims: D, where it is known.

    Raises:
        UserError: Not [N, D], too few rows, or rows with NaN or infinite values (their number is given).
    """
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] == 0 or (dims is not None and x.shape[1] != dims):
        shape = tuple(x.shape) if hasattr(x, "shape") else type(x).__name__
        raise UserError(f"{name} must be [N, {dims or 'D'}], not {shape}")
    if len(x) < at_least:
        raise UserError(f"{name}: at least {at_least} examples are needed, there are {len(x)}")
    x = x.detach()
    if not x.dtype.is_floating_point:
        return x.float()
    bad = 0 if bool(x.sum().isfinite()) else int((~x.isfinite()).any(1).sum())  # a sum is much cheaper than a mask
    let_go(x)
    if bad:
        raise UserError(
            f"{bad:,} of {len(x):,} rows of {name} hold NaN or infinite values; a measure of them would mean nothing"
        )
    return x


def checked_pair(
    a: Tensor, b: Tensor, names: tuple[str, str] = ("fake features", "real features"), *, at_least: int = 2
) -> tuple[Tensor, Tensor]:
    """Check two sets of features [N, D] and [M, D] of one width; the second comes to the device of the first."""
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim == b.ndim == 2 and a.shape[1] != b.shape[1]:
        raise UserError(
            f"both sides must have the same number of features, [N, D] and [M, D], not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    a, b = checked(a, names[0], at_least=at_least), checked(b, names[1], at_least=at_least)
    return a, b.to(a.device)


def centred_pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets in float32 with their common mean taken off.

    Distances do not change, and |x|² + |y|² − 2xy keeps the digits that a large mean would cost.
    """
    mean = (a.sum(0, dtype=torch.float64) + b.sum(0, dtype=torch.float64)) / (len(a) + len(b))
    return _centred(a, mean), _centred(b, mean)


def _centred(x: Tensor, mean: Tensor) -> Tensor:
    out = torch.empty_like(x, dtype=torch.float32)
    for part, into in zip(parts(x, PART), out.split(PART), strict=True):
        into.copy_(part - mean)
    return out


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances [N, M] of rows by one matrix product; never negative, with round-off of |x|² + |y|²."""
    d = a @ b.T  # then in place: a matrix of |a|² + |b|² beside it would double the memory
    return d.mul_(-2).add_(a.square().sum(1, keepdim=True)).add_(b.square().sum(1)).clamp_(min=0)


def round_off(x: Tensor) -> Tensor:
    """Return how far from 0 the squared distance of a row to its own copy may come out, [N]."""
    return x.square().sum(1) * (32 * torch.finfo(x.dtype).eps)
