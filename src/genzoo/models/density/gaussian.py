"""One Gaussian, fitted in closed form: the yardstick that every deep model has to beat."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.checks import check_data
from genzoo.nn.dequantize import cell_centre, cell_variance, discrete_log_prob, quantize
from genzoo.nn.normal import add_moments, colour, covariance_matrix, log_det, precision_root, precision_trace, whiten
from genzoo.nn.whitening import check_columns

_MATRIX_DIMS = 8192
"""Largest dimension of a covariance matrix: 8192² float64 are half a gigabyte, and there are three of them."""


class Gaussian(System):
    """The maximum-likelihood Gaussian of images or points, in one pass over the data.

    Mean and covariance are the sample's (divided by n, not n − 1). "spherical" averages the variances, "diagonal" keeps
    them, "full" keeps every covariance, "low-rank" is probabilistic PCA: Σ = W Wᵀ + σ² I with W spanning the leading
    eigenvectors and σ² the mean of the eigenvalues left out (Tipping and Bishop 1999, equations 7 and 8).

    Images are scaled to [0, 1] and dequantized uniformly. A quadratic log-density needs no draws for that: uniform noise
    moves the mean to the middle of the cell and adds 1/(12·levels²) to every variance, exactly. So the fit maximizes the
    expected dequantization bound itself, and `log_prob` of an image is that expectation, without randomness. Points are
    scored by their exact density.

    Args:
        shape: (C, H, W) of an image or (D,) of points.
        levels: Grey levels of a pixel.
        covariance: Structure of the covariance.
        rank: Number of directions kept by "low-rank"; less than the number of dimensions.
        ridge: Added to every variance after the fit: a share of that variance (images: in squared units of [0, 1]; spherical and
            low-rank points: of the mean variance). 0 is maximum likelihood; points that lie in a subspace need more.
    """

    paper: ClassVar[str] = "doi:10.1111/1467-9868.00196"
    data: ClassVar[str] = "image"
    presets: ClassVar = {
        "gaussian-diagonal": {"covariance": "diagonal"},
        "probabilistic-pca": {"covariance": "low-rank"},
    }
    tiny: ClassVar = {"shape": (1, 8, 8), "rank": 4}
    defaults: ClassVar = {"steps": 10_000, "batch": 1000}

    likelihood: str = "exact for points; lower bound by uniform dequantisation for images"

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        covariance: Literal["spherical", "diagonal", "full", "low-rank"] = "full",
        rank: Annotated[int, Field(ge=1, le=4096)] = 32,
        ridge: Annotated[float, Field(ge=0, le=1e6)] = 0.0,
    ) -> None:
        super().__init__()
        check_data(shape, "gaussian")
        self.shape, self.levels, self.covariance, self.ridge = tuple(shape), levels, covariance, ridge
        self.is_image = len(shape) == 3
        self.dims = d = math.prod(shape)
        self.rank = rank if covariance == "low-rank" else 0
        matrix = covariance in ("full", "low-rank")
        if matrix and d > _MATRIX_DIMS:
            raise UserError(
                f"gaussian: covariance={covariance} takes at most {_MATRIX_DIMS} dimensions, shape={self.shape} has {d}; "
                "give covariance=diagonal or a smaller size"
            )
        if self.rank >= d:
            raise UserError(f"gaussian: rank={rank} must be less than the {d} dimensions of shape={self.shape}")
        if self.is_image:
            self.likelihood = "lower bound, uniform dequantisation in closed form"
        double: dict[str, Any] = {"dtype": torch.float64}
        scatter_shape = (d, d) if matrix else (d,) if covariance == "diagonal" else ()
        self.seen = nn.Buffer(torch.zeros((), **double))
        self.running_mean = nn.Buffer(torch.zeros(d, **double))
        self.running_scatter = nn.Buffer(torch.zeros(scatter_shape, **double))
        self.fitted = nn.Buffer(torch.zeros((), dtype=torch.bool))
        # Before the fit: the moments of uniform pixels, or the standard normal.
        centre, spread = (0.5, 1 / 12) if self.is_image else (0.0, 1.0)
        self.mean = nn.Buffer(torch.full((d,), centre, **double))
        if covariance == "low-rank":
            self.directions = nn.Buffer(torch.eye(d, self.rank, **double))
            self.variances = nn.Buffer(torch.full((self.rank,), spread, **double))
            self.noise = nn.Buffer(torch.tensor(spread, **double))
        else:
            diagonal = torch.full(scatter_shape[:1], spread, **double)
            self.root = nn.Buffer(precision_root(torch.diag(diagonal) if matrix else diagonal))

    # ---- learning ------------------------------------------------------------------------------------------------------

    def _flat(self, x: Tensor) -> Tensor:
        """Return [B, D] float64: middles of the cells of an image in [0, 1], or the points themselves."""
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(f"gaussian: this model is of shape {self.shape}, the data are {tuple(x.shape[1:])}")
        return cell_centre(x, self.levels).flatten(1) if self.is_image else x.double()

    @property
    def converged(self) -> bool:
        """Tell whether there has been a whole pass: nothing is left to improve."""
        return bool(self.fitted)

    @torch.no_grad()
    def partial_fit(self, batch: Batch) -> None:
        """Merge the moments of a batch."""
        x = self._flat(batch["image" if self.is_image else "points"])
        add_moments(self.seen, self.running_mean, self.running_scatter, x)

    @torch.no_grad()
    def finish_pass(self) -> Logs:
        """Set mean and covariance from the moments of the pass."""
        if not bool(self.seen):
            raise UserError("gaussian: the pass had no data; give at least one example")
        count = self.seen.clone()
        covariance = self.running_scatter / count
        added = self._added(covariance)
        self.mean.copy_(self.running_mean)
        if self.covariance == "low-rank":
            self._set_low_rank(covariance, added)
        else:
            covariance = covariance / self.dims if covariance.ndim == 0 else covariance
            (covariance.diagonal() if covariance.ndim == 2 else covariance).add_(added)
            try:
                self.root.copy_(precision_root(covariance))
            except ValueError as error:
                raise self._singular(str(error)) from None
        for buffer in (self.seen, self.running_mean, self.running_scatter):
            buffer.zero_()
        self.fitted.fill_(True)
        return {"examples": count, "entropy": self.entropy()}

    def _added(self, covariance: Tensor) -> Tensor | float:
        """Return what is added to the variances: ridge and noise of images, [] or [D] shares of the variances of points.

        Raises:
            UserError: A column of the points is constant.
        """
        if self.is_image:
            return self.ridge + cell_variance(self.levels)
        if covariance.ndim == 0:
            return self.ridge * covariance / self.dims
        variances = (covariance if covariance.ndim == 1 else covariance.diagonal()).clone()
        check_columns(self.running_mean, variances, torch.finfo(torch.float64).eps)
        return self.ridge * (variances.mean() if self.covariance == "low-rank" else variances)

    def _set_low_rank(self, covariance: Tensor, added: Tensor | float) -> None:
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        values = values.clamp_min(0) + added
        noise = values[: -self.rank].mean()
        if not float(noise) > 1e-14 * float(values[-1]):
            raise self._singular("the data lie in as many dimensions as are kept")
        self.noise.copy_(noise)
        self.variances.copy_(values[-self.rank :])
        self.directions.copy_(vectors[:, -self.rank :])

    def _singular(self, reason: str) -> UserError:
        return UserError(
            f"gaussian: {reason}, so the likelihood has no maximum; give ridge=1e-6 or more (now {self.ridge:g}), "
            "more examples, or another covariance"
        )

    # ---- using ---------------------------------------------------------------------------------------------------------

    def _log_det_root(self) -> Tensor:
        """Return −½ log |Σ|."""
        if self.covariance == "low-rank":
            return -0.5 * (self.variances.log().sum() + (self.dims - self.rank) * self.noise.log())
        return log_det(self.root, self.dims)

    def _distance(self, offset: Tensor) -> Tensor:
        """Return the squared Mahalanobis length of offsets from the mean, [B]."""
        if self.covariance == "low-rank":
            inside = offset @ self.directions
            rest = offset - inside @ self.directions.mT
            return (inside.square() / self.variances).sum(1) + rest.square().sum(1) / self.noise
        return whiten(offset, self.root).square().sum(1)

    def _precision_trace(self) -> Tensor:
        if self.covariance == "low-rank":
            return self.variances.reciprocal().sum() + (self.dims - self.rank) / self.noise
        return precision_trace(self.root, self.dims)

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return nats per example, [B]: mass of the discrete image (expected dequantization bound), or density of points.

        `generator` is not needed: the expectation over the dequantization noise is in closed form.
        """
        distance = self._distance(self._flat(x) - self.mean)
        log_density = self._log_det_root() - 0.5 * (distance + self.dims * math.log(2 * math.pi))
        if self.is_image:
            expected = log_density - 0.5 * cell_variance(self.levels) * self._precision_trace()
            log_density = discrete_log_prob(expected, self.dims, self.levels)
        return log_density.to(x.dtype)

    def outlier_score(self, x: Tensor) -> Tensor:
        """Return −log p(x) in nats, [B]: the larger, the stranger."""
        return -self.log_prob(x)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Draw `n` examples; images are rounded down to their grey level, as dequantization rounds up."""
        z = draws.randn(n, self.dims, generator=generator, dtype=torch.float64, device=self.device)
        if self.covariance == "low-rank":
            inside = z @ self.directions
            offset = (inside * (self.variances.sqrt() - self.noise.sqrt())) @ self.directions.mT + z * self.noise.sqrt()
        else:
            offset = colour(z, self.root)
        y = (self.mean + offset).view(n, *self.shape)
        return (quantize(y, self.levels) if self.is_image else y).float()

    @torch.no_grad()
    def covariance_matrix(self) -> Tensor:
        """Return Σ, [D, D] float64, in units of [0, 1] for images."""
        if self.covariance == "low-rank":
            eye = torch.eye(self.dims, dtype=torch.float64, device=self.device)
            return self.noise * eye + (self.directions * (self.variances - self.noise)) @ self.directions.mT
        return covariance_matrix(self.root, self.dims)

    def entropy(self) -> Tensor:
        """Return the differential entropy in nats (images: of the density on [0, 1]^D)."""
        return 0.5 * self.dims * (1 + math.log(2 * math.pi)) - self._log_det_root()

    @torch.no_grad()
    def kl(self, other: Gaussian) -> Tensor:
        """Return KL(self ‖ other) in nats, in closed form, for any two structures of the same shape."""
        if other.shape != self.shape:
            raise UserError(f"gaussian: KL needs equal shapes, not {self.shape} and {other.shape}")
        root = precision_root(other.covariance_matrix())
        trace = (root.mT @ self.covariance_matrix() @ root).trace()
        distance = whiten(self.mean - other.mean, root).square().sum()
        return 0.5 * (trace + distance - self.dims) + self._log_det_root() - log_det(root, self.dims)
