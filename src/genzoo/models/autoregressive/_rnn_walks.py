"""The LSTMs of PixelRNN one pixel after another: what the row above adds to the gates is one product a row (`nn.autoregressive.lines`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.nn.autoregressive.lines import Head, Line, Point, with_ones


def gates(*shape: int, like: Tensor) -> tuple[Tensor, ...]:
    """Return memory for gates [..., 4h] and its parts: the three that are opened by σ, output, forget and input gate, what is put in."""
    every = like.new_empty(*shape)
    o, f, i, g = every.chunk(4, -1)
    return every, every[..., : 3 * shape[-1] // 4], o, f, i, g


def cell(memory: tuple[Tensor, ...], before: Tensor, c: Tensor, h: Tensor) -> None:
    """Do one step in place: from gates and the cells before to cells `c` and states `h` (see `_recurrence`)."""
    _, opened, o, f, i, g = memory
    opened.sigmoid_()
    g.tanh_()
    torch.mul(f, before, out=c)
    c.addcmul_(i, g)
    torch.tanh(c, out=h).mul_(o)


class RowSteps:
    """A RowLSTM along a row.

    Args:
        layer: The layer.
        up: The weights of the way back to the features, which end with the bias.
        batch: Images.
        width: Columns.
    """

    def __init__(self, layer: Any, up: Tensor, batch: int, width: int) -> None:
        self.line, self.state, self.up = Line(layer.into, batch, width), layer.state.detach(), up
        self.places, h = self.line.places, layer.width
        self.gates = gates(batch, 4 * h, like=self.state)
        # with a column of zeros on either side; states end with a one, for the bias of the way back
        self.both, self.h_above = (self.state.new_ones(width + 2, batch, h + 1) for _ in range(2))
        self.c, self.c_above = (self.state.new_zeros(width + 2, batch, h) for _ in range(2))
        self.h, self.h_above = self.both[..., :h], self.h_above[..., :h]
        self.h.zero_()
        self.h_above.zero_()
        self.views = [list(t.unbind())[1:] for t in (self.h, self.both, self.c, self.c_above)]

    def begin(self, row: int, told: Tensor | None) -> None:
        """Take in the row above; `told`, [W, B, 4h], is added to the gates."""
        if row:
            self.h_above.copy_(self.h)
            self.c_above.copy_(self.c)
        width = len(self.places)
        above = torch.cat([self.h_above[k : k + width] for k in range(3)], 2) @ self.state
        self.line.begin(row, above if told is None else above + told)

    def at(self, col: int, x: Tensor, out: Tensor) -> None:
        """Write the block's output at a column given its input."""
        hs, both, cs, above = self.views
        torch.addmm(self.line.adds[col], self.line.windows[col], self.line.own, out=self.gates[0])
        cell(self.gates, above[col], cs[col], hs[col])
        torch.addmm(x, both[col], self.up, out=out)


class DiagonalSteps:
    """The half of a DiagonalBiLSTM that runs along a row; the other half, from the right, runs over a whole row: `from_the_right`.

    Args:
        layer: The layer.
        up: The weights of the way back to the features, which end with the bias.
        batch: Images.
        width: Columns, that of the margin with them.
    """

    def __init__(self, layer: Any, up: Tensor, batch: int, width: int) -> None:
        into, self.up, h = Point(layer.into), up, layer.width
        state = layer.state.detach()
        (self.above, beside), (self.right_above, self.right_beside) = state.unflatten(1, (2, h))
        own, self.right_own = into.weight.chunk(2, 1)
        self.bias, self.right_bias = into.bias.chunk(2)
        self.own = torch.cat([own, beside])  # a column's input, and the state to its left
        inputs = own.shape[0]
        self.read = own.new_zeros(width + 1, batch, inputs + h)
        self.places, self.states = list(self.read[:, :, :inputs].unbind()), list(self.read[:, :, inputs:].unbind())
        self.windows = list(self.read.unbind())
        self.inputs, self.left = self.read[:-1, :, :inputs], self.read[1:, :, inputs:]
        self.cells = own.new_zeros(width + 1, batch, h)
        self.cell = list(self.cells.unbind())
        self.add = self.bias.repeat(width, batch, 1)
        self.adds, self.gates = list(self.add.unbind()), gates(batch, 4 * h, like=own)
        self.right = own.new_zeros(width, batch, h)
        self.rights = list(self.right.unbind())
        self.both, self.seen = with_ones(batch, h, own)

    def begin(self, told: Tensor | None) -> None:
        """Take in the states of the row above; `told`, [W, B, 8h], is added to the gates of both halves."""
        self.add.copy_(self.bias + self.left @ self.above + (0 if told is None else told.chunk(2, 2)[0]))

    def at(self, col: int, x: Tensor, out: Tensor) -> None:
        """Write the block's output at a column given its input."""
        torch.addmm(self.adds[col], self.windows[col], self.own, out=self.gates[0])
        cell(self.gates, self.cell[col], self.cell[col + 1], self.states[col + 1])
        torch.add(self.states[col + 1], self.rights[col], out=self.seen)
        torch.addmm(x, self.both, self.up, out=out)


