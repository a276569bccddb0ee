"""PixelCNN++ one pixel after another: what rows above add is one product a row, a pixel costs eight operations a block.

Both streams see the row above whole: for the stream of rows it is all that there is to see, so it runs over the new row at once; for that of pixels
everything that does not depend on the row's own pixels, short cuts from the other stream among it, is added up before the first of them. Coarse grids
do the same where they have a row, and a pixel where they have one. All memory is laid out before the first pixel, and what a pixel reads lies side by
side in it. Sums are taken in another order than in a parallel pass, so outputs are apart by rounding.

Shapes: a *column* is all features of one pixel, [B, S]; a row is [B·(W + 1), S], in which a column of zeros ends each image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

elu_into: Any = torch.ops.aten.elu.out


class Lane:
    """A row of columns whose neighbours are views of the same memory.

    Args:
        batch: Images.
        width: Columns.
        features: Numbers of a column.
        like: Device and precision.
    """

    def __init__(self, batch: int, width: int, features: int, like: Tensor) -> None:
        apart = width + 1
        flat = like.new_zeros(batch * apart + 2, features)
        self.shifted = [flat[k : k + batch * apart] for k in range(3)]
        """The columns to the left of each, they themselves, and those to the right."""
        self.gaps = flat[apart::apart]
        columns = self.shifted[1].view(batch, apart, features)[:, :width]
        self.row, self.places = columns, columns.unbind(1)
        seen = self.shifted[0].view(batch, apart * features)
        self.windows = [seen[:, col * features : (col + 2) * features] for col in range(width)]
        """The column to the left and each itself, [B, 2·features]."""


class Signed:
    """Features and their negatives side by side, of which ELU makes what a layer reads."""

    def __init__(self, both: Tensor) -> None:
        self.both = both
        self.plus, self.minus = both.chunk(2, -1)


def laid(weight: Tensor) -> Tensor:
    """Return weights [..., inputs, outputs] with the inputs of an output side by side: as fast on some processors, and a third faster on others."""
    return weight.transpose(-1, -2).contiguous().transpose(-1, -2)


def signed(weight: Tensor) -> Tensor:
    """Return weights [..., outputs] that give their outputs and the negatives of them."""
    return torch.cat([weight, -weight], -1)


class Taps:
    """A convolution of two rows: what the row above and what its own row add to each column.

    Args:
        conv: The convolution, no column of which is to the right.
        lane: What it reads, some features of it.
        first: The first of these features.
        twice: Give the negatives of the outputs as well.
        moved: Columns to the right by which the inputs are shifted.
    """

    def __init__(self, conv: Any, lane: Lane, first: int = 0, *, twice: bool = False, moved: int = 0) -> None:
        kernel, bias = of(conv, lane.row)
        weight = kernel.permute(2, 3, 1, 0)  # [rows, columns, inputs, outputs]
        self.weight, bias = (laid(signed(weight)), signed(bias)) if twice else (laid(weight), bias)
        start, inputs = 1 - conv.left - moved, kernel.shape[1]
        assert start >= 0, "a lane knows the next columns only"
        self.seen = [each[:, first : first + inputs] for each in lane.shifted[start : start + conv.columns]]
        self.bias = bias
        self.add = bias.repeat(len(self.seen[0]), 1)
        """What is known before the row begins, [B·(W + 1), outputs]."""
        columns = self.add.view(lane.row.shape[0], -1, len(bias)).unbind(1)
        self.adds = columns[: len(lane.places)]

    def above(self, bias: Tensor | None = None) -> None:
        """Begin with what is in the lane as the row above; `bias` in place of the convolution's own."""
        self.add.copy_((self.bias if bias is None else bias).expand_as(self.add))
        for seen, weight in zip(self.seen, self.weight[0], strict=True):
            self.add.addmm_(seen, weight)

    def window(self, features: int, first: int) -> Tensor:
        """Return the own row's weights as they meet a window of the lane's columns of so many features, [2·features, outputs]."""
        _, columns, inputs, outputs = self.weight.shape
        window = self.weight.new_zeros(2, features, outputs)
        window[2 - columns :, first : first + inputs] = self.weight[-1]
        return window.flatten(0, 1)


