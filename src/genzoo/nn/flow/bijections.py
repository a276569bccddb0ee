"""Invertible maps with known log-determinants: couplings, activation norm, squeezes, and chains of them.

`forward(x)` returns (y, log|det dy/dx| [B]); `inverse(y)` returns x. The maps themselves compute in the precision of
`x`; the nets inside a coupling compute in that of their weights, and only they take part in autocast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.nn.layout import pointwise
from genzoo.nn.remat import again
from genzoo.ranks.sums import mean_over_ranks

MIN_STD = 1e-3
"""Smallest standard deviation that `ActNorm` divides by: a constant channel keeps a finite scale."""

RANGE = 1.5
"""What a coupling's log-scale is bounded by at first. The noise in the one level of a black pixel must be stretched by
about e^5 in the few couplings that change it: with a bound of 1 much of a short training goes into raising the bound,
with 3 the first steps diverge (both seen on MNIST)."""


def widened(x: Tensor) -> Tensor:
    """Return `x` in float64, where the device has it: what a chain of affine couplings is inverted in.

    A coupling that contracts by e^-1.5 makes the rounding errors behind it e^1.5 times as large in the inverse, and the next one finds
    them in what its net reads. Carried in float64, the values that a net is given in the inverse round to those of the way forward, so
    that its answer is the same and nothing is left to grow.
    """
    return x if x.device.type == "mps" else x.double()


def answer(net: nn.Module, kept: Tensor) -> Tensor:
    """Return what a net makes of `kept`, in the precision of `kept`."""
    found: Tensor = net(kept.to(next(net.parameters(), kept).dtype))
    return found.to(kept.dtype)


def squeeze(x: Tensor) -> Tensor:
    """Map [B, C, H, W] to [B, 4C, H/2, W/2]: each 2x2 block row by row, position before channel.

    The first half of the channels is the upper row of every block, so a split by channels is no checkerboard.
    """
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Undo `squeeze`."""
    b, c, h, w = x.shape
    return x.reshape(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * h, 2 * w)


