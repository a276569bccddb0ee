"""The Fréchet distance between two sets of features, as between Gaussians with their means and covariances.

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½        (Dowson and Landau 1982; Heusel et al., arXiv:1706.08500)

Everything is float64. The trace of the square root is the nuclear norm of H₁ᵀH₂ for any Σᵢ = HᵢHᵢᵀ, so no matrix square root is ever
taken: `scipy.linalg.sqrtm` returns −1e59 on rank-deficient covariances in some versions, and Newton-Schulz iteration stops 15 % off on
ill-conditioned ones.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from genzoo.metrics.maths.inputs import checked, checked_pair


class Moments:
    """Number, mean and scatter of feature vectors, gathered in one pass over any number of batches.

    Batches are merged by their centred sums (Chan, Golub and LeVeque 1983), so that a large mean costs no digits.

    Args:
        dims: Number of features.
    """

    def __init__(self, dims: int) -> None:
        self.n = 0
        self.mean = torch.zeros(dims, dtype=torch.float64)
        self.scatter = torch.zeros(dims, dims, dtype=torch.float64)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the moments of [N, D] features."""
        return cls(features.shape[1]).update(features)

    def update(self, features: Tensor) -> Moments:
        """Take in features [N, D]; returns itself.

        Raises:
            UserError: Another number of features, or NaN or infinite values.
        """
        x = checked(features, at_least=0, dims=len(self.mean)).to("cpu", torch.float64)
        other = Moments(x.shape[1])
        if len(x):
            other.n, other.mean = len(x), x.mean(0)
            centred = x - other.mean
            other.scatter = centred.T @ centred
        return self.merge(other)

    def merge(self, other: Moments) -> Moments:
        """Take in what `other` has gathered (another batch, another process); returns itself."""
        n = self.n + other.n
        if other.n:
            delta = other.mean - self.mean
            self.mean = self.mean + delta * (other.n / n)
            self.scatter = self.scatter + other.scatter + torch.outer(delta, delta) * (self.n * other.n / n)
            self.n = n
            self.__dict__.pop("half", None)
        return self

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (denominator n − 1), float64 [D, D]."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least two examples, there are {self.n}")
        return self.scatter / (self.n - 1)

    @functools.cached_property
    def half(self) -> Tensor:
        """H with H Hᵀ = covariance, float64 [D, D]; computed once, so that one reference serves many comparisons.

        Not Cholesky: features that are always zero, or fewer examples than features, make the covariance singular.
        """
        values, vectors = torch.linalg.eigh(self.covariance)
        return vectors * values.clamp_min(0).sqrt()


def frechet_from_moments(a: Moments, reference: Moments) -> float:
    """Return the squared Fréchet distance from moments; the factorization of `reference` is kept for the next call."""
    h = reference.half
    overlap = torch.linalg.eigvalsh(h.T @ a.covariance @ h).clamp_min(0).sqrt().sum()
    traces = a.covariance.trace() + reference.covariance.trace()
    return _distance(a.mean, reference.mean, traces, overlap)


def frechet_to_reference(features: Tensor, reference: Moments) -> float:
    """Return the squared Fréchet distance of features [N, D] to a reference whose factorization is kept for the next call.

    With fewer examples than features the covariance is never formed: the overlap is the nuclear norm of the [N, D] product of the
    centred features with the reference's half.
    """
    x = checked(features, at_least=2, dims=len(reference.mean)).to("cpu", torch.float64)
    if len(x) >= x.shape[1]:
        return frechet_from_moments(Moments.of(x), reference)
    mean, x = _standard(x)
    traces = x.square().sum() + reference.covariance.trace()
    return _distance(mean, reference.mean, traces, torch.linalg.svdvals(x @ reference.half).sum())


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared Fréchet distance between features [N, D] and [M, D] (the number that FID and FLD report).

    With fewer examples than features on both sides it comes from the singular values of the [N, M] cross-Gram matrix: exact, and
    several times faster than any [D, D] factorization. A set of identical images has covariance 0: the distance is then
    |μ₁ − μ₂|² + tr Σ of the other set.

    Raises:
        UserError: Shapes that do not fit, fewer than two examples on a side, NaN or infinite values.
    """
    a, b = checked_pair(a, b, ("the first features", "the second features"))
    if max(len(a), len(b)) >= a.shape[1]:
        return frechet_from_moments(Moments.of(a), Moments.of(b))
    (mean_a, x), (mean_b, y) = (_standard(f.to("cpu", torch.float64)) for f in (a, b))
    return _distance(mean_a, mean_b, x.square().sum() + y.square().sum(), torch.linalg.svdvals(x @ y.T).sum())


def _standard(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and centred rows over √(n − 1), whose Gram matrix is the covariance."""
    mean = x.mean(0)
    return mean, (x - mean) / (len(x) - 1) ** 0.5


def _distance(mean_a: Tensor, mean_b: Tensor, traces: Tensor, overlap: Tensor) -> float:
    return max(0.0, float((mean_a - mean_b).square().sum() + traces - 2 * overlap))
