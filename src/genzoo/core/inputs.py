"""The range of the values that every system takes: what lies outside is refused in words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError


def check_range(x: Tensor) -> None:
    """Refuse images, sounds, clips or voxels with values outside [-1, 1]; what is scored or kept would not be what was given."""
    if x.ndim < 3 or not x.numel() or torch.compiler.is_compiling():  # points have any values; an export looks at none
        return
    low, high = (float(v) for v in x.detach().aminmax())
    if low < -1.001 or high > 1.001:
        raise UserError(
            f"values from {low:.4g} to {high:.4g} were given; they lie in [-1, 1]: give x / 127.5 - 1 for 0 to 255"
        )


def within_range(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a method of data `x` refuse values out of range."""

    @functools.wraps(method)
    def checked(self: Any, x: Tensor, *args: Any, **kw: Any) -> Tensor:
        check_range(x)
        return method(self, x, *args, **kw)

    return checked
