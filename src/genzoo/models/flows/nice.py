"""Additive couplings: a deep invertible net that keeps volumes, and one learned scale for each dimension at its end.

NICE (Dinh, Krueger & Bengio 2015). Half of the values stay, the others are moved by a net of the first half; the inverse
moves them back. Volumes are kept, so the only determinant is that of a diagonal scaling.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import per_example, standard_logistic, standard_normal
from genzoo.nn import draws, latent
from genzoo.nn.dequantize import Dequantizer, cell_variance
from genzoo.nn.flow import methods as flow
from genzoo.nn.flow.bijections import ActNorm, AdditiveCoupling, Chain
from genzoo.nn.flow.residual import DenseNet
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import constant_then_cosine
from genzoo.nn.whitening import Unscaled, Whitening

LEAST = 1e-12
"""Uniform numbers are kept this far from 0 and 1, where the logistic distribution's quantiles are infinite."""


class NICE(System):
    """Additive couplings on the even and the odd pixels in turn, a diagonal scaling, and a factorial prior.

    h_b = x_b + m(x_a) (section 3.2), z = exp(s) ⊙ h (section 3.3), log p(x) = Σ log p(z_i) + Σ s_i with a logistic or
    normal prior (section 3.4). Images are dequantized to [0, 1] and flattened.

    With `whiten`, the first layer is a linear map that gives the training set mean 0 and covariance 1 (section 5.1, where
    colour images are whitened). It is fitted in one pass before the first step and stays as it is; its determinant counts.

    A shift and a scale of each dimension, set by the first batch, stand in front of the couplings. That changes no class
    of functions (a scaling passes through an additive coupling and joins the one at the end), but the nets see unit
    variances: without it, pixels that are black in every image steer the gradient.

    Args:
        shape: Channels, height and width of the images, or the dimension of points.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        couplings: Additive couplings; four let every dimension depend on every other.
        width: Hidden units of each net.
        depth: Hidden layers of each net.
        prior: Distribution of each z_i.
        whiten: Take the covariance of the training set away first, by a fixed linear map; up to 4096 dimensions.
        lr: Learning rate of Adam; constant for the first half, then a cosine to zero.
    """

    paper = "arXiv:1410.8516"
    data = "image"
    presets = {
        "nice-paper": {"couplings": 4, "width": 1000, "depth": 5, "prior": "logistic"},
        "nice-paper-cifar": {"couplings": 4, "width": 2000, "depth": 4, "prior": "logistic", "whiten": True},
    }
    tiny = {"shape": (1, 8, 8), "width": 16, "depth": 1}
    defaults = {"steps": 50000, "batch": 200, "ema": 0.999, "clip": 100.0}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"
    shape: tuple[int, ...]
    dims: int
    is_image: bool
    scale: Whitening | Unscaled
    levels: int
    grid: Dequantizer

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        couplings: Annotated[int, Field(ge=2, le=64)] = 4,
        width: Annotated[int, Field(ge=1, le=8192)] = 512,
        depth: Annotated[int, Field(ge=1, le=32)] = 3,
        prior: Literal["logistic", "normal"] = "logistic",
        whiten: bool = False,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
    ) -> None:
        super().__init__()
        flow.take_data(self, shape, levels, "nice", least=2)
        self.lr, self.prior = lr, prior
        even, odd = (self.dims + 1) // 2, self.dims // 2
        layers: list[nn.Module] = [*([Whitening(self.dims)] if whiten else []), ActNorm(self.dims)]
        for i in range(couplings):
            sizes = (odd, even) if i % 2 else (even, odd)
            layers.append(AdditiveCoupling(DenseNet(*sizes, width, depth), odd=i % 2 == 1))
        self.flow = Chain(*layers)
        if whiten:
            self.scale = Unscaled()
        self.log_scale = nn.Parameter(torch.zeros(self.dims))

    # ---- learning --------------------------------------------------------------------------------------------------

    @property
    def calibrating(self) -> bool:
        """Tell whether the whitening, or the scale of points, has still to be fitted."""
        return isinstance(self._fitted, Whitening) and not bool(self._fitted.fitted)

    def calibrate(self, batch: Batch) -> None:
        """Take in the moments of a batch."""
        self._fitted.partial_fit(self.grid.middle(batch["image" if self.is_image else "points"]).flatten(1))

    def finish_calibration(self) -> None:
        """Set the whitening, with the variance that dequantization adds, or the scale."""
        self._fitted.fit(cell_variance(self.levels) if self.is_image else 0.0)

    @property
    def _fitted(self) -> Any:
        """Return what is calibrated: the whitening where there is one, else the scale, which only that of points is."""
        return self.flow[0] if isinstance(self.flow[0], Whitening) else self.scale

    optimizers = one_adam
    lr_scale = constant_then_cosine

    def loss(self, batch: Batch) -> Logs:
        """Return bits per dimension of images, nats per point; `latent_power` is mean z² over the prior's, 1 for a flow that fits."""
        logs = flow.loss(self, batch)
        return {**logs, "latent_power": logs["latent_power"] / self._variance}

    # ---- the map ---------------------------------------------------------------------------------------------------

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data (images: dequantized to [0, 1]) to (z [B, D], log|det dz/du| [B])."""
        x, log_units = self.scale(u.flatten(1))
        h, log_det = self.flow(x)
        return h * self.log_scale.exp(), log_units + log_det + self.log_scale.sum()

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1]."""
        return self.scale.inverse(self.flow.inverse(z * (-self.log_scale).exp())).view(z.shape[0], *self.shape)

    @property
    def _variance(self) -> float:
        return math.pi**2 / 3 if self.prior == "logistic" else 1.0

    def log_density(self, z: Tensor, log_det: Tensor) -> Tensor:
        """Return log p(x) in nats, [B], of latents z [B, D] and the map's log-determinants [B]."""
        prior = standard_logistic if self.prior == "logistic" else standard_normal
        return self.grid.log_prob(per_example(prior(z)) + log_det)

    # ---- use -------------------------------------------------------------------------------------------------------

    log_prob = flow.log_prob
    encode = flow.encode
    decode = flow.decode

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw from the prior that is scored, logistic or normal, [n, D]."""
        if self.prior == "normal":
            return draws.randn(n, self.dims, generator=generator, device=self.device)
        uniform = draws.rand(n, self.dims, generator=generator, device=self.device, dtype=torch.float64)
        return torch.logit(uniform, LEAST).float()

    sample = latent.sample_at_temperature
    jacobian_condition = flow.jacobian_condition
