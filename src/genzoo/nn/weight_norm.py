"""Weight normalization: a kernel is a length times a direction (Salimans & Kingma 2016, arXiv:1602.07868).

w = g · v / |v|, one g and one |v| for every output. The output does not depend on |v|, but how fast it learns does: the gradient
with respect to v is orthogonal to v and falls as 1 / |v|, and Adam, which knows no sizes, moves every entry of v by about its
rate η. So a step turns the kernel by about η / r, r being the root mean square of the entries, where a plain layer, whose
entries are 1 / √fan-in, turns by η · √fan-in: a start at unit entries makes 3x3 kernels of 32 channels learn 17 times as slowly
as the rate says. And as each step is orthogonal to v, |v| can only grow: r² ≈ r₀² + η² t. A small start sets its own pace (a turn
of about 1 / √t); a large one never comes back.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def start_direction(shape: tuple[int, ...], outputs: int = 0) -> nn.Parameter:
    """Draw v from N(0, 1 / fan-in): of length about 1 for every output, so that Adam turns it as it would turn a plain layer.

    Args:
        shape: Shape of the kernel.
        outputs: Dimension of the kernel that counts the outputs.
    """
    return nn.Parameter(torch.randn(shape) * math.sqrt(shape[outputs] / math.prod(shape)))


def normalized(direction: Tensor, gain: Tensor, outputs: int = 0) -> Tensor:
    """Return the kernel g · v / |v|.

    Args:
        direction: v, the shape of the kernel.
        gain: g, one value for every output.
        outputs: Dimension of the kernel that counts the outputs.
    """
    others = [d for d in range(direction.ndim) if d != outputs]
    norm = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
    return direction * (gain.view([-1 if d == outputs else 1 for d in range(direction.ndim)]) / norm)
