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

from genzoo.losses.likelihoods import pick

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


def signed(weight: Tensor) -> Tensor:
    """Return weights [..., outputs] that give their outputs and the negatives of them."""
    return torch.cat([weight, -weight], -1)


class Taps:
    """A convolution of two rows: what the row above and what its own row add to each column.

    Args:
        conv: The convolution, 2 or 3 columns wide.
        lane: What it reads, some features of it.
        first: The first of these features.
        twice: Give the negatives of the outputs as well.
        moved: Columns to the right by which the inputs are shifted.
    """

    def __init__(self, conv: Any, lane: Lane, first: int = 0, *, twice: bool = False, moved: int = 0) -> None:
        kernel, bias = of(conv, lane.row)
        weight = kernel.permute(2, 3, 1, 0)  # [rows, columns, inputs, outputs]
        self.weight, bias = (signed(weight), signed(bias)) if twice else (weight.contiguous(), bias)
        start, inputs = 1 - conv.left - moved, kernel.shape[1]
        assert start >= 0, "a lane knows the next columns only"
        self.seen = [each[:, first : first + inputs] for each in lane.shifted[start : start + conv.columns]]
        self.bias = bias
        self.add = bias.repeat(len(self.seen[0]), 1)
        """What is known before the row begins, [B·(W + 1), outputs]."""
        columns = self.add.view(lane.row.shape[0], -1, len(bias)).unbind(1)
        self.adds = columns[: len(lane.places)]

    def _added(self, row: int, out: Tensor) -> Tensor:
        for seen, weight in zip(self.seen, self.weight[row], strict=True):
            out.addmm_(seen, weight)
        return out

    def above(self, bias: Tensor | None = None) -> None:
        """Begin with what is in the lane as the row above; `bias` in place of the convolution's own."""
        self.add.copy_((self.bias if bias is None else bias).expand_as(self.add))
        self._added(0, self.add)

    def own(self) -> Tensor:
        """Add what is in the lane as the row itself."""
        return self._added(-1, self.add)

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


class RowFeatures(Signed):
    """Features of a row, and the lane in which layers read them."""

    def __init__(self, batch: int, width: int, features: int, like: Tensor) -> None:
        self.lane = Lane(batch, width, 2 * features, like)
        super().__init__(torch.empty_like(self.lane.shifted[1]))

    def settle(self) -> None:
        """Write what was put into `plus` to where layers read."""
        torch.neg(self.plus, out=self.minus)
        elu_into(self.both, out=self.lane.shifted[1])
        self.lane.gaps.zero_()


