"""Number, mean and scatter of feature vectors in float64, gathered batch by batch."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from genzoo.metrics.held import parts
from genzoo.metrics.maths.inputs import PART, checked


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
        for part in parts(checked(features, at_least=0, dims=len(self.mean)), PART):
            if len(part):
                x = part.to("cpu", torch.float64)
                other = Moments(x.shape[1])
                other.n, other.mean = len(x), x.mean(0)
                centred = x - other.mean
                other.scatter = centred.T @ centred
                self.merge(other)
        return self

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
        half: Tensor = vectors * values.clamp_min(0).sqrt()
        return half
