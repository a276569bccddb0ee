"""Causal convolutions along time: all times in one parallel pass, or one time after another with a memory.

Shapes: a sequence is [B, T, C] (features last: a convolution over few times is then a matrix product); one time is
[B, C].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, inputs] to [B, T, outputs]."""
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


class Tape:
    """The inputs of a stack of equal convolutions at the times before: what they add at this time is one product for all of them.

    Every tap but the newest is known before a time begins, whatever the layer. Call `before` and then `keep`, once for each time.

    Args:
        convs: Convolutions of the same sizes and at least two taps, whatever their dilations.
        shift: What is added to the outputs of each, [L, B or 1, outputs]: its bias, and what else the time does not change.
        empty: What stands at the times before the first, [L, inputs].
        batch: Sequences.
        times: Times that there will be.
    """

    def __init__(self, convs: Sequence[CausalConv1d], shift: Tensor, empty: Tensor, batch: int, times: int) -> None:
        sizes = torch.tensor([conv.reach + 1 for conv in convs])
        starts = (sizes.cumsum(0) - sizes)[:, None]
        back = torch.tensor([[conv.dilation * k for k in range(conv.kernel - 1, 0, -1)] for conv in convs])
        time, size = torch.arange(times)[:, None, None], sizes[:, None]
        device = shift.device
        # rings of reach + 1 places one after the other; where a time's inputs go, and where the taps stand
        self._now = list((starts + time % size)[..., 0].to(device))
        self._taps = list((starts + (time - back) % size).flatten(1).to(device))
        self._kept = empty.repeat_interleave(sizes.to(device), 0)[:, None].repeat(1, batch, 1)
        # [L · older taps, inputs, outputs]
        self._weight = torch.stack([conv.weight[:-1].detach().to(shift.dtype) for conv in convs]).flatten(0, 1)
        older = back.shape[1]
        self._shift = torch.zeros(len(convs), older, batch, shift.shape[2], dtype=shift.dtype, device=device)
        self._shift[:, 0] = shift
        self._found = self._kept.new_empty(len(self._weight), batch, empty.shape[1])
        self._each = torch.empty_like(self._shift)
        self._sum = self._each[:, 0] if older == 1 else torch.empty_like(self._each[:, 0])
        self._flat, self._several = (self._shift.flatten(0, 1), self._each.flatten(0, 1)), older > 1
        self.adds = list(self._sum.unbind())
        """What the older taps and the shift add to the outputs of each convolution at the time of the last `before`, [B, outputs]."""

    def before(self, time: int) -> None:
        """Find what the older taps add at this time."""
        torch.index_select(self._kept, 0, self._taps[time], out=self._found)
        torch.baddbmm(self._flat[0], self._found, self._weight, out=self._flat[1])
        if self._several:
            torch.sum(self._each, 1, out=self._sum)

    def keep(self, time: int, x: Tensor) -> None:
        """Remember the inputs of all convolutions at this time, [L, B, inputs]."""
        self._kept.index_copy_(0, self._now[time], x)
