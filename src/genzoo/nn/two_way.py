"""Translation between two domains by a generator for each direction: `translate`, borrowed by name in class bodies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.nn.checks import check_direction, check_divisible


@torch.no_grad()
def translate(self: Any, x: Tensor, *, direction: str = "a2b") -> Tensor:
    """Return the translation of `x` [B, C, H, W] in [-1, 1], of the same height and width, which are multiples of `self.multiple`.

    Raises:
        UserError: The direction or the size is not possible.
    """
    check_direction(direction, self.directions)
    check_divisible(x, self.multiple)
    translated: Tensor = (self.a2b if direction == "a2b" else self.b2a)(x)
    return translated.float().contiguous()
