"""Kernel distances: the unbiased squared MMD with the polynomial kernel (KID) and with a Gaussian kernel (CMMD).

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y)                    (Gretton et al. 2012, lemma 6)

KID takes k(x, y) = (xᵀy / D + 1)³ (Bińkowski et al., arXiv:1801.01401); CMMD takes k(x, y) = exp(−|x − y|² / 2σ²) with σ = 10 on unit
vectors of CLIP, keeps the diagonal, and multiplies by 1000 (Jayasumana et al., arXiv:2401.09603). Every pair is used once: a hundred
subsets of a thousand cost as much as ten thousand against ten thousand and are noisier. Unbiased estimates can be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.errors import variance_of_pairs
from genzoo.metrics.maths.inputs import centred_pair, checked_pair, squared_distances

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
        """The U-statistic: no example is compared with itself."""
        n, m = len(self.xx), len(self.yy)
        return float(self.xx.sum() / (n * (n - 1)) + self.yy.sum() / (m * (m - 1)) - 2 * self.xy.sum() / (n * m))

    def biased(self, diagonal: float = 1.0) -> float:
        """The V-statistic of a kernel with k(x, x) = `diagonal`: never negative."""
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


def kid(fake: Tensor, real: Tensor, *, chunk: int = 1000) -> dict[str, float]:
    """Return the KID of all pairs: `value`, and `se`, its standard error over draws of the fakes, with the real examples given.

    Args:
        fake: Features [N, D], N ≥ 3.
        real: Features [M, D], M ≥ 3.
        chunk: Side of a block of the kernel matrix; memory is chunk².

    Raises:
        UserError: Shapes that do not fit, fewer than three examples on a side, NaN or infinite values.
    """
    x, y = (f.float() for f in checked_pair(fake, real, at_least=3))
    sums = kernel_sums(x, y, polynomial, chunk)
    se = samples_error(x, sums, polynomial, chunk)
    return {"value": sums.unbiased(), "se": math.nan if se is None else se, "n_fake": len(x), "n_real": len(y)}


def kid_subsets(fake: Tensor, real: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return KID as its paper reports it: the mean and the standard deviation over random subsets.

    The deviation is that of one subset's value and not the error of the mean: subsets share examples, and the mean over ever more of them is the
    value of all pairs. So the mean's variance is that of all pairs plus the deviation² over the number of subsets, which is `se`².

    Args:
        fake: Features [N, D].
        real: Features [M, D].
        subsets: Number of subsets.
        size: Examples of each side in a subset, drawn without replacement.
        seed: Seed of the draws.

    Raises:
        UserError: Fewer examples than a subset takes, or what `kid` refuses.
    """
    x, y = (f.float() for f in checked_pair(fake, real, at_least=3))
    if size < 2 or subsets < 2 or size > min(len(x), len(y)):
        raise UserError(
            f"{subsets} subsets of {size} need two subsets and 2 to {min(len(x), len(y)):,} examples in each; "
            f"there are {len(x):,} and {len(y):,} examples"
        )
    g = torch.Generator().manual_seed(seed)
    values = torch.tensor(
        [
            kernel_sums(
                x[torch.randperm(len(x), generator=g)[:size]], y[torch.randperm(len(y), generator=g)[:size]], polynomial
            ).unbiased()
            for _ in range(subsets)
        ],
        dtype=torch.float64,
    )
    return {
        "value": float(values.mean()),
        "sd": float(values.std(correction=0)),
        "se": math.hypot(kid(x, y)["se"], float(values.std()) / math.sqrt(subsets)),
        "subsets": subsets,
        "size": size,
        "seed": seed,
    }


def rbf_mmd(fake: Tensor, real: Tensor, *, sigma: float, chunk: int = 1000) -> dict[str, float]:
    """Return the squared MMD under a Gaussian kernel of width σ: unbiased `value` with its `se` over draws of the fakes, and `biased`.

    Args:
        fake: Features [N, D], N ≥ 3.
        real: Features [M, D], M ≥ 3.
        sigma: Width of the kernel, in the units of the features.
        chunk: Side of a block.

    Raises:
        UserError: σ is not positive, or what `kid` refuses.
    """
    if not sigma > 0:
        raise UserError(f"the kernel's width must be more than 0, not {sigma}")
    x, y = centred_pair(*checked_pair(fake, real, at_least=3))
    kernel = gaussian(sigma)
    sums = kernel_sums(x, y, kernel, chunk)
    se = samples_error(x, sums, kernel, chunk)
    return {
        "value": sums.unbiased(), "se": math.nan if se is None else se, "biased": sums.biased(), "sigma": sigma,
        "n_fake": len(x), "n_real": len(y),
    }  # fmt: skip


def cmmd(fake: Tensor, real: Tensor, *, chunk: int = 1000) -> float:
    """Return CMMD: rows scaled to length 1, Gaussian kernel of σ = 10, the biased statistic times 1000.

    Comparable with published values only on the image embeddings of CLIP ViT-L/14 at 336 pixels.

    Raises:
        UserError: A row is all zeros, or what `kid` refuses.
    """
    x, y = checked_pair(fake, real, at_least=3)
    lengths = [f.double().norm(dim=1, keepdim=True) for f in (x, y)]
    zero = sum(int((n == 0).sum()) for n in lengths)
    if zero:
        raise UserError(f"{zero} embeddings are all zeros and have no direction")
    x, y = (f.double() / n for f, n in zip((x, y), lengths, strict=True))
    return 1000 * rbf_mmd(x, y, sigma=10, chunk=chunk)["biased"]
