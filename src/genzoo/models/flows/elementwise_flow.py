"""One increasing map for each dimension, to a standard normal: any shape of the margins, and no dependence at all.

The elementwise layers of the flow literature, alone: an affine map, a mixture of sigmoids (Huang et al. 2018, neural
autoregressive flows, section 3.1), a rational-quadratic spline (Durkan et al. 2019). What they cannot do is why flows
have couplings.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import bits_per_dim, per_example, standard_normal
from genzoo.models.flows._monotone import SigmoidMixture, Spline
from genzoo.nn.dequantize import Cells, training_noise
from genzoo.nn.flow.bijections import ActNorm, Chain
from genzoo.nn.flow.jacobian import extreme_singular_values
from genzoo.nn.whitening import calibrate_points, finish_points_calibration, points_unscaled, scale_for

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
    presets = {
        "elementwise-affine": {"curve": "affine"},
        "elementwise-sigmoid": {"curve": "sigmoid-mixture"},
    }
    tiny = {"shape": (1, 8, 8), "parts": 4}
    defaults = {"steps": 5000, "batch": 256, "clip": 100.0}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"

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
        if len(shape) not in (1, 3):
            raise UserError(f"elementwise-flow takes images (C, H, W) or points (D,), not shape {tuple(shape)}.")
        self.shape, self.levels, self.lr, self.curve = tuple(shape), levels, lr, curve
        self.cells = Cells(tuple(shape), levels)
        self.is_image, self.dims = self.cells.images, self.cells.dims
        self.scale = scale_for(self.shape)
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

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam."""
        return {"model": Adam(self.parameters(), lr=self.lr)}

    def lr_scale(self, progress: float) -> float:
        """Half a cosine, from 1 to 0."""
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
        if not self.boxed:
            z, log_det = self.flow(x)
            return z, log_scale + log_det
        z, log_det = self.flow(2 * BOX * x - BOX)
        return z, log_det + self.dims * math.log(2 * BOX)

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1]."""
        x = self.flow.inverse(z)
        return ((x + BOX) / (2 * BOX) if self.boxed else self.scale.inverse(x)).view(len(z), *self.shape)

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

    def jacobian_condition(self, x: Tensor) -> Tensor:
        """Largest and smallest singular value of the Jacobian dz/du at each `x`, [B, 2], float64.

        Their ratio is the condition: how much an error in z may grow relative to u. Images are taken at the middle of
        their grey levels and measured on [0, 1]. Costs as much as D training examples for each.

        Raises:
            UserError: More than 4096 dimensions.
        """
        return extreme_singular_values(lambda u: self(u)[0], self.cells.middle(x))
