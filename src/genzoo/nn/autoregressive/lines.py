"""Masked convolutions one pixel after another, in as few operations as there can be.

What the rows above add to a row's outputs is one product for the whole row; a pixel adds its own taps to that, which lie side by side in memory.
All memory is laid out before the first pixel, and all that a pixel reads and writes are views of it. Sums are taken in another order than in a
parallel pass, so outputs are apart by rounding.

Shapes: a *column* is all features of one pixel, [B, C].
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from genzoo.nn.autoregressive.masked import MaskedConv2d


class Walk(Protocol):
    """A pass over images in raster order that computes only what each pixel adds; the weights must not change meanwhile."""

    row: Tensor
    """The pixels of the row that is walked along, [B, W, C]: written from outside, as far as they are known."""

    def begin(self, row: int) -> None:
        """Take in the row above, whose pixels are complete, before the new row's are written."""

    def at(self, col: int) -> Tensor:
        """Return the outputs [B, C·K] at a column, given the pixels of `row` before it and its own colours before; as often as they change."""


class Line:
    """A masked convolution along a row.

    Args:
        conv: The convolution.
        batch: Images.
        width: Columns of a row.
        scale: Multiplies the outputs, [outputs], as a kernel that is scaled would.
    """

    def __init__(self, conv: MaskedConv2d, batch: int, width: int, scale: Tensor | None = None) -> None:
        weight, bias = (conv.weight * conv.mask).detach(), conv.bias.detach()
        if scale is not None:
            weight, bias = weight * scale[:, None, None, None], bias * scale
        inputs, self.kernel, half, self.bias = weight.shape[1], conv.kernel, conv.kernel // 2, bias
        self.weight_above = weight[:, :, :-1].permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        # [columns · inputs, outputs]: the order in which a window of the kept inputs flattens
        self.own = weight[:, :, -1, : half + 1].permute(2, 1, 0).flatten(0, 1).contiguous()
        kept = weight.new_zeros(batch, half + width, inputs)
        self.row, flat = kept[:, half:], kept.flatten(1)
        self.places = list(self.row.unbind(1))
        """Where the input of each column belongs, [B, inputs]."""
        self.windows = [flat[:, col * inputs : (col + half + 1) * inputs] for col in range(width)]
        """What the own taps of each column see, [B, columns · inputs]."""
        self.rows = [weight.new_zeros(width + 2 * half, batch, inputs) for _ in range(conv.rows - 1)]
        self.inside = slice(half, half + width)
        self.add = bias.repeat(width, batch, 1)
        self.adds = list(self.add.unbind())
        """What is added to the own taps' product at each column, [B, outputs]: all that the row's beginning knows."""

    def begin(self, row: int, more: Tensor | None = None) -> None:
        """Take in the row above and find what it adds; `more`, [W, B, outputs], is added to it."""
        if self.rows and row:
            oldest, *newer = self.rows
            oldest[self.inside] = self.row.transpose(0, 1)
            self.rows, width = [*newer, oldest], len(self.add)
            seen = torch.cat([each[k : k + width] for each in self.rows for k in range(self.kernel)], 2)
            torch.addmm(self.bias, seen.flatten(0, 1), self.weight_above, out=self.add.flatten(0, 1))
            if more is not None:
                self.add.add_(more)
        elif more is not None:
            torch.add(more, self.bias, out=self.add)


class Point:
    """A masked convolution of one pixel: a product, into the same memory for every pixel.

    Args:
        conv: The convolution, 1x1.
        ones: Its input ends with a column of ones, for its bias.
        scale: Multiplies the inputs' weights.
    """

    def __init__(self, conv: MaskedConv2d, *, ones: bool = False, scale: float = 1.0) -> None:
        self.weight = ((conv.weight * conv.mask)[:, :, 0, 0].T * scale).detach().contiguous()
        self.bias = conv.bias.detach()
        if ones:
            self.weight = torch.cat([self.weight, self.bias[None]])


def with_ones(batch: int, features: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return memory for a column and a one after it, [B, features + 1], and the column's part of it."""
    both = like.new_ones(batch, features + 1)
    return both, both[:, :features]


class Head:
    """ReLU and a 1x1 convolution, twice.

    Args:
        first: The first convolution.
        second: The second.
    """

    def __init__(self, first: MaskedConv2d, second: MaskedConv2d) -> None:
        self.first, self.second = Point(first), Point(second)

    def __call__(self, x: Tensor) -> Tensor:
        """Map a column to the outputs."""
        hidden = torch.addmm(self.first.bias, x.clamp_min(0), self.first.weight).relu_()
        return torch.addmm(self.second.bias, hidden, self.second.weight)
