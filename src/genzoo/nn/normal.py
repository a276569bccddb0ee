"""Normal densities by the root of their precision, and moments that are merged batch by batch.

A root A has Σ⁻¹ = A Aᵀ. Its number of dimensions says the structure: 0 spherical (1/σ), 1 diagonal (1/σ_d), 2 full (upper
triangular). Scoring needs products with A only, so no step inverts a covariance.
"""

from __future__ import annotations

import torch
from torch import Tensor


def precision_root(covariance: Tensor) -> Tensor:
    """Return A with Σ⁻¹ = A Aᵀ for a variance [], variances [D] or a covariance matrix [D, D].

    Raises:
        ValueError: The covariance is singular, or so nearly that float64 cannot tell.
    """
    if covariance.ndim < 2:
        if not bool((covariance > 0).all()):
            raise ValueError("a variance is zero")
        return covariance.rsqrt()
    lower, info = torch.linalg.cholesky_ex(covariance)
    pivots, scale = lower.diagonal().square(), covariance.diagonal()
    if int(info) or not bool((pivots > 1e-14 * scale).all()):
        raise ValueError("the covariance matrix is singular")
    eye = torch.eye(lower.shape[0], dtype=lower.dtype, device=lower.device)
    inverse: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False)
    return inverse.mT.contiguous()


def whiten(offset: Tensor, root: Tensor) -> Tensor:
    """Map offsets from the mean, [B, D], to unit covariance."""
    return offset * root if root.ndim < 2 else offset @ root


def colour(z: Tensor, root: Tensor) -> Tensor:
    """Undo `whiten`: standard normal [B, D] to offsets from the mean."""
    return z / root if root.ndim < 2 else torch.linalg.solve_triangular(root, z, upper=True, left=False)


def log_det(root: Tensor, dims: int) -> Tensor:
    """Return log |A|, that is −½ log |Σ|."""
    if root.ndim == 0:
        return dims * root.log()
    return (root if root.ndim == 1 else root.diagonal()).log().sum()


def precision_trace(root: Tensor, dims: int) -> Tensor:
    """Return tr Σ⁻¹."""
    return root.square().sum() * (dims if root.ndim == 0 else 1)


def covariance_matrix(root: Tensor, dims: int) -> Tensor:
    """Return Σ, [D, D], of any structure."""
    if root.ndim < 2:
        return torch.diag(root.pow(-2).expand(dims))
    half = colour(torch.eye(dims, dtype=root.dtype, device=root.device), root)
    return half.mT @ half


def add_moments(count: Tensor, mean: Tensor, scatter: Tensor, x: Tensor, weight: Tensor | None = None) -> None:
    """Merge a batch into running moments, in place (Chan, Golub and LeVeque 1983).

    Every batch is centred on its own mean before anything is squared, so values far from zero lose no digits, which
    E[x²] − E[x]² does.

    Args:
        count: Sum of the weights so far, [].
        mean: Weighted mean so far, [D].
        scatter: Weighted sum of squared deviations so far: [] over all dimensions, [D] each, or [D, D] of outer products.
        x: The batch, [B, D], float64.
        weight: Weights of its points, [B]; one each by default.
    """
    if not x.shape[0]:
        return
    weight = torch.ones_like(x[:, 0]) if weight is None else weight
    added = weight.sum()
    centre = weight @ x / added
    offset = x - centre
    weighted = offset * weight[:, None]
    total = count + added
    step = centre - mean
    between = count * added / total
    if scatter.ndim == 2:
        scatter.addmm_(offset.mT, weighted).addr_(step * between, step)
    elif scatter.ndim == 1:
        scatter.add_((offset * weighted).sum(0)).add_(step.square() * between)
    else:
        scatter.add_((offset * weighted).sum()).add_(step.square().sum() * between)
    mean.add_(step * (added / total))
    count.add_(added)
