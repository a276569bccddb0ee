"""Kernels, and the sums of their values over all pairs of two sets, from which the squared MMD and its standard error come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.metrics.errors import variance_of_pairs
from genzoo.metrics.maths.inputs import squared_distances

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Rows [n, D] and [m, D] to kernel values [n, m]."""


def polynomial(a: Tensor, b: Tensor) -> Tensor:
    """Return (aᵀb / D + 1)³."""
    x = torch.addmm(torch.ones((), dtype=a.dtype, device=a.device), a, b.T, alpha=1 / a.shape[1])
    return x.square().mul_(x)


def gaussian(sigma: float) -> Kernel:
    """Return the kernel exp(−|a − b|² / 2σ²)."""
    return lambda a, b: squared_distances(a, b).mul_(-0.5 / sigma**2).exp_()


@dataclass(frozen=True)
class KernelSums:
    """Sums of kernel values over the other examples, one for each example, float64.

    Args:
        xx: Σ over other x of k(xᵢ, x), [N].
        yy: Σ over other y of k(yⱼ, y), [M].
        xy: Σ over y of k(xᵢ, y), [N].
        yx: Σ over x of k(x, yⱼ), [M].
    """

    xx: Tensor
    yy: Tensor
    xy: Tensor
    yx: Tensor

    def unbiased(self) -> float:
        """Return the U-statistic, which compares no example with itself."""
        n, m = len(self.xx), len(self.yy)
        return float(self.xx.sum() / (n * (n - 1)) + self.yy.sum() / (m * (m - 1)) - 2 * self.xy.sum() / (n * m))

    def biased(self, diagonal: float = 1.0) -> float:
        """Return the V-statistic of a kernel with k(x, x) = `diagonal`, which is never negative."""
        n, m = len(self.xx), len(self.yy)
        within = (self.xx.sum() + n * diagonal) / n**2 + (self.yy.sum() + m * diagonal) / m**2
        return float(within - 2 * self.xy.sum() / (n * m))


@torch.no_grad()
def kernel_sums(x: Tensor, y: Tensor, kernel: Kernel, chunk: int = 1000) -> KernelSums:
    """Sum kernel values in blocks of `chunk`²: products in the dtype given, sums in float64, symmetric halves once."""

    def within(a: Tensor) -> Tensor:
        out = torch.zeros(len(a), dtype=torch.float64, device=a.device)
        for i in range(0, len(a), chunk):
            rows = a[i : i + chunk]
            block = kernel(rows, rows)
            block.fill_diagonal_(0)
            out[i : i + chunk] += block.sum(1, dtype=torch.float64)
            for j in range(i + chunk, len(a), chunk):
                block = kernel(rows, a[j : j + chunk])
                out[i : i + chunk] += block.sum(1, dtype=torch.float64)
                out[j : j + chunk] += block.sum(0, dtype=torch.float64)
        return out

    xy = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    yx = torch.zeros(len(y), dtype=torch.float64, device=x.device)
    for i in range(0, len(x), chunk):
        for j in range(0, len(y), chunk):
            block = kernel(x[i : i + chunk], y[j : j + chunk])
            xy[i : i + chunk] += block.sum(1, dtype=torch.float64)
            yx[j : j + chunk] += block.sum(0, dtype=torch.float64)
    return KernelSums(within(x), within(y), xy, yx)


@torch.no_grad()
def samples_error(x: Tensor, sums: KernelSums, kernel: Kernel, chunk: int = 1000) -> float | None:
    """Return the standard error of the U-statistic over draws of `x`, with the other set given.

    Given y it is a mean over pairs of h(x, x') = k(x, x') − mean k(x, y) − mean k(x', y), whose variance `variance_of_pairs` estimates
    without bias; where both sets are of one distribution as well, where a jackknife would be too large.

    Args:
        x: [N, D].
        sums: Of `x` and the other set.
        kernel: The kernel of these sums.
        chunk: Side of a block.

    Returns:
        None for fewer than four examples.
    """
    n = len(x)
    across = sums.xy / len(sums.yy)
    rows = sums.xx - (n - 2) * across - across.sum()
    mean = rows.sum() / (n * (n - 1))
    rows = rows - (n - 1) * mean
    squares = 0.0
    for i in range(0, n, chunk):
        for j in range(i, n, chunk):
            block = kernel(x[i : i + chunk], x[j : j + chunk]).double()
            block -= across[i : i + chunk, None] + across[j : j + chunk] + mean
            if i == j:
                block.fill_diagonal_(0)
            squares += float(block.square().sum()) / (2 if i == j else 1)
    pairs = n * (n - 1) / 2
    return variance_of_pairs(0.0, float(rows.square().sum()), squares, (pairs, n * (n - 1.0) ** 2, pairs))
