"""An invertible linear map to a standard normal: at its best it is the Gaussian of the data, and no more.

Oliva et al. (2018) and Kingma & Dhariwal (2018) write the matrix of a linear layer as P L U, so that its determinant is
a product and its inverse two triangular solves. Alone, such a layer is the simplest flow there is, and it shows what the
nonlinear ones are for.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.nn import latent
from genzoo.nn.flow import methods as flow
from genzoo.nn.flow.bijections import ActNorm, Chain, LULinear
from genzoo.nn.flow.jacobian import LARGEST_JACOBIAN
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine
from genzoo.nn.whitening import Unscaled, Whitening, calibrate_points, finish_points_calibration, points_unscaled


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
    tiny = {"shape": (1, 8, 8)}
    defaults = {"steps": 10000, "batch": 256, "clip": 100.0}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"
    shape: tuple[int, ...]
    dims: int
    scale: Whitening | Unscaled

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-3,
    ) -> None:
        super().__init__()
        flow.take_data(self, shape, levels, "linear-flow")
        self.lr = lr
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
    optimizers = one_adam
    lr_scale = half_cosine
    loss = flow.loss

    # ---- the map ---------------------------------------------------------------------------------------------------

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data (images: dequantized to [0, 1]) to (z [B, D], log|det dz/du| [B])."""
        x, log_scale = self.scale(u.flatten(1))
        z, log_det = self.flow(x)
        return z, log_scale + log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1]."""
        return self.scale.inverse(self.flow.inverse(z)).view(z.shape[0], *self.shape)

    # ---- use -------------------------------------------------------------------------------------------------------

    log_density = flow.log_density
    log_prob = flow.log_prob
    encode = flow.encode
    decode = flow.decode
    _draw = latent.normal
    sample_prior = latent.sample_prior
    sample = latent.sample_at_temperature

    @torch.no_grad()
    def matrix(self) -> Tensor:
        """Return W of z = W (x + b), [D, D]: the Jacobian at every point."""
        scale = self.flow.get_parameter("0.log_scale").exp()
        if isinstance(self.scale, Whitening):
            scale = scale * self.scale.root
        return self.flow[1](torch.diag(scale))[0].mT

    def jacobian_condition(self, x: Tensor) -> Tensor:
        """Return the largest and smallest singular value of the Jacobian dz/du at each `x`, [B, 2]: those of the matrix, everywhere."""
        values = torch.linalg.svdvals(self.matrix().double())
        return torch.stack([values[0], values[-1]]).expand(x.shape[0], 2)
