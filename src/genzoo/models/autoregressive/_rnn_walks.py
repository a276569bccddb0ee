"""The LSTMs of PixelRNN pixel by pixel.

Along diagonals pixels come one after another, and what the row above adds to the gates is one product a row (`nn.autoregressive.lines`); from row to
row those of several rows are computed at once (`nn.autoregressive.wavefront`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.nn.autoregressive.lines import Head, Line, Point, with_ones
from genzoo.nn.autoregressive.wavefront import FirstPatches, SkewedMaps, Wavefront, least_lag, reach, reach_of_all


def parts(every: Tensor) -> tuple[Tensor, ...]:
    """Return gates [..., 4h] and their parts: the three that are opened by σ, output, forget and input gate, what is put in."""
    o, f, i, g = every.chunk(4, -1)
    return every, every[..., : 3 * every.shape[-1] // 4], o, f, i, g


def cell(memory: tuple[Tensor, ...], before: Tensor, c: Tensor, h: Tensor) -> None:
    """Do one step in place: from gates and the cells before to cells `c` and states `h` (see `_recurrence`)."""
    _, opened, o, f, i, g = memory
    opened.sigmoid_()
    g.tanh_()
    torch.mul(f, before, out=c)
    c.addcmul_(i, g)
    torch.tanh(c, out=h).mul_(o)


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
        self.adds, self.gates = list(self.add.unbind()), parts(own.new_empty(batch, 4 * h))
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
    memory = parts(torch.empty_like(every[0]))
    h, c = (every.new_zeros(*every.shape[1:3], weight.shape[1]) for _ in range(2))
    states = every.new_empty(len(every), *h.shape)
    for col in reversed(range(len(every))):
        torch.baddbmm(every[col], h, weight, out=memory[0])
        cell(memory, c, c, h)
        states[col] = h
    for i, layer in enumerate(layers):
        layer.right.copy_(states[:, i])


class DiagonalWalk:
    """The walk of a `Network` of DiagonalBiLSTMs (`lines.Walk`).

    Args:
        net: The network.
        coarse: The image of half the size that it is told, or None.
        batch: Images.
        width: Width of the images.
    """

    def __init__(self, net: Any, coarse: Tensor | None, batch: int, width: int) -> None:
        blocks = list(net.blocks)
        width += net.margin
        self.first, self.head = Line(net.first, batch, width), Head(net.head, net.out)
        self.row, self.width = self.first.row, width
        # [H, W, B, gates] for each block
        self.told = [None if told is None else told.permute(2, 3, 0, 1).contiguous() for told in net.told(coarse)]
        self.layers = [DiagonalSteps(b.lstm, Point(b.up, ones=True).weight, batch, width) for b in blocks]
        self.end = net.head.weight.detach().new_empty(batch, net.head.weight.shape[1])
        columns = zip(*(layer.places[:width] for layer in self.layers), [self.end] * width, strict=True)
        self.columns = [list(zip(self.layers, column[:-1], column[1:], strict=True)) for column in columns]

    def _of(self, row: int) -> list[Tensor | None]:
        return [None if told is None else told[row] for told in self.told]

    def begin(self, row: int) -> None:
        """Take in the row above."""
        if row:  # complete: now its margin knows all of it, and so do the states from the right
            self.row[:, -1] = 0
            self.at(self.width - 1)
            from_the_right(self.layers, self._of(row - 1))
        self.first.begin(row)
        for layer, told in zip(self.layers, self._of(row), strict=True):
            layer.begin(told)

    def at(self, col: int) -> Tensor:
        """Return the outputs at a column."""
        first, layers = self.first, self.columns[col]
        torch.addmm(first.adds[col], first.windows[col], first.own, out=layers[0][1])
        for layer, x, out in layers:
            layer.at(col, x, out)
        return self.head(self.end)


class RowWalk:
    """The walk of a `Network` of RowLSTMs (`wavefront.Walk`): nine operations a layer.

    Args:
        net: The network.
        coarse: The image of half the size that it is told, or None.
        batch: Images.
        height: Height of the images.
        width: Width of the images.
    """

    def __init__(self, net: Any, coarse: Tensor | None, batch: int, height: int, width: int) -> None:
        blocks = list(net.blocks)
        like, h, features = net.first.bias.detach(), blocks[0].lstm.width, net.head.weight.shape[1]
        # a state sees the states of the row above one column to the right, and so a column more each row
        far = reach_of_all([reach(net.first), range(height)], height)
        self.front = front = Wavefront(batch, height, width, least_lag(far))
        self.first, self.head = FirstPatches(net.first, front), Head(net.head, net.out)
        self.pixels = self.first.pixels
        self.layers = []
        for block in blocks:
            into = block.lstm.into
            own = (into.weight * into.mask).detach()[:, :, 0, :2].permute(2, 1, 0).flatten(0, 1).contiguous()
            # states end with a one, for the bias of the way back, which the gates do not read
            state = like.new_zeros(3, h + 1, 4 * h)
            state[:, :h] = block.lstm.state.detach().unflatten(0, (3, h))
            self.layers.append((into.bias.detach(), own, state.flatten(0, 1), Point(block.up, ones=True).weight))
        self.inputs = SkewedMaps(front, like, maps=len(blocks), features=features, half=1)
        self.states = SkewedMaps(front, like, maps=len(blocks), features=h + 1, above=1, half=1)
        self.states.memory.unflatten(1, (-1, h + 1))[..., h] = 1
        self.cells = SkewedMaps(front, like, maps=len(blocks), features=h, above=1)
        self.told: SkewedMaps | None = None
        if coarse is not None:
            self.told = SkewedMaps(front, like, maps=len(blocks), features=4 * h, every=True)
            for (bias, *_), told, into in zip(self.layers, net.told(coarse), self.told.whole(), strict=True):
                into.copy_(told.detach().permute(2, 0, 3, 1) + bias)
        self.most = front.most * batch
        self.gates, self.end = like.new_empty(self.most, 4 * h), like.new_empty(self.most, features)

    def begin(self, step: int, rows: range) -> None:
        """Go to a step."""
        for maps in (self.inputs, self.states, self.cells):
            maps.make_room(rows)
        self.now, n = (step, rows), len(rows) * self.front.batch
        inputs, states, cells = self.inputs, self.states, self.cells
        places, h = inputs.window(step, rows), cells.features
        self.x, self.out = places[0], self.end[:n]
        self.memory = parts(self.gates[:n])
        self.views = list(
            zip(
                [bias for bias, *_ in self.layers] if self.told is None else self.told.window(step, rows),
                places,
                inputs.window(step, rows, left=1, columns=2),
                states.window(step, rows, up=1, left=1, columns=3),
                states.window(step, rows),
                [state[:, :h] for state in states.window(step, rows)],
                cells.window(step, rows, up=1),
                cells.window(step, rows),
                [*places[1:], self.out],
                strict=True,
            )
        )

    def at(self) -> Tensor:
        """Return the outputs of the step."""
        memory = self.memory
        self.first(*self.now, out=self.x)
        for views, (_, own, above, up) in zip(self.views, self.layers, strict=True):
            add, x, window, states, both, h, before, c, out = views
            torch.addmm(add, window, own, out=memory[0]).addmm_(states, above)
            cell(memory, before, c, h)
            torch.addmm(x, both, up, out=out)
        return self.head(self.out)