def checkerboard(height: int, width: int, *, odd: bool = False) -> Tensor:
    """Return 1 where row + column is even (odd), else 0: float [1, 1, H, W]."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    return ((rows + columns) % 2 == int(odd)).float()[None, None]


class ActNorm(nn.Module):
    """Shift and scale of each channel, so that the first training batch leaves with mean 0 and variance 1.

    From Glow (arXiv:1807.03039). The start is computed over the batches of all ranks, so that ranks agree; only in training
    mode; and only once: whether it has happened is saved and restored with the parameters.

    Args:
        channels: Size of dimension 1.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._ready = False  # True once the buffer was seen to be: reading it every step would wait for the device

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        flat = x.detach().transpose(0, 1).flatten(1).double()
        mean = mean_over_ranks(flat.mean(1))
        std = mean_over_ranks((flat - mean[:, None]).square().mean(1)).sqrt().clamp(min=MIN_STD)
        self.shift.copy_(-mean)
        self.log_scale.copy_(-std.log())
        self.initialised.fill_(True)

    def _view(self, parameter: Tensor, x: Tensor) -> Tensor:
        # never below float32: inside a net under autocast x is bfloat16
        return parameter.to(torch.promote_types(parameter.dtype, x.dtype)).view(1, -1, *[1] * (x.ndim - 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        if self.training and not self._ready:
            if not self.initialised:
                self._start(x)
            self._ready = True
        log_det = self._view(self.log_scale, x).sum() * x[0, 0].numel()
        return (x + self._view(self.shift, x)) * self._view(self.log_scale, x).exp(), log_det.expand(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        return y * self._view(-self.log_scale, y).exp() - self._view(self.shift, y)


class MaskedCoupling(nn.Module):
    """Affine coupling by a mask m: y = m·x + (1-m)·(x·exp(s(m·x)) + t(m·x)).

    s is a tanh with a learned range per channel, so that no single pixel can blow up.

    Args:
        net: From masked x to twice its channels (s and t).
        mask: 1 keeps, 0 changes; broadcasts over x.
        channels: Size of dimension 1 of x.
    """

    mask: Tensor

    def __init__(self, net: nn.Module, mask: Tensor, channels: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mask", mask, persistent=False)
        self.range = nn.Parameter(torch.full((channels, *[1] * (mask.ndim - 2)), RANGE))

    def _scale_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = answer(self.net, kept).chunk(2, 1)
        change = 1 - self.mask
        return change * self.range * torch.tanh(raw / RANGE), change * shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        log_scale, shift = self._scale_shift(x * self.mask)
        return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        log_scale, shift = self._scale_shift(y * self.mask)
        return (y - shift) * (-log_scale).exp()


class ChannelCoupling(nn.Module):
    """Affine coupling of two halves of the channels: the net sees one half and changes the other.

    Args:
        net: From C/2 to C channels (s and t).
        channels: Size of dimension 1 of x, even.
        second: Keep the second half and change the first.
    """

    def __init__(self, net: nn.Module, channels: int, *, second: bool = False) -> None:
        super().__init__()
        self.net = net
        self.second = second
        self.range = nn.Parameter(torch.full((channels // 2, 1, 1), RANGE))

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, 1)
        return (b, a) if self.second else (a, b)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.second else [kept, changed], 1)

    def _scale_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = answer(self.net, kept).chunk(2, 1)
        return self.range * torch.tanh(raw / RANGE), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        kept, changed = self._halves(x)
        log_scale, shift = self._scale_shift(kept)
        return self._join(kept, changed * log_scale.exp() + shift), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        kept, changed = self._halves(y)
        log_scale, shift = self._scale_shift(kept)
        return self._join(kept, (changed - shift) * (-log_scale).exp())


class AdditiveCoupling(nn.Module):
    """Additive coupling of a vector's even and odd places: y_b = x_b + m(x_a); it keeps volumes, so log_det = 0.

    Args:
        net: m, from the kept places to the others.
        odd: Keep the odd places and change the even ones.
    """

    def __init__(self, net: nn.Module, *, odd: bool = False) -> None:
        super().__init__()
        self.net = net
        self.kept = int(odd)

    def _moved(self, x: Tensor, sign: int) -> Tensor:
        y = x.clone()
        y[:, 1 - self.kept :: 2] += sign * answer(self.net, x[:, self.kept :: 2])
        return y

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        return self._moved(x, 1), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        return self._moved(y, -1)


class LULinear(nn.Module):
    """Invertible linear map of dimension 1 in its LU form, y = P L U x: an invertible 1x1 convolution where there is space.

    L is lower triangular with ones on its diagonal, U upper triangular with diagonal sign · exp(s); P and the signs are
    fixed. log|det| is the number of positions times the sum of s, and the inverse takes two triangular solves. L and U
    share one matrix: strictly below its diagonal L, strictly above U, on it s.

    Args:
        channels: Size of dimension 1.
        rotate: Start as a random rotation (Glow) instead of the identity.
    """

    sign: Tensor
    order: Tensor

    def __init__(self, channels: int, *, rotate: bool = False) -> None:
        super().__init__()
        start = torch.eye(channels, dtype=torch.float64)
        if rotate:
            start = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        p, lower, upper = torch.linalg.lu(start)
        diagonal = upper.diagonal()
        packed = lower.tril(-1) + upper.triu(1) + torch.diag(diagonal.abs().log())
        self.packed = nn.Parameter(packed.float())
        self.register_buffer("sign", diagonal.sign().float())
        self.register_buffer("order", p.argmax(1))  # y[i] = (L U x)[order[i]]
        self.settled: tuple[Tensor, Tensor] | None = None

    def factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return L and U, each [C, C]."""
        packed = self.packed.to(dtype)
        ones = torch.ones(packed.shape[0], dtype=dtype, device=packed.device)
        diagonal = self.sign.to(dtype) * packed.diagonal().exp()
        return packed.tril(-1) + torch.diag(ones), packed.triu(1) + torch.diag(diagonal)

    @torch.no_grad()
    def settle(self) -> None:
        """Multiply the factors and invert them, in float64, once: the weights will not change any more."""
        lower, upper = self.factors(torch.float64)
        whole = (lower @ upper)[self.order]
        self.settled = whole, torch.linalg.inv(whole)

    def _settled(self, x: Tensor, which: int) -> Tensor:
        """Multiply by what `settle` kept: the map (0) or its inverse (1)."""
        assert self.settled is not None
        found: Tensor = (
            self.settled[which].to(x.dtype) @ x.flatten(2) if x.ndim > 2 else x @ self.settled[which].to(x.dtype).mT
        )
        return found.view(x.shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        with torch.autocast(x.device.type, enabled=False):
            log_det = self.packed.diagonal().to(x.dtype).sum() * x[0, 0].numel()
            if self.settled is not None:
                return self._settled(x, 0), log_det.expand(x.shape[0])
            lower, upper = self.factors(x.dtype)
            if x.ndim == 2:
                y = (x @ upper.mT @ lower.mT)[:, self.order]
            else:
                y = pointwise(x, (lower @ upper)[self.order][:, :, None, None])
        return y, log_det.expand(x.shape[0])

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        with torch.autocast(y.device.type, enabled=False):
            if self.settled is not None:
                return self._settled(y, 1)
            lower, upper = self.factors(y.dtype)
            columns = y.transpose(0, 1).flatten(1)[self.order.argsort()]
            half = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
            x: Tensor = torch.linalg.solve_triangular(upper, half, upper=True)
            return x.view(y.shape[1], y.shape[0], *y.shape[2:]).transpose(0, 1).contiguous()


class Chain(nn.Sequential):
    """Bijections one after another."""

    remat = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, sum of log_dets)."""
        total = x.new_zeros(x.shape[0])
        for part in self:
            x, log_det = again(self, part, x)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        part: Any  # a bijection
        for part in reversed(self):
            y = part.inverse(y)
        return y


def logit(u: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Return y = log(p / (1 - p)), p = α + (1 - 2α)·u, of `u` in [0, 1] and its log-determinant [B].

    log dy/du = softplus(y) + softplus(-y) + log(1 - 2α).
    """
    p = alpha + (1 - 2 * alpha) * u
    y = torch.log(p) - torch.log1p(-p)
    if torch.compiler.is_exporting():  # the same, without a softplus of float64, which runtimes lack
        slope = math.log(1 - 2 * alpha) - torch.log(p) - torch.log1p(-p)
    else:
        slope = F.softplus(y) + F.softplus(-y) + torch.log(p.new_tensor(1 - 2 * alpha))
    return y, slope.flatten(1).sum(1)


def unlogit(y: Tensor, alpha: float) -> Tensor:
    """Undo `logit`; outside [0, 1] where sigmoid(y) is outside [α, 1 - α]."""
    return (torch.sigmoid(y) - alpha) / (1 - 2 * alpha)
