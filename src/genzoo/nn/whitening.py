"""Linear maps that are fitted to the training set, not learned: they take away what moments can tell, units before all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.errors import UserError
from genzoo.nn.normal import add_moments, colour, log_det, precision_root, whiten

MOST_WHITENED = 4096
"""Largest number of dimensions of a full matrix: it has their square of entries, and fitting it costs their cube."""


class Whitening(nn.Module):
    """z = Aᵀ(x - μ) with A Aᵀ = Σ⁻¹: mean 0 and covariance 1 on what it was fitted to.

    A full A is upper triangular: log|det| = Σ log A_ii, and the inverse is one triangular solve. z_i is what a linear prediction of
    x_i from x_1 … x_i-1 leaves, over its standard deviation. A `diagonal` one standardizes: each z_i is x_i less its mean, over its
    standard deviation, so that a system of points works alike in metres and in millimetres (see `calibrate_points`).

    Before the fit it is the identity. μ and A are buffers: constants to the optimizer, kept in the checkpoint. They are float32, which
    loses nothing of float32 data far from zero: a difference of two such numbers that are near each other is exact.

    Args:
        dims: Size of a vector.
        diagonal: Scale each dimension by itself.
    """

    mean: Tensor
    root: Tensor
    fitted: Tensor

    def __init__(self, dims: int, *, diagonal: bool = False) -> None:
        super().__init__()
        if dims > MOST_WHITENED and not diagonal:
            raise UserError(
                f"whiten=true has a matrix of {dims} x {dims}; at most {MOST_WHITENED}: give a smaller size, or whiten=false."
            )
        self.diagonal = diagonal
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("root", torch.ones(dims) if diagonal else torch.eye(dims))
        self.register_buffer("fitted", torch.tensor(False))
        self._moments: list[Tensor] = []
        self._resolution = 0.0
        self.settled: Tensor | None = None

    def earlier(self, state: dict[str, Any], prefix: str) -> None:
        """Put into a state that was written before systems of points were scaled what it stood for: the identity."""
        if self.diagonal and not any(key.startswith(prefix) for key in state):
            fresh = (torch.zeros_like(self.mean), torch.ones_like(self.root), torch.zeros_like(self.fitted))
            state.update(zip((prefix + name for name in ("mean", "root", "fitted")), fresh, strict=True))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.earlier(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def partial_fit(self, x: Tensor) -> None:
        """Merge the moments of a batch [B, D], in float64 on the CPU: some devices have none."""
        self._resolution = torch.finfo(x.dtype).eps
        x = x.double().cpu()
        if not self._moments:
            shapes = (), self.mean.shape, self.root.shape
            self._moments = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        count, mean, scatter = self._moments
        add_moments(count, mean, scatter, x)

    @torch.no_grad()
    def fit(self, noise: float = 0.0) -> None:
        """Set μ and A from the moments that were observed.

        Args:
            noise: Variance of what is added to every value afterwards: of dequantization, which the moments have not seen.

        Raises:
            UserError: The observed vectors lie in fewer dimensions than they have.
        """
        count, mean, scatter = self._moments
        covariance = scatter / count
        if not noise:
            check_columns(mean, covariance if self.diagonal else covariance.diagonal(), self._resolution)
        (covariance if self.diagonal else covariance.diagonal()).add_(noise)
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
            return whiten(x - self.mean, self.root), self.log_det().expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        with torch.autocast(z.device.type, enabled=False):
            return self.mean + (colour(z, self.root) if self.settled is None else z @ self.settled)

    @torch.no_grad()
    def settle(self) -> None:
        """Invert the root, in float64, once: it will not change any more."""
        if self.root.ndim == 2:
            self.settled = torch.linalg.inv(self.root.double()).to(self.root.dtype)

    def log_det(self) -> Tensor:
        """Return log|det A|, []: what a log-density of z lacks to be one of x."""
        return log_det(self.root, self.mean.shape[0])


def check_columns(mean: Tensor, variance: Tensor, resolution: float) -> None:
    """Refuse points with a column that does not vary, or varies no more than its numbers can tell.

    Args:
        mean: Of each column, [D].
        variance: Of each column, [D].
        resolution: Relative distance of two neighbouring numbers: `torch.finfo(dtype).eps` of the data.

    Raises:
        UserError: Names the columns, from 1.
    """
    steps = variance.sqrt() / (mean.abs() * resolution).clamp_min(1e-300)
    for still, what in (
        (steps < 1e-3, "are constant ({}): they have no scale, and nothing about them can be learned; leave them out"),
        (steps < 2, "vary no more than the rounding of numbers so far from zero ({}); subtract that from them first"),
    ):
        if bool(still.any()):
            columns = still.nonzero().flatten().tolist()
            shown = ", ".join(str(i + 1) for i in columns[:10]) + (" …" if len(columns) > 10 else "")
            values = what.format(", ".join(f"{float(mean[i]):g}" for i in columns[:10]))
            raise UserError(
                f"{len(columns)} of {mean.shape[0]} columns of the points, number {shown} (from 1), {values}"
            )


class Unscaled(nn.Module):
    """The map that changes nothing, in the place of a scale: images have their range."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, 0)."""
        return x, x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        """Return z."""
        return z

    def log_det(self) -> float:
        """Return 0."""
        return 0.0


# ---- the scale of a system of points, and its calibration, borrowed by name in the class bodies -----------------------------------------


def scale_for(shape: tuple[int, ...]) -> Whitening | Unscaled:
    """Return what a system keeps as `self.scale`: the map to units of the standard deviations for points (D,), none for anything else."""
    return Whitening(shape[0], diagonal=True) if len(shape) == 1 else Unscaled()


def points_unscaled(self: Any) -> bool:
    """Tell whether these are points whose means and standard deviations are not known yet."""
    return isinstance(self.scale, Whitening) and not bool(self.scale.fitted)


def calibrate_points(self: Any, batch: Mapping[str, Tensor]) -> None:
    """Take in the moments of a batch of points, [B, D]."""
    self.scale.partial_fit(batch["points"])


def finish_points_calibration(self: Any) -> None:
    """Set mean and scale of each column of the points."""
    self.scale.fit()
