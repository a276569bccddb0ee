"""Weight normalization: a kernel is a length times a direction (Salimans & Kingma 2016, arXiv:1602.07868).

w = g · v / |v|, one g and one |v| for every output. What a layer computes does not depend on |v|, but how fast it learns does: the
gradient with respect to v is orthogonal to v and falls as 1 / |v|, and Adam, which knows no sizes, moves each of the n entries of v by
about its rate η. So a step turns the kernel by about η √n / |v|: as a plain layer, whose entries are 1 / √n, for |v| = 1, and √n times
less for entries of 1 (17 times for 3x3 kernels of 32 features). As the gradient is orthogonal to v, |v| hardly shrinks: a direction that
starts too long stays so.
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
    norm: Tensor = torch.linalg.vector_norm(direction, dim=others, keepdim=True)
    return direction * (gain.view([-1 if d == outputs else 1 for d in range(direction.ndim)]) / norm)
