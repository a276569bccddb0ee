"""Layers that double height and width: repeated pixels and a convolution, or a transposed convolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Upsample = Literal["resize", "transposed"]
"""How a map is doubled: every pixel repeated, then a convolution; or a transposed convolution of stride 2."""


class ResizedConv2d(nn.ConvTranspose2d):
    """Repeat every pixel 2 x 2 times, then a 3 x 3 convolution that keeps the size, with zeros beyond the border.

    To repeat pixels is a transposed convolution of stride 2 by a box of 2 x 2 ones, and two linear steps are one: a transposed 4 x 4
    convolution of stride 2 by the 3 x 3 filters over that box, in one dimension (a, b, c) to (a, a + b, b + c, c). So it is computed, with 4
    products for each pixel where the repeated pixels would cost 9. A transposed convolution with free filters gives the even and the odd
    pixels sums of their own, and where these differ a flat map becomes a grid of 2 pixels; here both are a + b + c.

    Filters are kept as those of a transposed convolution, [inputs, outputs, 3, 3], turned round against those of `nn.Conv2d`.

    Args:
        inputs: Channels of the map.
        outputs: Channels of the doubled map.
        bias: Whether a bias is added.
        ends: Rows and columns added at the end, 0 or 1 each, for odd sizes.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, ends: tuple[int, int] = (0, 0)) -> None:
        super().__init__(inputs, outputs, 3, bias=bias)
        self.ends = ends

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, 2 H, 2 W]."""
        assert output_size is None
        with torch.autocast(x.device.type, enabled=False):  # sums of rounded filters would be rounded twice
            weight = over_a_box(self.weight.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # channels-last, as in training
        return F.conv_transpose2d(x, weight, self.bias, 2, 1, self.ends)


def over_a_box(filters: Tensor) -> Tensor:
    """Return 3 x 3 filters [..., 3, 3, O] convolved with a box of 2 x 2 ones, [..., 4, 4, O]."""
    filters = F.pad(filters, (0, 0, 0, 0, 0, 1)) + F.pad(filters, (0, 0, 0, 0, 1, 0))
    return F.pad(filters, (0, 0, 0, 1)) + F.pad(filters, (0, 0, 1, 0))


def doubling(
    upsample: Upsample, inputs: int, outputs: int, *, kernel: Literal[3, 4] = 4, bias: bool = True, ends: tuple[int, int] = (0, 0)
) -> nn.Module:  # fmt: skip
    """Return a layer from [B, inputs, H, W] to [B, outputs, 2 H, 2 W].

    Args:
        upsample: resize or transposed.
        inputs: Channels of the map.
        outputs: Channels of the doubled map.
        kernel: Side of the transposed convolution's filters; those over repeated pixels are 3 x 3.
        bias: Whether a bias is added.
        ends: Rows and columns added at the end, 0 or 1 each, for odd sizes.
    """
    if upsample == "resize":
        return ResizedConv2d(inputs, outputs, bias=bias, ends=ends)
    odd = kernel % 2
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, output_padding=(ends[0] + odd, ends[1] + odd), bias=bias)