def from_the_right(layers: list[DiagonalSteps], told: list[Tensor | None]) -> None:
    """Run the halves from the right over the row that is complete, all layers in one product: the gates are known."""
    fixed = [
        layer.right_bias + layer.inputs @ layer.right_own + layer.right @ layer.right_above
        + (0 if bias is None else bias.chunk(2, 2)[1])
        for layer, bias in zip(layers, told, strict=True)
    ]  # fmt: skip
    every, weight = torch.stack(fixed, 1), torch.stack([layer.right_beside for layer in layers])  # [W, L, B, 4h]
    memory = gates(*every.shape[1:], like=every)
    h, c = (every.new_zeros(*every.shape[1:3], weight.shape[1]) for _ in range(2))
    states = every.new_empty(len(every), *h.shape)
    for col in reversed(range(len(every))):
        torch.baddbmm(every[col], h, weight, out=memory[0])
        cell(memory, c, c, h)
        states[col] = h
    for i, layer in enumerate(layers):
        layer.right.copy_(states[:, i])


class RNNWalk:
    """The walk of a PixelRNN's `Network` (`lines.Walk`).

    Args:
        net: The network.
        coarse: The image of half the size that it is told, or None.
        batch: Images.
        width: Width of the images.
    """

    def __init__(self, net: Any, coarse: Tensor | None, batch: int, width: int) -> None:
        blocks, self.margin = list(net.blocks), net.margin
        width += self.margin
        self.first, self.head = Line(net.first, batch, width), Head(net.head, net.out, batch)
        self.row, self.width = self.first.row, width
        context = net._context(coarse)
        # [H, W, B, gates] for each block
        self.told = [None if b.told is None else b.told(context).permute(2, 3, 0, 1).contiguous() for b in blocks]
        make = DiagonalSteps if self.margin else RowSteps
        self.layers: list[Any] = [make(b.lstm, Point(b.up, ones=True).weight, batch, width) for b in blocks]
        self.end = net.head.weight.detach().new_empty(batch, net.head.weight.shape[1])
        columns = zip(*(layer.places[:width] for layer in self.layers), [self.end] * width, strict=True)
        self.columns = [list(zip(self.layers, column[:-1], column[1:], strict=True)) for column in columns]

    def _of(self, row: int) -> list[Tensor | None]:
        return [None if told is None else told[row] for told in self.told]

    def begin(self, row: int) -> None:
        """Take in the row above."""
        if self.margin and row:  # complete: now its margin knows all of it, and so do the states from the right
            self.row[:, -1] = 0
            self.at(self.width - 1)
            from_the_right(self.layers, self._of(row - 1))
        self.first.begin(row)
        for layer, told in zip(self.layers, self._of(row), strict=True):
            layer.begin(told) if self.margin else layer.begin(row, told)

    def at(self, col: int) -> Tensor:
        """Return the outputs at a column."""
        first, layers = self.first, self.columns[col]
        torch.addmm(first.adds[col], first.windows[col], first.own, out=layers[0][1])
        for layer, x, out in layers:
            layer.at(col, x, out)
        return self.head(self.end)
