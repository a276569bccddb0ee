"""Images drawn along a wavefront: pixels of several rows at once, each row some columns behind the one above it.

A pixel need not wait for the whole row above where it sees only a few columns to the right of its own. With d(j) the columns to the right that it
sees j rows up, row r may run `lag` columns behind row r - 1 for every lag with d(j) < lag · j: at *step* t the pixels (r, t - lag · r) of all rows r
are computed together, each given all that it sees. An image takes W + lag · (H - 1) steps in place of H · W. At a lag of W that is raster order.

Maps are kept such that the pixels of a step, and what they see in one row, are one matrix in memory: see `SkewedMaps`.

Shapes: a *front* is what belongs to the pixels of one step, [R·B, C]: R rows from the topmost, and in each row all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from genzoo.nn.autoregressive.lines import Head, Point, with_ones
from genzoo.nn.autoregressive.masked import MaskedConv2d, MaskedStack
from genzoo.nn.autoregressive.raster import Levels

FRONT = 512
"""Pixels of a step beyond which more of them cost as much as more steps, and only take memory."""

# ---- how far a pixel sees --------------------------------------------------------------------------------------------


def reach(conv: MaskedConv2d) -> list[int]:
    """Return the columns to the right that a masked convolution sees in its own row, one row up, and so on.

    >>> reach(MaskedConv2d("B", 1, 1, 5))
    [0, 2, 2]
    """
    seen = conv.mask.ne(0).any(0).any(0).flip(0)
    return [int(row.nonzero().max()) - conv.kernel // 2 if row.any() else -conv.kernel for row in seen]


def reach_of_all(reaches: Sequence[Sequence[int]], height: int) -> list[int]:
    """Return the columns to the right that a chain of layers sees 0, 1, ... rows up, of `height` rows, given those of each layer.

    >>> reach_of_all([[-1, 3, 3, 3], [0, 1], [0, 1]], 6)
    [-1, 3, 4, 5, 5, 5]
    """
    far = [0]
    for layer in reaches:
        rows = range(min(height, len(far) + len(layer) - 1))
        far = [max(far[up - k] + right for k, right in enumerate(layer) if 0 <= up - k < len(far)) for up in rows]
    return far + far[-1:] * (height - len(far))


def least_lag(far: Sequence[int]) -> int:
    """Return the least lag, at least 1, that lets a pixel see so many columns to the right 0, 1, ... rows up.

    >>> least_lag([-1, 3, 4, 5]), least_lag([0])
    (4, 1)
    """
    return max([1, *(right // up + 1 for up, right in enumerate(far) if up)])


# ---- which pixels a step has, and where they are ---------------------------------------------------------------------


class Wavefront:
    """Which pixels are computed when.

    Args:
        batch: Images.
        height: Rows of an image.
        width: Columns.
        lag: Columns that a row is behind the row above it, at least.
    """

    def __init__(self, batch: int, height: int, width: int, lag: int) -> None:
        self.batch, self.height, self.width = batch, height, width
        self.lag = min(max(lag, -(-width * batch // FRONT)), width)
        self.most = min(height, -(-width // self.lag))
        """Rows of a step, at most."""
        self.steps = width + self.lag * (height - 1)

    def rows(self, step: int) -> range:
        """Return the rows that have a pixel in this step, the topmost first."""
        return range(max(0, -(-(step - self.width + 1) // self.lag)), min(self.height - 1, step // self.lag) + 1)


class SkewedMaps:
    """Maps of one size, of which the pixels of a step are equally far apart in memory.

    Image after image and row after row lie in it, with zeros beside them; after each row stand `lag` columns more. So (row r + 1, first image) is as
    far behind (row r, last image), `lag` columns to the right, as images are from each other, and a front is a view of two strides.

    Args:
        front: The wavefront.
        like: Device and precision.
        maps: Their number.
        features: Numbers of a pixel.
        above: Rows above its own that a pixel sees.
        half: Columns to the left and to the right that it sees.
        every: Keep all rows; else those that there can be in a step, and those above.
    """

    def __init__(
        self, front: Wavefront, like: Tensor, *, maps: int = 1, features: int = 1, above: int = 0, half: int = 0, every: bool = False
    ) -> None:  # fmt: skip
        self.front, self.maps, self.features, self.above = front, maps, features, above
        self.image = (front.width + half) * features
        self.row = front.batch * self.image + front.lag * features
        self.slots = front.height if every else min(front.height, 2 * front.most)
        self.start, self.first = above * self.row + half * features, 0
        self.memory = like.new_zeros(maps, (above + self.slots) * self.row + 2 * half * features)
        self.inner = self.memory.shape[1]

    def whole(self) -> Tensor:
        """Return all rows, a view [maps, H, B, W, C] of maps that keep every row."""
        front, c = self.front, self.features
        assert self.slots == front.height, "some rows are not kept"
        size = (self.maps, front.height, front.batch, front.width, c)
        return self.memory.as_strided(size, (self.inner, self.row, self.image, c, 1), self.start)

    def _at(self, step: int, rows: range, up: int, left: int) -> int:
        front = self.front
        return self.start + (rows[0] - self.first - up) * self.row + (step - front.lag * rows[0] - left) * self.features

    def make_room(self, rows: range) -> None:
        """Let the rows of a step, and those above them, be among those that are kept."""
        if rows[-1] - self.first >= self.slots:
            moved, kept = rows[0] - self.first, self.above + len(rows) - 1
            old = self.memory[:, moved * self.row : (moved + kept) * self.row]
            self.memory[:, : kept * self.row] = old.clone() if moved < kept else old
            self.first = rows[0]

    def window(self, step: int, rows: range, up: int = 0, left: int = 0, columns: int = 1) -> tuple[Tensor, ...]:
        """Return what the pixels of a step see in the row so far `up`, from so far to the `left`: a view [R·B, columns · C] of each map."""
        size = (self.maps, len(rows) * self.front.batch, columns * self.features)
        return self.memory.as_strided(size, (self.inner, self.image, 1), self._at(step, rows, up, left)).unbind()

    def patches(self, step: int, rows: range, left: int, columns: int) -> Tensor:
        """Return what the pixels of a step see in all rows above and their own, of one map, in one piece: [R·B, rows · columns · C]."""
        size = (len(rows) * self.front.batch, self.above + 1, columns * self.features)
        at = self._at(step, rows, self.above, left)
        return self.memory.as_strided(size, (self.image, self.row, 1), at).flatten(1)


# ---- networks along a wavefront ----------------------------------------------------------------------------------------


class Walk(Protocol):
    """A pass over images along a wavefront that computes only what each step adds; the weights must not change meanwhile."""

    front: Wavefront
    pixels: SkewedMaps
    """One map of all rows, [C]: written from outside, as far as they are known."""

    def begin(self, step: int, rows: range) -> None:
        """Go to a step and its rows; steps come in their order."""

    def at(self) -> Tensor:
        """Return the outputs [R·B, C·K] of the step given the pixels before and their own colours before; as often as they change."""


class FirstPatches:
    """The first layer of a network, which sees pixels: one product of what is seen in all rows.

    Args:
        conv: The convolution, as high above its centre as it is wide to either side.
        front: The wavefront.
    """

    def __init__(self, conv: MaskedConv2d, front: Wavefront) -> None:
        weight, self.bias = (conv.weight * conv.mask).detach(), conv.bias.detach()
        self.half, self.kernel = conv.kernel // 2, conv.kernel
        self.weight = weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self.pixels = SkewedMaps(
            front, self.bias, features=weight.shape[1], above=conv.rows - 1, half=self.half, every=True
        )

    def __call__(self, step: int, rows: range, out: Tensor) -> None:
        """Write the outputs of a step."""
        torch.addmm(self.bias, self.pixels.patches(step, rows, self.half, self.kernel), self.weight, out=out)


class StackWalk:
    """The walk of a `MaskedStack`: seven operations a residual block.

    Args:
        net: The stack.
        batch: Images.
        height: Height of the images.
        width: Width of the images.
    """

    def __init__(self, net: MaskedStack, batch: int, height: int, width: int) -> None:
        blocks: list[Any] = list(net.blocks)
        like, features = net.first.bias.detach(), net.head.weight.shape[1]
        far = reach_of_all([reach(net.first), *(reach(block.look) for block in blocks)], height)
        self.front = front = Wavefront(batch, height, width, least_lag(far))
        self.first, self.head = FirstPatches(net.first, front), Head(net.head, net.out)
        self.pixels = self.first.pixels
        self.layers = []
        for block in blocks:
            weight = (block.look.weight * block.look.mask).detach()
            above, own = weight[:, :, 0].permute(2, 1, 0), weight[:, :, 1, :2].permute(2, 1, 0)
            looks = (block.look.bias.detach(), above.flatten(0, 1).contiguous(), own.flatten(0, 1).contiguous())
            down = Point(block.down)
            self.layers.append((down.bias, down.weight, *looks, Point(block.up, ones=True).weight))
        half = features if not blocks else blocks[0].look.weight.shape[0]
        self.maps = SkewedMaps(front, like, maps=len(blocks), features=half, above=1, half=1)
        self.most = front.most * batch
        self.x, self.read = like.new_empty(self.most, features), like.new_empty(self.most, features)
        self.both, self.seen = with_ones(self.most, half, like)

    def begin(self, step: int, rows: range) -> None:
        """Go to a step."""
        self.maps.make_room(rows)
        self.now, n = (step, rows), len(rows) * self.front.batch
        # where a layer's own inputs belong, what it sees above and to the left
        maps = self.maps
        self.views = list(
            zip(
                maps.window(step, rows),
                maps.window(step, rows, up=1, left=1, columns=3),
                maps.window(step, rows, left=1, columns=2),
                strict=True,
            )
        )
        self.used = [part[:n] for part in (self.x, self.read, self.both, self.seen)]

    def at(self) -> Tensor:
        """Return the outputs of the step."""
        x, read, both, seen = self.used
        self.first(*self.now, out=x)
        for (place, above, own), (bias, down, look, look_above, look_own, up) in zip(
            self.views, self.layers, strict=True
        ):
            torch.clamp_min(x, 0, out=read)
            torch.addmm(bias, read, down, out=place).relu_()
            torch.addmm(look, above, look_above, out=seen)
            seen.addmm_(own, look_own)
            both.relu_()
            x.addmm_(both, up)
        return self.head(x)


def fill_along_wavefront(
    walk: Callable[[int, int, int], Walk],
    choose: Callable[[Tensor, int, Tensor], Tensor],
    x: Tensor,
    known: Tensor,
    numbers: Tensor,
) -> Tensor:
    """Draw the unknown pixels of `x` in place, step by step, colour by colour; return `x`.

    Args:
        walk: Makes a walk over so many images of this height and width.
        choose: Maps outputs [n, C·K] of pixels, the colour and their numbers [n] to values [n].
        x: Images [B, C, H, W].
        known: Pixels to keep, bool [B, 1, H, W].
        numbers: One for each pixel and colour, like `x`: what it is drawn by.
    """
    if not len(x):
        return x
    # what is written is memory of our own: only inside is it free of what autograd would have to know
    with torch.inference_mode():
        on, colours = walk(len(x), *x.shape[2:]), x.shape[1]
        pixels, front = on.pixels, on.front
        pixels.whole()[0] = x.permute(2, 0, 3, 1)
        given = SkewedMaps(front, numbers, features=colours, every=True)
        given.whole()[0] = numbers.permute(2, 0, 3, 1)
        kept = SkewedMaps(front, known, every=True) if known.any() else None
        if kept is not None:
            kept.whole()[0] = known.permute(2, 0, 3, 1)
        for step in range(front.steps):
            rows = front.rows(step)
            on.begin(step, rows)
            (values,), (each,) = pixels.window(step, rows), given.window(step, rows)
            keep = None if kept is None else kept.window(step, rows)[0][:, 0]
            for c, (value, number) in enumerate(zip(values.unbind(1), each.unbind(1), strict=True)):
                drawn = choose(on.at(), c, number)
                value.copy_(drawn if keep is None else torch.where(keep, value, drawn))
        return x.copy_(pixels.whole()[0].permute(1, 3, 0, 2))


def code_along_wavefront(
    walk: Callable[[int, int, int], Walk], choose: Callable[[int, Tensor], Tensor], grid: Levels, x: Tensor
) -> Tensor:
    """Go through images symbol by symbol in the order of drawing, step by step and in each from the topmost row; return them.

    Args:
        walk: As in `fill_along_wavefront`.
        choose: Given the number of a symbol in raster order and its log-probabilities, float32 [B, levels], says what stands there, int64 [B].
        grid: The grey levels.
        x: Zeros [B, C, H, W], filled in place.
    """
    batch, colours, height, width = x.shape

    def stated(out: Tensor, colour: int, numbers: Tensor) -> Tensor:
        log_p = grid.normalize(out.unflatten(1, (grid.colours, grid.outputs))[:, colour]).float()
        rows = zip(numbers[::batch].tolist(), log_p.split(batch), strict=True)
        return grid.values(torch.cat([choose(i, each) for i, each in rows]))

    numbers = torch.arange(height * width * colours).view(height, width, colours).permute(2, 0, 1)
    unknown = torch.zeros(batch, 1, height, width, dtype=torch.bool, device=x.device)
    return fill_along_wavefront(walk, stated, x, unknown, numbers.to(x.device).expand_as(x))
