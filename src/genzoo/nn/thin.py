"""A convolution from many channels to the few of an image, where a CPU would compute mostly zeros."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 8
"""Channels that are few: the library behind PyTorch's convolutions fills them up to 16."""
LEAST = 5
"""Side of the smallest kernel that is taken apart."""


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a large kernel and stride 1, to few channels; on a CPU the rows of the kernel are channels.

    The library fills 3 channels up to 16, so that five of six products of a 7 x 7 convolution to an image are by zero. Its 7 rows as channels are
    21, filled up to 32: a 1 x 7 convolution to 21 channels, which are then added up, each moved by its row.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, I, H, W] to [B, O, H', W']."""
        (k, across), few = self.kernel_size, self.out_channels
        apart = (
            x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.float64)
            and k >= LEAST
            and few <= FEW < self.in_channels
            and (self.stride, self.padding, self.dilation, self.groups) == ((1, 1), (0, 0), (1, 1), 1)
            and x.is_contiguous(memory_format=torch.channels_last)
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )
        if not apart:
            return super().forward(x)
        rows = self.weight.permute(2, 0, 1, 3).reshape(k * few, self.in_channels, 1, across)
        y: Tensor = _Gathered.apply(F.conv2d(x, rows), k, False)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


def _places(k: int, h: int, turned: bool) -> list[slice]:
    """Return where the `h` places of each of k rows begin: of the first row at 0, or, turned, of the last."""
    return [slice(at, at + h) for at in (reversed(range(k)) if turned else range(k))]


class _Gathered(torch.autograd.Function):
    """Add up maps of rows, each moved by its row: [B, k · C, H, W] to [B, C, H - k + 1, W]. `_Moved` is its adjoint."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, k: int, turned: bool) -> Tensor:
        ctx.k, ctx.turned = k, turned
        maps = z.permute(0, 2, 3, 1).unflatten(3, (k, -1))
        first, *others = _places(k, maps.shape[1] - k + 1, turned)
        y: Tensor = maps[:, first, :, 0].clone(memory_format=torch.contiguous_format)
        for row, places in enumerate(others, 1):
            y += maps[:, places, :, row]
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        padded = F.pad(grad, (0, 0, ctx.k - 1, ctx.k - 1))
        return _Moved.apply(padded, ctx.k, not ctx.turned), None, None  # type: ignore[no-untyped-call]


class _Moved(torch.autograd.Function):
    """Lay an image moved by 0 … k - 1 places side by side: [B, C, H, W] to [B, k · C, H - k + 1, W]. `_Gathered` is its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, turned: bool) -> Tensor:
        ctx.k, ctx.turned = k, turned
        pixels = x.permute(0, 2, 3, 1)
        b, h, w, c = pixels.shape
        z = x.new_empty(b, h - k + 1, w, k, c)
        for row, places in enumerate(_places(k, h - k + 1, turned)):
            z[..., row, :] = pixels[:, places]
        return z.flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        padded = F.pad(grad, (0, 0, ctx.k - 1, ctx.k - 1))
        return _Gathered.apply(padded, ctx.k, not ctx.turned), None, None  # type: ignore[no-untyped-call]
