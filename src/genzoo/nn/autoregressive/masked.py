"""Masked convolutions: a pixel sees only the pixels before it. `lines` has them one pixel after another.

Shapes: images are [B, C, H, W]. The past is the rows above, the pixels
to the left and, within a pixel, the colours in the order R < G < B. Features are split into as many contiguous groups
as there are colours; group c of a hidden layer may know of the colours before c (through mask B, of group c itself).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def colour_of(features: int, colours: int) -> Tensor:
    """Return the colour group of each feature, int64 [features]: contiguous groups whose sizes differ by at most one.

    >>> colour_of(7, 3).tolist()
    [0, 0, 0, 1, 1, 2, 2]
    """
    assert features >= colours, f"{features} features cannot form {colours} colour groups"
    return torch.arange(features) * colours // features


def raster_mask(
    kind: Literal["A", "B"],
    outputs: int,
    inputs: int,
    kernel: int,
    colours: int = 1,
    *,
    rows: int | None = None,
    copies: int = 1,
) -> Tensor:
    """Return the mask of a convolution over the past, float [outputs, inputs, rows, kernel].

    The rows below the centre, which would all be zero, are left out. The centre is strictly lower-triangular in colour
    for kind A (first layer: its centre is the pixel itself) and lower-triangular with the diagonal for kind B.

    Args:
        kind: Mask A or B.
        outputs: Output features.
        inputs: Input features.
        kernel: Width of the kernel, odd.
        colours: Colour groups.
        rows: The centre's row and those above it; of a square kernel when not given.
        copies: The outputs are so many sets of features side by side (the gates of one unit), each with its own groups.
    """
    half = kernel // 2
    rows = half + 1 if rows is None else rows
    mask = torch.ones(outputs, inputs, rows, kernel)
    mask[:, :, -1, half:] = 0
    out, into = colour_of(outputs // copies, colours).repeat(copies)[:, None], colour_of(inputs, colours)[None]
    mask[:, :, -1, half] = (into < out if kind == "A" else into <= out).float()
    return mask


class MaskedConv2d(nn.Module):
    """A convolution of stride 1 and equal size that sees only the past.

    The weight has no rows below the centre: on a CPU that saves about a quarter of the time of a masked square kernel.
    The mask multiplies the weight at every use and is never written into it.

    Args:
        kind: Mask A (first layer) or B.
        inputs: Input features.
        outputs: Output features.
        kernel: Width of the kernel, odd.
        colours: Colour groups.
        rows: The centre's row and those above it; of a square kernel when not given, 1 for a kernel along the row.
        copies: The outputs are so many sets of features side by side, each with its own colour groups.
    """

    mask: Tensor

    def __init__(
        self,
        kind: Literal["A", "B"],
        inputs: int,
        outputs: int,
        kernel: int,
        colours: int = 1,
        *,
        rows: int | None = None,
        copies: int = 1,
    ) -> None:
        super().__init__()
        assert kernel % 2 == 1, f"a kernel has a centre: {kernel} is even"
        self.kernel, self.rows = kernel, kernel // 2 + 1 if rows is None else rows
        mask = raster_mask(kind, outputs, inputs, kernel, colours, rows=rows, copies=copies)
        self.register_buffer("mask", mask, persistent=False)
        # variance 1 / fan-in, where the fan-in counts what each output really sees
        bound = (3 / self.mask.sum((1, 2, 3)).clamp(min=1)).sqrt()
        self.weight = nn.Parameter((torch.rand_like(self.mask) * 2 - 1) * bound[:, None, None, None])
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        above = F.pad(x, (0, 0, self.rows - 1, 0)) if self.rows > 1 else x
        return F.conv2d(above, self.weight * self.mask, self.bias, padding=(0, self.kernel // 2))

    def extra_repr(self) -> str:
        """Show the sizes in `print(module)`."""
        outputs, inputs = self.weight.shape[:2]
        return f"{inputs}, {outputs}, kernel={self.kernel}"


class Residual(nn.Module):
    """Residual block of van den Oord et al. 2016, fig. 5 (left): 1x1 from 2h to h features, masked 3x3, 1x1 back to 2h."""

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.down = MaskedConv2d("B", 2 * width, width, 1, colours)
        self.look = MaskedConv2d("B", width, width, 3, colours)
        self.up = MaskedConv2d("B", width, 2 * width, 1, colours)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 2h, H, W] to its like."""
        h = self.down(torch.relu(x))
        h = self.look(torch.relu(h))
        changed: Tensor = self.up(torch.relu(h))
        return x + changed


class MaskedStack(nn.Module):
    """The PixelCNN of van den Oord et al. 2016, table 1: a 7x7 convolution with mask A, residual blocks with mask B, two 1x1 layers.

    Args:
        colours: Channels of an image.
        width: Features h of a block's 3x3 convolution; 2h between blocks.
        blocks: Residual blocks.
        head: Features between the two last layers.
        outputs: Output features, in one group for each colour.
    """

    def __init__(self, colours: int, width: int, blocks: int, head: int, outputs: int) -> None:
        super().__init__()
        self.first = MaskedConv2d("A", colours, 2 * width, 7, colours)
        self.blocks = nn.ModuleList(Residual(width, colours) for _ in range(blocks))
        self.head = MaskedConv2d("B", 2 * width, head, 1, colours)
        self.out = MaskedConv2d("B", head, outputs, 1, colours)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to outputs [B, C·K, H, W]."""
        x = self.first(x)
        # a gray image fits either layout, so the first convolution may pick another one than the rest: a third slower
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        x = self.head(torch.relu(x))
        out: Tensor = self.out(torch.relu(x))
        return out
