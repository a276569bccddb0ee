"""Causal convolutions along time: all times in one parallel pass, or one time after another with a memory.

Shapes: a sequence is [B, T, C] (features last: a convolution over few times is then a matrix product); one time is
[B, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Tape:
    """The memory of an incremental pass: the last inputs of every convolution. The weights must not change meanwhile.

    Set `time` to 0, 1, 2 ... and pass each time's features through the layers once.
    """

    def __init__(self) -> None:
        self.time = 0
        self._kept: dict[nn.Module, Tensor] = {}
        self._weights: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def convolve(self, conv: CausalConv1d, x: Tensor) -> Tensor:
        """Map this time's features [B, inputs] to [B, outputs]."""
        if conv not in self._weights:
            weight = conv.weight.to(x.dtype).flatten(0, 1).contiguous()
            self._weights[conv] = weight, conv.bias.to(x.dtype)
            if conv.kernel > 1:
                self._kept[conv] = x.new_zeros(conv.reach + 1, x.shape[0], x.shape[1])
        weight, bias = self._weights[conv]
        if conv.kernel == 1:
            return torch.addmm(bias, x, weight)
        ring, now = self._kept[conv], self.time % (conv.reach + 1)
        ring[now] = x
        # a ring of reach + 1 places: the oldest tap is the place that will be written next
        taps = [ring[(now - back) % (conv.reach + 1)] for back in range(conv.reach, 0, -conv.dilation)]
        return torch.addmm(bias, torch.cat([*taps, x], 1), weight)


class CausalConv1d(nn.Module):
    """A convolution whose output at time t sees the inputs at t, t - dilation, ..., t - (kernel - 1) · dilation.

    Args:
        inputs: Input features.
        outputs: Output features.
        kernel: Taps.
        dilation: Times between taps.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.dilation, self.reach = kernel, dilation, (kernel - 1) * dilation
        bound = (1 / (inputs * kernel)) ** 0.5
        self.weight = nn.Parameter((torch.rand(kernel, inputs, outputs) * 2 - 1) * bound * 3**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, tape: Tape | None = None) -> Tensor:
        """Map [B, T, inputs] to [B, T, outputs]; with `tape`, one time [B, inputs] to [B, outputs]."""
        if tape is not None:
            return tape.convolve(self, x)
        dtype = x.dtype if x.dtype == torch.float64 else self.weight.dtype
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        if self.kernel > 1:
            # a tap before the beginning sees zeros only
            ago = [min(back, x.shape[1]) for back in range(self.reach, 0, -self.dilation)]
            x = torch.cat([*(F.pad(x, (0, 0, back, -back)) for back in ago), x], 2)
        return F.linear(x, weight.flatten(0, 1).T, bias)

    def extra_repr(self) -> str:
        """Show the sizes in `print(module)`."""
        _, inputs, outputs = self.weight.shape
        return f"{inputs}, {outputs}, kernel={self.kernel}, dilation={self.dilation}"
