"""Convolutions that see only rows above and pixels to the left, weight-normalized.

PixelCNN++ (arXiv:1701.05517) needs no masks: a convolution whose kernel lies above (and left of) its pixel sees only the
past. A stride of 2 keeps that true, since the coarse pixel (i, j) stands at (2i, 2j) and knows what that pixel knows.

`_shifted_walk` computes the same pixel by pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.nn.layout import pointwise
from genzoo.nn.weight_norm import normalized
from genzoo.ranks.sums import mean_over_ranks

Border = tuple[int, int, int, int]
"""Zeros left, right, above and below."""


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
        self.border: Border = (self.left, self.right, rows - 1, 0)

    def forward(self, x: Tensor, *, bordered: bool = False) -> Tensor:
        """Map [B, inputs, H, W], with its `border` of zeros around it if `bordered`, to [B, outputs, H, W]; at stride 2 half of both."""
        return self._compute(x if bordered or not any(self.border) else F.pad(x, self.border))

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        if self.rows == self.columns == self.stride == 1:
            return pointwise(x, kernel, bias)
        return F.conv2d(x, kernel, bias, self.stride)


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

    def forward(self, x: Tensor, fine: Tensor) -> Tensor:
        """Map the coarse [B, inputs, H', W'] to [B, outputs, H, W], the size of `fine`."""
        return self._compute(x)[:, :, : fine.shape[2], : fine.shape[3]]

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        y = F.conv_transpose2d(x, kernel, bias, stride=2)
        return y[..., 1:] if self.columns == 3 else y
