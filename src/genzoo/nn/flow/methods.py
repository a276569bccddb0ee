"""What follows from an invertible map, its inverse and a prior: methods of flows, borrowed by name in their class bodies.

A flow has `forward(u)`, which maps continuous data to (z [B, D], log|det dz/du| [B]), and `inverse(z)`; its constructor calls
`take_data`. The prior of z is standard normal unless the flow has a `_draw` and a `log_density` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.losses.likelihoods import bits_per_dim, per_example, standard_normal
from genzoo.nn.dequantize import Dequantizer, training_noise
from genzoo.nn.flow.jacobian import extreme_singular_values
from genzoo.nn.whitening import scale_for


def take_data(self: Any, shape: tuple[int, ...], levels: int, system: str, least: int = 1) -> None:
    """Set what a flow knows of its data: `shape`, `levels`, `is_image`, `dims` (also `latent_size`), `grid` and the `scale` of points.

    Args:
        self: The flow.
        shape: (C, H, W) of images or (D,) of points.
        levels: Grey levels of a pixel.
        system: Its name, for the message.
        least: Fewest dimensions.

    Raises:
        UserError: The data are neither images nor points, or have too few dimensions.
    """
    self.shape, self.levels, self.grid = tuple(shape), levels, Dequantizer(tuple(shape), levels)
    self.is_image, self.dims = len(shape) == 3, self.grid.dims
    if len(shape) not in (1, 3) or self.dims < least:
        more = " of at least two dimensions" if least > 1 else ""
        raise UserError(f"{system} takes images (C, H, W) or points (D,){more}, not shape {tuple(shape)}.")
    self.latent_size, self.scale = self.dims, scale_for(self.shape)


def check_scales(shape: tuple[int, ...], scales: int, halvings: int, system: str) -> None:
    """Refuse images (C, H, W) that a flow of so many scales cannot halve often enough.

    Args:
        shape: Of an image.
        scales: Resolutions.
        halvings: How often these halve an image: one scale fewer halves it once less.
        system: The flow's name, for the message.

    Raises:
        UserError: Says which sizes it takes, the nearest one, and how many scales would do.
    """
    _, h, w = shape
    unit = 2**halvings
    if h % unit or w % unit or h * w < 2:
        near = "x".join(str(max(unit, round(n / unit) * unit)) for n in (h, w))
        fewer = (
            s
            for s in range(scales, 0, -1)
            if not h % 2 ** (halvings - scales + s) and not w % 2 ** (halvings - scales + s)
        )
        fits = next(fewer, 0)
        raise UserError(
            f"{system} with scales={scales} takes heights and widths that are multiples of {unit}, not {h}x{w}: "
            f"give size={near}" + (f", or scales={fits}." if fits else ".")
        )


def log_density(self: Any, z: Tensor, log_det: Tensor) -> Tensor:
    """Return log p(x) in nats, [B], of latents z [B, D] with a standard normal prior and of the map's log-determinants [B]."""
    found: Tensor = self.grid.log_prob(per_example(standard_normal(z)) + log_det)
    return found


def loss(self: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return -log p(x): bits per dimension of images, nats per point; `latent_power` is mean z², 1 for a flow that fits."""
    x = batch["image" if self.is_image else "points"]
    z, log_det = self(self.grid.spread(x, training_noise(x)))
    log_p = self.log_density(z, log_det)
    each = bits_per_dim(log_p, self.dims) if self.is_image else -log_p
    return {"loss": each.mean(), "latent_power": z.detach().square().mean()}


@torch.no_grad()
def log_prob(self: Any, x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return log p(x) in nats, [B]; of a discrete image by one draw of dequantization noise, with a fixed seed without a generator."""
    found: Tensor = self.log_density(*self(self.grid.spread(x, generator)))
    return found


@torch.no_grad()
def encode(self: Any, x: Tensor) -> Tensor:
    """Return the latents of the middle of each grey level, [B, D]; `decode` gives the image back exactly."""
    z: Tensor = self(self.grid.middle(x))[0]
    return z


@torch.no_grad()
def decode(self: Any, z: Tensor) -> Tensor:
    """Return the image (on its grey levels, in [-1, 1]) or point that latents [B, D] stand for."""
    x: Tensor = self.grid.gather(self.inverse(z))
    return x


def jacobian_condition(self: Any, x: Tensor) -> Tensor:
    """Return the largest and the smallest singular value of the Jacobian dz/du at each `x`, [B, 2], float64.

    Their ratio is the condition: how much an error in z may grow relative to u. Images are taken at the middle of
    their grey levels and measured on [0, 1]. Costs as much as D training examples for each.

    Raises:
        UserError: More than 4096 dimensions.
    """
    return extreme_singular_values(lambda u: self(u)[0], self.grid.middle(x))