def of(conv: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kernel and the bias of a convolution in the precision of `like`."""
    return conv.kernel(like.dtype).detach(), conv.bias.detach().to(like.dtype)


# ---- the stream of rows ----------------------------------------------------------------------------------------------


class RowTaps:
    """A convolution of two rows over a row at a time: what it adds to its own and what it adds to the next one in one product.

    Args:
        conv: The convolution, 3 columns wide.
        batch: Images.
        width: Columns.
        like: Device and precision.
        more: Added to the bias.
    """

    def __init__(self, conv: Any, batch: int, width: int, like: Tensor, more: Tensor | None = None) -> None:
        kernel, bias = of(conv, like)
        # [columns, inputs, outputs of the own row and of the next]
        self.both = laid(kernel.flip(2).permute(3, 1, 2, 0).flatten(2))
        self.own, self.next = self.both.chunk(2, 2)
        self.bias = bias if more is None else bias + more
        self.add = self.bias.repeat(batch * (width + 1), 1)
        """What is known of the row that comes, [B·(W + 1), outputs]."""

    def __call__(self, lane: Lane, memory: Tensor, out: Tensor) -> None:
        """Write the outputs of a row, and keep what it adds to the next one; `memory` is of at least twice the outputs."""
        outputs = len(self.bias)
        both = memory[:, : 2 * outputs]
        first, *others = zip(lane.shifted, self.both, strict=True)
        torch.mm(*first, out=both)
        for seen, weight in others:
            both.addmm_(seen, weight)
        torch.add(self.add, both[:, :outputs], out=out)
        torch.add(self.bias, both[:, outputs:], out=self.add)

    def part(self, lane: Lane, *, next_row: bool) -> Tensor:
        """Add to what is known what a row adds to itself, or begin the next one with what it adds to that; return it."""
        if next_row:
            self.add.copy_(self.bias.expand_as(self.add))
        for seen, weight in zip(lane.shifted, self.next if next_row else self.own, strict=True):
            self.add.addmm_(seen, weight)
        return self.add


class RowBlock:
    """A `GatedBlock` over a row.

    Args:
        block: The block.
        x: What it reads.
        kept: Its short cut, or None.
        memory: What the blocks of a resolution use one after the other.
    """

    def __init__(self, block: Any, x: Lane, kept: Lane | None, memory: RowMemory) -> None:
        batch, width, features = x.row.shape
        self.x, self.memory, self.side, more = x, memory, None, None
        if kept is not None:
            kernel, bias = of(block.side, x.row)
            self.side, more = (kept.shifted[1], laid(kernel[:, :, 0, 0].T)), bias
        self.look = RowTaps(block.look, batch, width, x.row, more)
        self.gate = RowTaps(block.gate, batch, width, x.row)
        self.out = Lane(batch, width, features, x.row)

    def run(self) -> None:
        """Compute the row: add to the features in `memory.x`, and write them to `out`, where layers read them."""
        memory, hidden = self.memory, self.memory.hidden
        self.look(self.x, memory.products, hidden.plus)
        if self.side is not None:
            hidden.plus.addmm_(*self.side)
        memory.read(hidden, memory.lane)
        self.gate(memory.lane, memory.products, memory.gates)
        memory.open.sigmoid_()
        memory.x.plus.addcmul_(memory.content, memory.open)
        memory.read(memory.x, self.out)


class RowMemory:
    """What the blocks of one resolution use one after the other: features, hidden features and where they are read, gates, products."""

    def __init__(self, batch: int, width: int, features: int, like: Tensor) -> None:
        self.lane = Lane(batch, width, 2 * features, like)
        flat = self.lane.shifted[1]
        self.x, self.hidden = Signed(torch.zeros_like(flat)), Signed(torch.zeros_like(flat))
        self.gates, self.products = torch.empty_like(flat), flat.new_empty(len(flat), 4 * features)
        self.content, self.open = self.gates.chunk(2, 1)
        self.below = flat.new_empty(len(flat), features)

    def read(self, x: Signed, lane: Lane) -> None:
        """Write what was put into `x.plus` to where layers read it."""
        torch.neg(x.plus, out=x.minus)
        torch.minimum(x.plus, x.minus, out=self.below)
        self.below.exp_().sub_(1)
        for each, into in zip((x.plus, x.minus), lane.shifted[1].chunk(2, 1), strict=True):
            torch.maximum(each, self.below, out=into)
        lane.gaps.zero_()


class RowLevel:
    """One resolution of the stream of rows, and the coarser ones within it.

    Args:
        stream: The stream.
        level: How often the images have been halved.
        batch: Images.
        width: Columns at this resolution.
        like: Device and precision.
    """

    def __init__(self, stream: Any, level: int, batch: int, width: int, like: Tensor) -> None:
        features = stream.down[0][0].look.direction.shape[0]
        self.level, self.width, self.memory = level, width, RowMemory(batch, width, features, like)
        self.x = x = Lane(batch, width, 2 * features, like)
        kept, self.down, self.up = [x], [], []
        self.given: dict[int, Lane] = {}
        """What each block gives, by its number."""
        for block in stream.down[level]:
            self.down.append(RowBlock(block, x, None, self.memory))
            x = self.given[block.index] = self.down[-1].out
            kept.append(x)
        self.inner: RowLevel | None = None
        if level + 1 < len(stream.down):
            self.inner = RowLevel(stream, level + 1, batch, -(-width // 2), like)
            self.raw, self.coarse = (Lane(batch, w, features, like) for w in (width, self.inner.width))
            self.shrink = RowTaps(stream.shrink[level], batch, width, like)
            kernel, bias = of(stream.grow[level], like)
            # a coarse column gives the two fine ones at it, [rows, inputs, columns · outputs], and helps the one to the left of it
            weight, nothing = kernel.permute(2, 3, 0, 1), like.new_zeros(2, features, features)
            self.at = laid(torch.cat([weight[:, 1], weight[:, 2]], -1))
            self.right = laid(torch.cat([nothing, weight[:, 0]], -1))
            self.bias, x = bias.repeat(2), Lane(batch, width, 2 * features, like)
        else:
            kept.pop()
        self.grown = x
        for block in stream.up[level]:
            self.up.append(RowBlock(block, x, kept.pop(), self.memory))
            x = self.given[block.index] = self.up[-1].out

    def run(self, row: int) -> None:
        """Compute a row of this resolution from the features in `memory.x.plus`."""
        memory, x = self.memory, self.memory.x
        memory.read(x, self.x)
        for block in self.down:
            block.run()
        if self.inner is not None:
            self.raw.shifted[1].copy_(x.plus)
            self.raw.gaps.zero_()
            every = self.shrink.part(self.raw, next_row=bool(row % 2))
            if row % 2 == 0:
                self._through(self.inner, row // 2, every)
            # two columns for each coarse one
            batch, features = len(self.raw.gaps), self.raw.row.shape[2]
            fine = self.fine[row % 2].view(batch, -1, features)
            x.plus.view(batch, -1, features).copy_(fine[:, : self.width + 1])
            memory.read(x, self.grown)
        for block in self.up:
            block.run()

    def _through(self, inner: RowLevel, row: int, every: Tensor) -> None:
        """Compute the coarser row from every second of the columns that were shrunk, and the two rows that it gives."""
        batch, features = len(self.raw.gaps), self.raw.row.shape[2]
        inner_x = inner.memory.x.plus
        inner_x.view(batch, -1, features)[:, :-1].copy_(every.view(batch, -1, features)[:, : self.width : 2])
        inner.run(row)
        self.coarse.shifted[1].copy_(inner_x)
        self.coarse.gaps.zero_()
        _, at, right = self.coarse.shifted
        self.fine = [torch.addmm(self.bias, at, a).addmm_(right, b) for a, b in zip(self.at, self.right, strict=True)]


# ---- the stream of pixels --------------------------------------------------------------------------------------------


class Pair:
    """The lane that a block on the way down and the one on the way up that has its short cut share: [what the first reads, what the second reads].

    In it the second's window lies side by side: what it read to the left, the short cut, what it reads.
    """

    def __init__(self, batch: int, width: int, features: int, like: Tensor) -> None:
        self.lane = Lane(batch, width, 4 * features, like)
        halves = [place.chunk(2, 1) for place in self.lane.places]
        self.firsts, self.seconds = zip(*halves, strict=True)


class PixelBlock:
    """A `GatedBlock` along a row.

    Args:
        block: The block.
        pair: Where its inputs lie, those of the other block too.
        up: It is the second of the pair, and takes what the first reads as a short cut.
        above: What the block of this number of the other stream gives, the other short cut.
    """

    def __init__(self, block: Any, pair: Pair, above: Lane, *, up: bool) -> None:
        like, size = pair.lane.row, pair.lane.row.shape[2]
        width = size // 4
        first = 2 * width if up else 0
        self.look = Taps(block.look, pair.lane, first)
        self.hidden = Lane(like.shape[0], like.shape[1], 2 * width, like)
        self.gate = Taps(block.gate, self.hidden)
        kernel, bias = of(block.side, like)
        side = kernel[:, :, 0, 0].T.unflatten(0, (2, -1, width))  # [signs, short cuts, width, outputs]
        self.bias, self.above, self.shared = self.look.bias + bias, laid(side[:, 0].flatten(0, 1)), above.shifted[1]
        window = self.look.window(size, first)
        if up:
            window[size : size + first] = side[:, 1].flatten(0, 1)
        used = slice(first, size + first + 2 * width)
        self.own_look, self.own_gate = laid(window[used]), laid(self.gate.window(2 * width, 0))
        self.gates = like.new_empty(like.shape[0], 2 * width)
        self.content, self.open = self.gates.chunk(2, 1)
        places = pair.seconds if up else pair.firsts
        windows = [each[:, used] for each in pair.lane.windows]
        hidden = [Signed(place) for place in self.hidden.places]
        self.columns = list(
            zip(
                places, self.look.adds, windows, hidden, self.gate.adds, self.hidden.windows,
                strict=True,
            )
        )  # fmt: skip

    def begin(self) -> None:
        """Take in the row above, which the lanes hold, and the row of the other stream."""
        self.look.above(self.bias)
        self.look.add.addmm_(self.shared, self.above)
        self.gate.above()

    def at(self, col: int, x: Signed, out: Signed) -> None:
        """Write the output at a column given the input."""
        place, add, window, hidden, gate_add, gate_window = self.columns[col]
        elu_into(x.both, out=place)
        torch.addmm(add, window, self.own_look, out=hidden.plus)
        torch.neg(hidden.plus, out=hidden.minus)
        elu_into(hidden.both, out=hidden.both)
        torch.addmm(gate_add, gate_window, self.own_gate, out=self.gates)
        self.open.sigmoid_()
        torch.addcmul(x.plus, self.content, self.open, out=out.plus)
        torch.neg(out.plus, out=out.minus)


class PixelLevel:
    """One resolution of the stream of pixels, and the coarser ones within it.

    Args:
        stream: The stream.
        rows: The other stream at this resolution.
        batch: Images.
        like: Device and precision.
    """

    def __init__(self, stream: Any, rows: RowLevel, batch: int, like: Tensor) -> None:
        level, width = rows.level, rows.width
        features = stream.down[0][0].look.direction.shape[0]
        self.x = Signed(like.new_empty(batch, 2 * features))
        self.y = Signed(like.new_empty(batch, 2 * features))
        pairs = [Pair(batch, width, features, like) for _ in stream.up[level]]
        downs, ups = list(stream.down[level]), list(stream.up[level])
        order = list(reversed(pairs))[: len(downs)]  # the last short cut is taken first
        self.down = [PixelBlock(b, pair, rows.given[b.index], up=False) for b, pair in zip(downs, order, strict=True)]
        self.up = [PixelBlock(b, pair, rows.given[b.index], up=True) for b, pair in zip(ups, pairs, strict=True)]
        self.inner: PixelLevel | None = None
        if rows.inner is not None:
            self.inner, self.shorts = PixelLevel(stream, rows.inner, batch, like), pairs[0].firsts
            raw = Lane(batch, width, 2 * features, like)
            self.ends = [Signed(place) for place in raw.places]
            self.shrink, self.windows = Taps(stream.shrink[level], raw, twice=True), raw.windows
            self.own = laid(self.shrink.window(2 * features, 0))
            kernel, bias = of(stream.grow[level], like)
            self.grow, self.bias = laid(signed(kernel.permute(0, 2, 3, 1)).flatten(1)), signed(bias).repeat(4)
            # of each coarse column the block of four, features and negatives, of which a row has two
            blocks = like.new_empty(rows.inner.width, batch, 8 * features)
            self.blocks = blocks.unbind()
            self.grown = [
                [
                    Signed(blocks[col // 2, :, (2 * p + col % 2) * 2 * features :][:, : 2 * features])
                    for col in range(width)
                ]
                for p in range(2)
            ]

    def begin(self, row: int) -> None:
        """Take in the row above."""
        for block in (*self.down, *self.up):
            block.begin()
        self.even = row % 2 == 0
        if self.inner is not None and self.even:
            self.shrink.above()
            self.inner.begin(row // 2)

    def at(self, col: int) -> Signed:
        """Return the output at a column given the input in `x`."""
        x, inner = self.x, self.inner
        for block in self.down[:-1]:
            block.at(col, x, self.y)
            x = self.y
        if inner is None:
            self.down[-1].at(col, x, self.y)
            x = self.y
        else:
            end, half = self.ends[col], col // 2
            self.down[-1].at(col, x, end)
            elu_into(end.both, out=self.shorts[col])
            if self.even and col % 2 == 0:
                torch.addmm(self.shrink.adds[col], self.windows[col], self.own, out=inner.x.both)
                torch.addmm(self.bias, inner.at(half).plus, self.grow, out=self.blocks[half])
            x = self.grown[not self.even][col]
        for block in self.up:
            block.at(col, x, self.y)
            x = self.y
        return x


class ShiftedWalk:
    """The walk of a `Network`, up to its last layer, which is `_mixture_draw`'s (for the rest see `nn.autoregressive.lines.Walk`).

    Args:
        net: The network, in eval mode; its weights must not change meanwhile.
        batch: Images.
        width: Width of the images.
        like: Device and precision.
    """

    row: Tensor
    """The pixels of the row that is walked along, [B, W, C]."""

    def __init__(self, net: Any, batch: int, width: int, like: Tensor) -> None:
        colours = net.first_rows.direction.shape[1] - 1
        self.lane, self.begun = Lane(batch, width, colours + 1, like), False
        self.row = self.lane.row[..., :-1]
        self.first = RowTaps(net.first_rows, batch, width, like)
        self.rows = RowLevel(net.rows, 0, batch, width, like)
        self.pixels = PixelLevel(net.pixels, self.rows, batch, like)
        # of the first layer of this stream only the tap to the left is in the pixel's own row
        self.left = Taps(net.first_left, self.lane, twice=True, moved=1)
        kernel, bias = of(net.first_above, like)
        self.above = [signed(tap).contiguous() for tap in kernel[:, :, 0].permute(2, 1, 0)]
        self.bias = self.left.bias + signed(bias)
        self.befores = self.lane.shifted[0].view(batch, width + 1, -1).unbind(1)
        self.own = self.left.weight[1, 0]
        self.read = like.new_empty(batch, net.out.direction.shape[1])

    def begin(self, row: int) -> None:
        """Take in the row above."""
        self.rows.memory.x.plus.copy_(self.first.part(self.lane, next_row=False))
        self.first.part(self.lane, next_row=True)
        self.rows.run(row)
        self.left.above(self.bias)
        for seen, weight in zip(self.lane.shifted, self.above, strict=True):
            self.left.add.addmm_(seen, weight)
        self.pixels.begin(row)
        if row == 0:
            self.lane.row[..., -1] = 1  # tells the border, where it is zero, from gray

    def at(self, col: int) -> Tensor:
        """Return what the last layer reads at a column, [B, width]."""
        torch.addmm(self.left.adds[col], self.befores[col], self.own, out=self.pixels.x.both)
        elu_into(self.pixels.at(col).plus, out=self.read)
        return self.read
