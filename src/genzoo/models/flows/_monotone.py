"""Increasing maps of the line, one for each dimension: mixtures of sigmoids and rational-quadratic splines.

As in `nn.bijections`, `forward(x)` of x [B, D] returns (y, log|det dy/dx| [B]) and `inverse(y)` returns x. The
log-determinant is the sum of the logs of the D slopes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BISECTIONS = 64
"""Halvings of an interval of float64 numbers until nothing is left of it."""
MIN_BIN = 1e-4
"""Smallest width and height of a spline's bin, as a part of the whole box."""
MIN_SLOPE = 1e-3
"""Smallest slope at a spline's knot."""


class SigmoidMixture(nn.Module):
    """y = logit(Σ_k π_k σ(a_k (x - m_k))), a_k > 0: as many steep places as there are parts.

    The logit takes the mixture, which lies in (0, 1), to the whole line; far out the map is linear. log F, log(1 - F) and
    log f come from log-sigmoids, so nothing underflows in the tails.

    Args:
        dims: D.
        parts: Sigmoids in each dimension.
        bound: Their centres start evenly spaced in [-bound, bound].
    """

    def __init__(self, dims: int, parts: int, bound: float) -> None:
        super().__init__()
        centres = bound * (2 * (torch.arange(parts) + 0.5) / parts - 1)
        self.logits = nn.Parameter(torch.zeros(dims, parts))
        self.centres = nn.Parameter(centres.expand(dims, parts).clone())
        self.log_slopes = nn.Parameter(torch.full((dims, parts), math.log(1.7 * max(1.0, parts / (2 * bound)))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        y, log_slope = self._map(x)
        return y, log_slope.sum(1)

    def _map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, log_a = self.logits.to(x.dtype).log_softmax(1), self.log_slopes.to(x.dtype)
        t = log_a.exp() * (x[..., None] - self.centres.to(x.dtype))
        below, above = F.logsigmoid(t), F.logsigmoid(-t)
        log_f, log_rest = (weight + below).logsumexp(2), (weight + above).logsumexp(2)
        log_density = (weight + log_a + below + above).logsumexp(2)
        return log_f - log_rest, log_density - log_f - log_rest

    @torch.no_grad()
    def inverse(self, y: Tensor) -> Tensor:
        """Return x, by bisection in float64 between the smallest and the largest solution of the single sigmoids."""
        target = y.double()
        single = target[..., None] * (-self.log_slopes.double()).exp() + self.centres.double()
        low, high = single.amin(2), single.amax(2)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self._map(middle)[0] < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).to(y.dtype)


class Spline(nn.Module):
    """Monotone rational-quadratic spline inside [-bound, bound]², the identity outside (arXiv:1906.04032, equations 4 to 8).

    Args:
        dims: D.
        bins: Pieces in each dimension.
        bound: Half the side of the box.
    """

    def __init__(self, dims: int, bins: int, bound: float) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        self.widths = nn.Parameter(torch.zeros(dims, bins))
        self.heights = nn.Parameter(torch.zeros(dims, bins))
        self.slopes = nn.Parameter(torch.full((dims, bins - 1), math.log(math.expm1(1 - MIN_SLOPE))))

    def _knots(self, raw: Tensor) -> Tensor:
        """Return the edges of the bins, [D, bins + 1], from -bound to bound exactly."""
        parts = MIN_BIN + (1 - self.bins * MIN_BIN) * raw.softmax(1)
        inside = 2 * self.bound * parts.cumsum(1)[:, :-1] - self.bound
        end = raw.new_full((raw.shape[0], 1), self.bound)
        return torch.cat([-end, inside, end], 1)

    def _pieces(self, values: Tensor, *, by_height: bool) -> tuple[Tensor, ...]:
        """Return, of the bin in which each value [B, D] lies: left edge, width, bottom, height, left slope, right slope."""
        x, y = self._knots(self.widths.to(values.dtype)), self._knots(self.heights.to(values.dtype))
        one = y.new_ones(y.shape[0], 1)
        slopes = torch.cat([one, MIN_SLOPE + F.softplus(self.slopes.to(values.dtype)), one], 1)
        edges = (y if by_height else x).detach()
        if torch.compiler.is_exporting():  # formats for other programs have no search, and count what lies below
            bin_ = (values.mT[..., None] >= edges[:, None, 1:-1]).sum(-1)
        else:
            bin_ = torch.searchsorted(edges[:, 1:-1].contiguous(), values.mT.detach().contiguous(), right=True)

        def at(table: Tensor, step: int = 0) -> Tensor:
            return table.gather(1, bin_ + step).mT

        left, bottom = at(x), at(y)
        return left, at(x, 1) - left, bottom, at(y, 1) - bottom, at(slopes), at(slopes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        inside = x.abs() < self.bound
        # clipped first: a value far outside would make infinities, and these make NaN gradients even behind a `where`
        clipped = x.clamp(-self.bound, self.bound)
        left, width, bottom, height, d0, d1 = self._pieces(clipped, by_height=False)
        t, s = (clipped - left) / width, height / width
        rest = t * (1 - t)
        below = s + (d1 + d0 - 2 * s) * rest
        y = bottom + height * (s * t.square() + d0 * rest) / below
        slope = s.square() * (d1 * t.square() + 2 * s * rest + d0 * (1 - t).square()) / below.square()
        return torch.where(inside, y, x), torch.where(inside, slope.log(), 0).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x: the root of a quadratic, in the form that does not cancel."""
        inside = y.abs() < self.bound
        clipped = y.clamp(-self.bound, self.bound)
        left, width, bottom, height, d0, d1 = self._pieces(clipped, by_height=True)
        s, rise = height / width, clipped - bottom
        bend = rise * (d1 + d0 - 2 * s)
        a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * rise
        root = (b.square() - 4 * a * c).clamp(min=0).sqrt()  # rounding may leave it a little below zero
        return torch.where(inside, left + width * (2 * c / (-b - root)), y)
