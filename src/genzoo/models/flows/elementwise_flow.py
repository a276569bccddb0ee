"""One increasing map for each dimension, to a standard normal: any shape of the margins, and no dependence at all.

The elementwise layers of the flow literature, alone: an affine map, a mixture of sigmoids (Huang et al. 2018, neural
autoregressive flows, section 3.1), a rational-quadratic spline (Durkan et al. 2019). What they cannot do is why flows
have couplings.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from genzoo.core.system import System
from genzoo.models.flows._monotone import SigmoidMixture, Spline
from genzoo.nn import latent
from genzoo.nn.flow import methods as flow
from genzoo.nn.flow.bijections import ActNorm, Chain
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine
from genzoo.nn.whitening import Unscaled, Whitening, calibrate_points, finish_points_calibration, points_unscaled

BOX = 4.0
"""Half the side of the box in which sigmoids start and splines bend, in standard deviations."""


class ElementwiseFlow(System):
    """z_i = f_i(x_i) with every f_i increasing, and a standard normal prior.

    The density is a product of one-dimensional ones, p(x) = Π N(f_i(x_i)) f_i'(x_i). With `affine` each is normal (the
    diagonal Gaussian); a mixture of sigmoids or a spline gives it any shape, so that every margin of the data can be
    fitted exactly. What the dimensions have to do with one another is lost: two moons become their margins' product.

    Points are first shifted and scaled by the first batch's moments (learned from there on); images, dequantized to
    [0, 1] and flattened, fill the box of the spline and the sigmoids exactly.

    Args:
        shape: Channels, height and width of the images, or the dimension of points.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        curve: The increasing map: affine, a mixture of sigmoids, or a rational-quadratic spline with identity tails.
        parts: Sigmoids of a mixture, or bins of a spline.
        lr: Learning rate of Adam at the start; it falls to zero along a half cosine.
    """

    paper = "arXiv:1906.04032"
    data = "image"
    presets = {"elementwise-affine": {"curve": "affine"}, "elementwise-sigmoid": {"curve": "sigmoid-mixture"}}
    tiny = {"shape": (1, 8, 8), "parts": 4}
    defaults = {"steps": 5000, "batch": 256, "clip": 100.0}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"
    shape: tuple[int, ...]
    dims: int
    is_image: bool
    scale: Whitening | Unscaled

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        curve: Literal["affine", "sigmoid-mixture", "spline"] = "spline",
        parts: Annotated[int, Field(ge=2, le=1000)] = 16,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-2,
    ) -> None:
        super().__init__()
        flow.take_data(self, shape, levels, "elementwise-flow")
        self.lr, self.curve = lr, curve
        # A dark pixel that is bright once lies dozens of standard deviations out: images are scaled by their range.
        self.boxed = self.is_image and curve != "affine"
        layers: list[nn.Module] = [] if self.boxed else [ActNorm(self.dims)]
        if curve == "sigmoid-mixture":
            layers += [SigmoidMixture(self.dims, parts, BOX), ActNorm(self.dims)]
        elif curve == "spline":
            layers += [Spline(self.dims, parts, BOX)]
        self.flow = Chain(*layers)

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
        if not self.boxed:
            z, log_det = self.flow(x)
            return z, log_scale + log_det
        z, log_det = self.flow(2 * BOX * x - BOX)
        return z, log_det + self.dims * math.log(2 * BOX)

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1]."""
        x = self.flow.inverse(z)
        return ((x + BOX) / (2 * BOX) if self.boxed else self.scale.inverse(x)).view(z.shape[0], *self.shape)

    # ---- use -------------------------------------------------------------------------------------------------------

    log_density = flow.log_density
    log_prob = flow.log_prob
    encode = flow.encode
    decode = flow.decode
    _draw = latent.normal
    sample_prior = latent.sample_prior
    sample = latent.sample_at_temperature
    jacobian_condition = flow.jacobian_condition
