"""Maxout layers (arXiv:1302.4389): each unit is the largest of several linear functions of its input."""

from __future__ import annotations

from torch import Tensor, nn


class Maxout(nn.Module):
    """h_i(x) = max_j (x W_ij + b_ij): a learned convex, piecewise linear activation.

    Args:
        inputs: Input size.
        units: Output size.
        pieces: Linear functions for each unit.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs] to [B, units]."""
        values: Tensor = self.linear(x).unflatten(1, (-1, self.pieces))
        return values.amax(2)
