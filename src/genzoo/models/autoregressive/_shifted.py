"""Convolutions that see only rows above and pixels to the left, weight-normalized, in parallel, by rows or by pixels.

PixelCNN++ (arXiv:1701.05517) needs no masks: a convolution whose kernel lies above (and left of) its pixel sees only the
past. A stride of 2 keeps that true, since the coarse pixel (i, j) stands at (2i, 2j) and knows what that pixel knows.

Shapes: in one parallel pass tensors are [B, C, H, W]. `Rows` takes a row at a time, [B, C, 1, W]; `Pixels` a pixel at a time,
[B, C]; each remembers what it needs of the rows and pixels before. Both compute what the parallel pass computes.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.nn.weight_norm import normalized
from genzoo.ranks.sums import mean_over_ranks


class Past(Protocol):
    """What an incremental pass remembers."""

    def convolve(self, conv: ShiftedConv2d, x: Tensor, level: int) -> Tensor | None:
        """Map the newest input to the newest output; at stride 2 None where the coarser grid has no point."""

    def grow(self, conv: GrowingConv2d, x: Tensor | None, level: int) -> Tensor:
        """Map the newest coarse input (None: there is no new one) to the output at this place of the finer grid."""


class WeightNorm(nn.Module):
    """A kernel `gain · direction / |direction|` and a bias, both set by the first batch (arXiv:1602.07868, section 3).

    While `starting` is true, a pass chooses gain and bias so that every output feature has mean 0 and standard deviation
    `scale` over the batches of all ranks, and goes on with the outputs that these give.

    Args:
        shape: Shape of the kernel.
        dim: Dimension of the kernel that counts the outputs.
        scale: Standard deviation of the outputs at the start.
    """

    def __init__(self, shape: tuple[int, int, int, int], dim: int, scale: float) -> None:
        super().__init__()
        self.dim, self.scale, self.starting = dim, scale, False
        self.direction = nn.Parameter(torch.randn(shape) * 0.05)
        self.gain = nn.Parameter(torch.full((shape[dim],), scale))
        self.bias = nn.Parameter(torch.zeros(shape[dim]))

    def kernel(self, dtype: torch.dtype) -> Tensor:
        """Return the kernel, computed in float32 and given in `dtype`."""
        return normalized(self.direction, self.gain, self.dim).to(dtype)

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _compute(self, x: Tensor) -> Tensor:
        if self.starting:
            self._start(x.detach())
        # parameters follow the precision of the input, so that drawing can compute in float64
        dtype = x.dtype if x.dtype == torch.float64 else self.direction.dtype
        return self._linear(x, self.kernel(dtype), self.bias.to(dtype))

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        with torch.autocast(x.device.type, enabled=False):
            self.gain.fill_(1)
            raw = self._linear(x.float(), self.kernel(torch.float32), None).transpose(0, 1).flatten(1).double()
            mean = mean_over_ranks(raw.mean(1))
            std = mean_over_ranks((raw - mean[:, None]).square().mean(1)).sqrt()
            # a feature that is the same everywhere keeps a gain of 1 in place of an infinite one
            gain = torch.where(std > 1e-6, self.scale / std.clamp(min=1e-6), 1.0)
            self.gain.copy_(gain)
            self.bias.copy_(-mean * gain)


class ShiftedConv2d(WeightNorm):
    """A convolution over the rows up to its own and the columns around it, or up to its own.

    Args:
        inputs: Input features.
        outputs: Output features.
        kernel: Rows and columns. An odd number of columns above 1 is centred; an even one ends at the pixel itself.
        stride: 1, or 2 to halve height and width (rounded up).
        scale: See `WeightNorm`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], *, stride: int = 1, scale: float = 1.0
    ) -> None:
        super().__init__((outputs, inputs, *kernel), 0, scale)
        rows, columns = kernel
        self.rows, self.columns, self.stride = rows, columns, stride
        self.left, self.right = (columns // 2, columns // 2) if columns % 2 else (columns - 1, 0)

    def forward(self, x: Tensor, past: Past | None = None, level: int = 0) -> Tensor | None:
        """Map [B, inputs, H, W] to [B, outputs, H, W] (at stride 2 half of both); with `past`, the newest part, if there is one.

        `level` says how often the images have been halved before `x`.
        """
        return self._compute(x) if past is None else past.convolve(self, x, level)

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        if self.rows == self.columns == 1:
            return F.conv2d(x, kernel, bias)
        return F.conv2d(F.pad(x, (self.left, self.right, self.rows - 1, 0)), kernel, bias, self.stride)


class GrowingConv2d(WeightNorm):
    """A transposed convolution of stride 2: a pixel's features go to its 2x2 block of the finer grid.

    Args:
        inputs: Input features.
        outputs: Output features.
        columns: 2, or 3 to reach one fine column further left as well (which only rows above may).
    """

    def __init__(self, inputs: int, outputs: int, columns: int) -> None:
        super().__init__((inputs, outputs, 2, columns), 1, 1.0)
        self.columns = columns

    def forward(self, x: Tensor | None, fine: Tensor, past: Past | None = None, level: int = 0) -> Tensor:
        """Map the coarse [B, inputs, H', W'] to [B, outputs, H, W], the size of `fine`; with `past`, the newest part."""
        if past is not None:
            return past.grow(self, x, level)
        assert x is not None, "only a past remembers what the coarse image was"
        return self._compute(x)[:, :, : fine.shape[2], : fine.shape[3]]

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        y = F.conv_transpose2d(x, kernel, bias, stride=2)
        return y[..., 1:] if self.columns == 3 else y


class Rows:
    """The memory of a pass row by row. Set `row` and visit all rows in order; the weights must not change meanwhile.

    Args:
        width: Width of the images.
    """

    def __init__(self, width: int) -> None:
        self.width, self.row = width, 0
        self._kept: dict[nn.Module, Tensor] = {}
        self._weights: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def _load(self, conv: WeightNorm, x: Tensor) -> tuple[Tensor, Tensor]:
        if conv not in self._weights:
            self._weights[conv] = conv.kernel(x.dtype), conv.bias.to(x.dtype)
        return self._weights[conv]

    def convolve(self, conv: ShiftedConv2d, x: Tensor, level: int) -> Tensor | None:
        """Map this row's input [B, C, 1, W] to its output; None at the odd rows of a stride of 2."""
        kernel, bias = self._load(conv, x)
        if conv.rows == 1:
            return F.conv2d(x, kernel, bias, padding=(0, conv.left))
        above, self._kept[conv] = self._kept.get(conv), x
        if conv.stride == 2 and (self.row >> level) % 2:
            return None
        both = torch.cat([torch.zeros_like(x) if above is None else above, x], 2)
        return F.conv2d(both, kernel, bias, conv.stride, padding=(0, conv.left))

    def grow(self, conv: GrowingConv2d, x: Tensor | None, level: int) -> Tensor:
        """Return the fine row [B, C, 1, W] of this place; a coarse row `x`, [B, C, 1, W'], gives two of them."""
        if x is not None:
            wide = conv._linear(x, *self._load(conv, x))
            self._kept[conv] = wide[..., : -(-self.width >> level)]
        tap = (self.row >> level) % 2
        return self._kept[conv][:, :, tap : tap + 1]


class Pixels:
    """The memory of a pass pixel by pixel. Set `at` and visit all pixels in raster order; the weights must not change.

    Args:
        width: Width of the images.
    """

    def __init__(self, width: int) -> None:
        self.width, self.at = width, (0, 0)
        self._kept: dict[nn.Module, Tensor] = {}
        self._rows: dict[nn.Module, int] = {}
        self._weights: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def convolve(self, conv: ShiftedConv2d, x: Tensor, level: int) -> Tensor | None:
        """Map this pixel's column [B, C] to its output; at stride 2 None unless row and column are even."""
        if conv not in self._weights:
            assert conv.columns <= 2, "a pixel to the right is not known yet"
            # [columns · rows · inputs, outputs]: the order in which a window of the kept inputs flattens
            kernel = conv.kernel(x.dtype).permute(3, 2, 1, 0).flatten(0, 2).contiguous()
            self._weights[conv] = kernel, conv.bias.to(x.dtype)
            if conv.rows * conv.columns > 1:
                self._kept[conv] = x.new_zeros(x.shape[0], -(-self.width >> level) + 1, conv.rows, x.shape[1])
        kernel, bias = self._weights[conv]
        if conv.rows * conv.columns == 1:
            return torch.addmm(bias, x, kernel)
        (row, col), kept = (i >> level for i in self.at), self._kept[conv]
        if self._rows.setdefault(conv, row) != row:
            kept[:, :, :-1] = kept[:, :, 1:].clone()
            self._rows[conv] = row
        kept[:, col + 1, -1] = x
        if conv.stride == 2 and (row % 2 or col % 2):
            return None
        window = kept[:, col + 2 - conv.columns : col + 2]
        return torch.addmm(bias, window.flatten(1), kernel)

    def grow(self, conv: GrowingConv2d, x: Tensor | None, level: int) -> Tensor:
        """Return the fine column [B, C] of this place; a coarse one, [B, C], gives a block of four."""
        (row, col), outputs = (i >> level for i in self.at), conv.direction.shape[1]
        if x is not None:
            if conv not in self._weights:
                assert conv.columns == 2, "a pixel to the left would learn of this one's right neighbour"
                kernel = conv.kernel(x.dtype).permute(0, 2, 3, 1).flatten(1).contiguous()
                self._weights[conv] = kernel, conv.bias.to(x.dtype).repeat(4)
                coarse = -(-self.width >> level + 1)
                self._kept[conv] = x.new_zeros(coarse, x.shape[0], 2, 2, outputs)
            kernel, bias = self._weights[conv]
            self._kept[conv][col >> 1] = torch.addmm(bias, x, kernel).view(-1, 2, 2, outputs)
        return self._kept[conv][col >> 1, :, row % 2, col % 2]
