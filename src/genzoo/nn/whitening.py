"""An invertible linear map that is fitted to the training set, not learned: it takes away all that a covariance can tell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.core.errors import UserError
from genzoo.nn.normal import add_moments, colour, precision_root, whiten

MOST_WHITENED = 4096
"""Largest number of dimensions: the matrix has its square of entries, and fitting it costs its cube."""


class Whitening(nn.Module):
    """z = Aᵀ(x - μ) with A Aᵀ = Σ⁻¹, A upper triangular: mean 0 and covariance 1 on what it was fitted to.

    log|det| = Σ log A_ii, and the inverse is one triangular solve. z_i is what a linear prediction of x_i from x_1 … x_i-1
    leaves, over its standard deviation. Before the fit it is the identity. μ and A are buffers:
    constants to the optimiser, kept in the checkpoint.

    Args:
        dims: Size of a vector.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        if dims > MOST_WHITENED:
            raise UserError(
                f"whiten=true has a matrix of {dims} x {dims}; at most {MOST_WHITENED}: give a smaller size, or whiten=false."
            )
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("root", torch.eye(dims))
        self.register_buffer("fitted", torch.tensor(False))
        self._moments: list[Tensor] = []

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Merge the moments of a batch [B, D], in float64 on the CPU: some devices have none."""
        x = x.double().cpu()
        if not self._moments:
            d = x.shape[1]
            self._moments = [torch.zeros(shape, dtype=torch.float64) for shape in ((), (d,), (d, d))]
        add_moments(*self._moments, x)

    @torch.no_grad()
    def fit(self, noise: float = 0.0) -> None:
        """Set μ and A from the moments that were observed.

        Args:
            noise: Variance of what is added to every value afterwards: of dequantisation, which the moments have not seen.

        Raises:
            UserError: The observed vectors lie in fewer dimensions than they have.
        """
        count, mean, scatter = self._moments
        covariance = scatter / count
        covariance.diagonal().add_(noise)
        try:
            root = precision_root(covariance)
        except ValueError as error:
            raise UserError(f"whiten=true: {error}; give more examples of them, or whiten=false.") from None
        self.mean.copy_(mean)
        self.root.copy_(root)
        self.fitted.fill_(True)
        self._moments = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det)."""
        with torch.autocast(x.device.type, enabled=False):
            return whiten(x - self.mean, self.root), self.root.diagonal().log().sum().expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        with torch.autocast(z.device.type, enabled=False):
            return self.mean + colour(z, self.root)
