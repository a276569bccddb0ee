"""Where in an image its bits are: how surprising each pixel is to a model that predicts it from those before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo.core.capabilities import Compresses, Density, Predicts, capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.arrays import as_tensor, shape_is_said
from genzoo.use.common.source import Source, name_of, open_system, require

TOLERANCE = 1e-3
"""How far the sum over pixels may be from the image's own log-probability, as a share of it."""
CHUNK = 16
"""Images that are predicted at once."""


@torch.no_grad()
def bits(source: Source, images: Tensor) -> Tensor:
    """Return the bits that each pixel takes, -log2 p(pixel | pixels before it), of all its colours together: float32 [N, H, W].

    What a model predicts is taken as probabilities of grey levels only where their sum over the image is its own `log_prob`.

    Args:
        source: A run, its path, or a system.
        images: [N, C, H, W] in [-1, 1], of the size and on the grey levels that the system was trained on.

    Raises:
        UserError: The system does not predict grey levels one after the other, or takes images of another shape.
    """
    system = open_system(source)
    if not predicts_levels(system):
        raise UserError(f"bits: {name_of(system)} does not say how probable each grey level of a pixel is")
    x = as_tensor(images, "bits")
    if tuple(x.shape[1:]) != tuple(system.hparams["shape"]):
        with shape_is_said(x, system, "bits"):
            raise ValueError
    return torch.cat([_bits(system, part.to(system.device)).cpu() for part in x.split(CHUNK)])


def _bits(system: System, x: Tensor) -> Tensor:
    predictor, density = require(system, Predicts, Density, verb="bits")
    log_p = predictor.predict(x).float()
    nats = -log_p.gather(-1, _levels(system, x, log_p.shape[-1])[..., None])[..., 0]
    whole = -density.log_prob(x)
    apart = (nats.double().flatten(1).sum(1) - whole.double()).abs()
    if bool((apart > TOLERANCE * whole.abs().clamp_min(1)).any()):
        raise UserError(
            f"bits: what {name_of(system)} predicts for the pixels does not add up to its log-probability of the image "
            f"(apart by {float(apart.max()):.3g} nats), so it has no bits for each of them"
        )
    return nats.sum(1) / math.log(2)


def _levels(system: System, x: Tensor, levels: int) -> Tensor:
    """Return the grey level of every value, int64 [B, C, H, W]."""
    if isinstance(system, Compresses):
        c, h, w = x.shape[1:]
        return system.symbols(x).view(len(x), h, w, c).permute(0, 3, 1, 2)
    return ((x.float().clamp(-1, 1) + 1) / 2 * (levels - 1)).round().long()


@torch.no_grad()
def predicts_levels(system: System) -> bool:
    """Tell whether what a system predicts, given an image alone, are log-probabilities of the grey levels of every pixel: by looking at one."""
    shape = tuple(system.hparams.get("shape", ()))
    if not {"predicts", "density"} <= set(capabilities(system)) or len(shape) != 3:
        return False
    levels = int(system.hparams.get("levels", 256))
    assert isinstance(system, Predicts)
    try:
        found = system.predict(torch.full((1, *shape), -1.0, device=system.device))
    except (
        UserError,
        TypeError,
        ValueError,
        RuntimeError,
    ):  # it predicts of codes, or has to be told more than the image
        return False
    if tuple(found.shape) != (1, *shape, levels):
        return False
    return bool((found.float().logsumexp(-1).abs() < 1e-2).all())
