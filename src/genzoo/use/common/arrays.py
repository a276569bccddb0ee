"""What people hand over from Python as images: tensors and arrays, floats and bytes, in one form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System

FARTHEST = 2.0
"""Values beyond this are no rounding error of [-1, 1] but another range."""


def as_tensor(images: Any, verb: str) -> Tensor:
    """Turn images, sounds or points into a float tensor: arrays are taken as well, and bytes 0..255 are brought to [-1, 1].

    Raises:
        UserError: It is neither a tensor nor an array of numbers, or its values are of another range.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "fiub":
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        raise UserError(
            f"{verb}: images are a tensor or an array [N, C, H, W] in [-1, 1], not a {type(images).__name__}"
        )
    if images.dtype == torch.uint8:
        return images.float().div(127.5).sub(1)
    if not images.is_floating_point():
        raise UserError(f"{verb}: images of {images.dtype} have no known range; give floats in [-1, 1] or uint8")
    x = images.detach().float()
    if x.ndim > 2 and x.numel() and not x.abs().max() <= FARTHEST:  # points have any range; NaN fails as well
        low, high = x.min().item(), x.max().item()
        raise UserError(f"{verb}: values go from {low:g} to {high:g}; give floats in [-1, 1] or uint8")
    return x


@contextmanager
def shape_is_said(x: Tensor, system: System, verb: str) -> Iterator[None]:
    """Put into words what networks cannot do with examples [N, ...] of another shape than theirs; some can, and are let.

    Raises:
        UserError: They could not.
    """
    shape = tuple(system.hparams.get("shape", ()))
    wrong = UserError(
        f"{verb}: shape {list(x.shape)} is not possible; this system takes [N, {', '.join(map(str, shape))}]"
    )
    if shape and x.ndim != len(shape) + 1:  # a dense network would take the channels for examples
        raise wrong
    try:
        yield
    except (RuntimeError, IndexError, ValueError):
        if not shape or tuple(x.shape[1:]) == shape:
            raise
        raise wrong from None