class RowBlock:
    """A `GatedBlock` over a row.

    Args:
        block: The block.
        x: What it reads.
        kept: Its short cut, or None.
        out: What it gives.
    """

    def __init__(self, block: Any, x: RowFeatures, kept: RowFeatures | None, out: RowFeatures) -> None:
        like = x.lane.row
        self.x, self.out = x, out
        self.look = Taps(block.look, x.lane)
        self.hidden = RowFeatures(like.shape[0], like.shape[1], like.shape[2] // 2, like)
        self.gate = Taps(block.gate, self.hidden.lane)
        self.content, self.open = self.gate.add.chunk(2, 1)
        self.bias, self.side = self.look.bias, None
        if kept is not None:
            kernel, bias = of(block.side, like)
            self.side, self.bias = (kept.lane.shifted[1], kernel[:, :, 0, 0].T.contiguous()), self.bias + bias

    def above(self) -> None:
        """Take in the row above, which the lanes hold."""
        self.look.above(self.bias)
        self.gate.above()

    def run(self) -> None:
        """Compute the row."""
        if self.side is not None:
            self.look.add.addmm_(*self.side)
        self.hidden.plus.copy_(self.look.own())
        self.hidden.settle()
        self.gate.own()
        self.open.sigmoid_()
        torch.addcmul(self.x.plus, self.content, self.open, out=self.out.plus)
        self.out.settle()


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
        self.level, self.width = level, width

        def new() -> RowFeatures:
            return RowFeatures(batch, width, features, like)

        self.x = x = new()
        kept, self.given = [x], {}
        self.down: list[RowBlock] = []
        for block in stream.down[level]:
            kept.append(new())
            self.down.append(RowBlock(block, x, None, kept[-1]))
            x = self.given[block.index] = kept[-1]
        self.inner: RowLevel | None = None
        if level + 1 < len(stream.down):
            self.inner = RowLevel(stream, level + 1, batch, -(-width // 2), like)
            self.raw = Lane(batch, width, features, like)
            self.shrink = Taps(stream.shrink[level], self.raw)
            self.coarse = Lane(batch, self.inner.width, features, like)
            kernel, bias = of(stream.grow[level], like)
            # a coarse column gives the two fine ones at it, [rows, columns, inputs, outputs], and helps the one to the left of it
            weight, nothing = kernel.permute(2, 3, 0, 1), like.new_zeros(2, features, features)
            self.at = torch.cat([weight[:, 1], weight[:, 2]], -1)
            self.right = torch.cat([nothing, weight[:, 0]], -1)
            self.bias, x = bias.repeat(2), new()
        else:
            kept.pop()
        self.grown = x
        self.up: list[RowBlock] = []
        for block in stream.up[level]:
            out = self.given[block.index] = new()
            self.up.append(RowBlock(block, x, kept.pop(), out))
            x = out
        self.out = x

    def run(self, row: int) -> None:
        """Compute a row of this resolution from `x.plus`."""
        for block in (*self.down, *self.up):
            block.above()
        if self.inner is not None and row % 2 == 0:
            self.shrink.above()
        self.x.settle()
        for block in self.down:
            block.run()
        if self.inner is not None:
            last = self.down[-1].out.plus
            self.raw.shifted[1].copy_(last)
            self.raw.gaps.zero_()
            if row % 2 == 0:
                self._through(self.inner, row // 2)
            self._take(row % 2)
            self.grown.settle()
        for block in self.up:
            block.run()

    def _through(self, inner: RowLevel, row: int) -> None:
        batch, features = len(self.raw.gaps), self.raw.row.shape[2]
        every = self.shrink.own().view(batch, -1, features)[:, : self.width : 2]
        inner.x.plus.view(batch, -1, features)[:, :-1].copy_(every)
        inner.run(row)
        self.coarse.shifted[1].copy_(inner.out.plus)
        self.coarse.gaps.zero_()
        _, at, right = self.coarse.shifted
        self.fine = [torch.addmm(self.bias, at, a).addmm_(right, b) for a, b in zip(self.at, self.right, strict=True)]

    def _take(self, parity: int) -> None:
        batch, features = len(self.raw.gaps), self.raw.row.shape[2]
        fine = self.fine[parity].view(batch, -1, features)  # two columns for each coarse one
        self.grown.plus.view(batch, -1, features).copy_(fine[:, : self.width + 1])


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

    def __init__(self, block: Any, pair: Pair, above: RowFeatures, *, up: bool) -> None:
        like, size = pair.lane.row, pair.lane.row.shape[2]
        width = size // 4
        first = 2 * width if up else 0
        self.look = Taps(block.look, pair.lane, first)
        self.hidden = Lane(like.shape[0], like.shape[1], 2 * width, like)
        self.gate = Taps(block.gate, self.hidden)
        kernel, bias = of(block.side, like)
        side = kernel[:, :, 0, 0].T.unflatten(0, (2, -1, width))  # [signs, short cuts, width, outputs]
        self.bias, self.above, self.shared = self.look.bias + bias, side[:, 0].flatten(0, 1), above.lane.shifted[1]
        window = self.look.window(size, first)
        if up:
            window[size : size + first] = side[:, 1].flatten(0, 1)
        used = slice(first, size + first + 2 * width)
        self.own_look, self.own_gate = window[used].contiguous(), self.gate.window(2 * width, 0)
        self.gates = like.new_empty(like.shape[0], 2 * width)
        self.content, self.open = self.gates.chunk(2, 1)
        places = pair.seconds if up else pair.firsts
        windows = [each[:, used] for each in pair.lane.windows]
        halves = [place.chunk(2, 1) for place in self.hidden.places]
        self.columns = [
            (*each, *half)
            for *each, half in zip(
                places, self.look.adds, windows, self.hidden.places, self.gate.adds, self.hidden.windows, halves, strict=True
            )
        ]  # fmt: skip

    def begin(self) -> None:
        """Take in the row above, which the lanes hold, and the row of the other stream."""
        self.look.above(self.bias)
        self.look.add.addmm_(self.shared, self.above)
        self.gate.above()

    def at(self, col: int, x: Signed, out: Signed) -> None:
        """Write the output at a column given the input."""
        place, add, window, hidden, gate_add, gate_window, plus, minus = self.columns[col]
        elu_into(x.both, out=place)
        torch.addmm(add, window, self.own_look, out=plus)
        torch.neg(plus, out=minus)
        elu_into(hidden, out=hidden)
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
            self.own = self.shrink.window(2 * features, 0)
            kernel, bias = of(stream.grow[level], like)
            self.grow, self.bias = signed(kernel.permute(0, 2, 3, 1)).flatten(1), signed(bias).repeat(4)
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
    """The walk of a `Network` (`nn.autoregressive.lines.Walk`).

    Args:
        net: The network, in eval mode; its weights must not change meanwhile.
        batch: Images.
        width: Width of the images.
        like: Device and precision.
    """

    def __init__(self, net: Any, batch: int, width: int, like: Tensor) -> None:
        colours = net.first_rows.direction.shape[1] - 1
        self.lane, self.begun = Lane(batch, width, colours + 1, like), False
        self.row = self.lane.row[..., :-1]
        self.first = Taps(net.first_rows, self.lane)
        self.rows = RowLevel(net.rows, 0, batch, width, like)
        self.pixels = PixelLevel(net.pixels, self.rows, batch, like)
        # of the first layer of this stream only the tap to the left is in the pixel's own row
        self.left = Taps(net.first_left, self.lane, twice=True, moved=1)
        kernel, bias = of(net.first_above, like)
        self.above = [signed(tap).contiguous() for tap in kernel[:, :, 0].permute(2, 1, 0)]
        self.bias = self.left.bias + signed(bias)
        self.befores = self.lane.shifted[0].view(batch, width + 1, -1).unbind(1)
        self.own = self.left.weight[1, 0]
        kernel, self.out_bias = of(net.out, like)
        self.out, self.read = kernel[:, :, 0, 0].T.contiguous(), like.new_empty(batch, kernel.shape[1])

    def begin(self, row: int) -> None:
        """Take in the row above."""
        self.rows.x.plus.copy_(self.first.own())
        self.first.above()  # of the next row
        self.rows.run(row)
        self.left.above(self.bias)
        for seen, weight in zip(self.lane.shifted, self.above, strict=True):
            self.left.add.addmm_(seen, weight)
        self.pixels.begin(row)
        if row == 0:
            self.lane.row[..., -1] = 1  # tells the border, where it is zero, from gray

    def at(self, col: int) -> Tensor:
        """Return the outputs at a column."""
        torch.addmm(self.left.adds[col], self.befores[col], self.own, out=self.pixels.x.both)
        elu_into(self.pixels.at(col).plus, out=self.read)
        return torch.addmm(self.out_bias, self.read, self.out)


class PixelDraw:
    """Draws pixels from outputs as `losses.likelihoods.draw_coupled` does, in level units and few operations.

    A colour's mean moves by coupling times the colours before it, of which each is rounded to a level first.

    Args:
        numbers: Numbers of a component: logits, means, log-scales, couplings.
        levels: Grey levels.
        least: Least log-scale.
        temperature: Divides the logits and multiplies the scales.
        like: Device and precision.
    """

    def __init__(
        self, numbers: tuple[int, int, int, int], levels: int, least: float, temperature: float, like: Tensor
    ) -> None:
        _, self.colours, _, pairs = self.numbers = numbers
        self.top, self.half, self.least, self.temperature = levels - 1, (levels - 1) / 2, least, temperature
        # levels are counted from the lowest, and couplings act on values around the middle
        self.centre = like.new_zeros(pairs, self.colours)
        first = 0
        for c in range(self.colours):
            self.centre[first : first + c, c] = -self.half
            first += c
        self.minus_one = like.new_full((), -1.0)

    def noise(self, uniform: Tensor) -> Tensor:
        """Return what scales are multiplied by, of uniform numbers."""
        return torch.logit(uniform) * (self.temperature * self.half)

    def __call__(self, out: Tensor, uniform: Tensor, noise: Tensor) -> Tensor:
        """Return pixels [B, C] in [-1, 1] from outputs [B, numbers·K], uniform numbers [B] for the component, and noise [B, C] for colours."""
        each = out.unflatten(1, (sum(self.numbers), -1))
        chosen = pick(uniform, each[:, 0], self.temperature)
        found = each.gather(2, chosen[:, None, None].expand(-1, each.shape[1], 1))[..., 0]
        _, mean, log_scale, coupling = found.split(self.numbers, 1)
        at = torch.addcmul(mean.add_(1).mul_(self.half), log_scale.clamp_(min=self.least).exp_(), noise)
        if self.colours > 1:
            at.addmm_(coupling.tanh_(), self.centre)
        colours, couplings = at.unbind(1), iter(coupling.unbind(1))
        for c, colour in enumerate(colours):
            for before in colours[:c]:
                colour.addcmul_(next(couplings), before)
            colour.round_().clamp_(0, self.top)
        return torch.add(self.minus_one, at, alpha=1 / self.half)
