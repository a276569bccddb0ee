"""An invertible linear map to a standard normal: at its best it is the Gaussian of the data, and no more.

Oliva et al. (2018) and Kingma & Dhariwal (2018) write the matrix of a linear layer as P L U, so that its determinant is
a product and its inverse two triangular solves. Alone, such a layer is the simplest flow there is, and it shows what the
nonlinear ones are for.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import bits_per_dim, per_example, standard_normal
from genzoo.nn.dequantize import Cells, training_noise
from genzoo.nn.flow.bijections import ActNorm, Chain, LULinear
from genzoo.nn.flow.jacobian import LARGEST_JACOBIAN
from genzoo.nn.whitening import calibrate_points, finish_points_calibration, points_unscaled, scale_for


class LinearFlow(System):
    """z = P L U S (x + b), a linear map in LU form behind a shift and a scale of each dimension, with a standard normal prior.

    z is normal exactly when x is: the density is N(-b, Σ) with Σ⁻¹ = WᵀW, W = P L U S. Every covariance has such a W (its
    Cholesky factor is one), so the maximum of the likelihood is the full-covariance Gaussian's, which `gaussian` finds in
    one pass; here gradient steps find it. What is not an ellipsoid, two moons say, it cannot fit.

    S and b start from the first batch's moments, L U from the identity. Images are dequantized to [0, 1] and flattened, without a
    logit, as `gaussian` has them.

    Args:
        shape: Channels, height and width of the images, or the dimension of points.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        lr: Learning rate of Adam at the start; it falls to zero along a half cosine.
    """

    paper = "arXiv:1801.09819"
    data = "image"
    presets = {}
    tiny = {"shape": (1, 8, 8)}
    defaults = {"steps": 10000, "batch": 256, "clip": 100.0}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-3,
    ) -> None:
        super().__init__()
        if len(shape) not in (1, 3):
            raise UserError(f"linear-flow takes images (C, H, W) or points (D,), not shape {tuple(shape)}.")
        self.shape, self.levels, self.lr = tuple(shape), levels, lr
        self.cells = Cells(tuple(shape), levels)
        self.is_image, self.dims = self.cells.images, self.cells.dims
        self.scale = scale_for(self.shape)
        if self.dims > LARGEST_JACOBIAN:
            raise UserError(
                f"linear-flow has a matrix of {self.dims} x {self.dims} for shape {self.shape}; "
                f"at most {LARGEST_JACOBIAN}: give a smaller size."
            )
        self.flow = Chain(ActNorm(self.dims), LULinear(self.dims))

    # ---- learning --------------------------------------------------------------------------------------------------

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam."""
        return {"model": Adam(self.parameters(), lr=self.lr)}

    def lr_scale(self, progress: float) -> float:
        """Half a cosine, from 1 to 0: the likelihood has one maximum, and small last steps settle in it."""
        return 0.5 * (1 + math.cos(math.pi * progress))

    def loss(self, batch: Batch) -> Logs:
        """Bits per dimension of images, nats per point; `latent_power` is mean z², 1 for a flow that fits."""
        x = batch["image" if self.is_image else "points"]
        z, log_det = self(self.cells.spread(x, training_noise(x)))
        log_prob = self._log_prob(z, log_det)
        loss = bits_per_dim(log_prob, self.dims) if self.is_image else -log_prob
        return {"loss": loss.mean(), "latent_power": z.detach().square().mean()}

    # ---- the map ---------------------------------------------------------------------------------------------------

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data (images: dequantized to [0, 1]) to (z [B, D], log|det dz/du| [B])."""
        x, log_scale = self.scale(u.flatten(1))
        z, log_det = self.flow(x)
        return z, log_scale + log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1]."""
        return self.scale.inverse(self.flow.inverse(z)).view(len(z), *self.shape)

    def _log_prob(self, z: Tensor, log_det: Tensor) -> Tensor:
        return self.cells.log_prob(per_example(standard_normal(z)) + log_det)

    # ---- use -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Log p(x) in nats, [B]; of a discrete image by one draw of dequantization noise, with a fixed seed without a generator."""
        return self._log_prob(*self(self.cells.spread(x, generator)))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The latents of the middle of each grey level, [B, D]; `decode` gives the image back exactly."""
        return self(self.cells.middle(x))[0]

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The image (on its grey levels, in [-1, 1]) or point that latents [B, D] stand for."""
        return self.cells.gather(self.inverse(z))

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draws from the prior N(0, I), [n, D]."""
        return torch.randn(n, self.dims, generator=generator, device=self.device)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator, temperature: Annotated[float, Field(ge=0, le=2)] = 1.0) -> Tensor:
        """New images or points.

        Args:
            n: How many.
            generator: Source of all randomness.
            temperature: Factor on the standard deviation of z: below 1 likelier, less varied.
        """
        return self.decode(temperature * self.sample_prior(n, generator=generator))

    @torch.no_grad()
    def matrix(self) -> Tensor:
        """W of z = W (x + b), [D, D]: the Jacobian at every point."""
        scale = self.flow[0].log_scale.exp()
        if not self.is_image:
            scale = scale * self.scale.root
        return self.flow[1](torch.diag(scale))[0].mT

    def jacobian_condition(self, x: Tensor) -> Tensor:
        """Largest and smallest singular value of the Jacobian dz/du at each `x`, [B, 2]: those of the matrix, everywhere."""
        values = torch.linalg.svdvals(self.matrix().double())
        return torch.stack([values[0], values[-1]]).expand(len(x), 2)
