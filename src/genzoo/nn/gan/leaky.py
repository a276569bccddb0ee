"""The leaky rectifier for nets whose gradient is penalized: its slopes count as constants."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Leaky(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: float, inplace: bool) -> Tensor:
        return F.leaky_relu(x, slope, inplace)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, bool], output: Tensor) -> None:
        x, ctx.slope, inplace = inputs
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.leaky_relu_backward(grad, y.detach(), ctx.slope, True), None, None


def leaky_relu(x: Tensor, slope: float = 0.2, *, inplace: bool = False) -> Tensor:
    """Return x where x > 0 and slope · x elsewhere.

    Its second derivative is 0 everywhere. PyTorch's own sends these zeros back through the layers below, which makes the gradient of a
    gradient penalty cost one backward pass more; here nothing is sent. slope > 0.
    """
    y: Tensor = _Leaky.apply(x, slope, inplace)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
    return y


class LeakyReLU(nn.LeakyReLU):
    """`leaky_relu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the same shape."""
        return leaky_relu(x, self.negative_slope, inplace=self.inplace)
