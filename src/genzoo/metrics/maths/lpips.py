"""LPIPS between pairs of images, with the network and the digest of its weights, without which its value says nothing.

Zhang et al. (arXiv:1801.03924). Values of AlexNet are what papers quote; those of VGG-16 are larger and do not compare. Images are taken at
the size they have: LPIPS of enlarged images is another number.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.losses.perceptual import ScoredFeatures, lpips
from genzoo.nn.pretrained.perceptual import FeatureNet


class NamedNetwork(ScoredFeatures, Protocol):
    """A network with LPIPS weights that says what it is, such as `genzoo.nn.pretrained.perceptual.FeatureNet`."""

    @property
    def card(self) -> dict[str, str]:
        """Its name, the digest of its weights, its layers."""


def lpips_network(name: str) -> FeatureNet:
    """Return the network of LPIPS, alexnet or vgg16, with its weights; gradients go through it to the images.

    Raises:
        UserError: The weights are not on this machine.
    """
    return FeatureNet(name).load()


@torch.no_grad()
def lpips_distances(a: Tensor, b: Tensor, net: NamedNetwork, *, batch: int = 50) -> Tensor:
    """Return LPIPS of every pair, float64 [N]: 0 for equal images.

    Args:
        a: uint8 images [N, C, H, W], or floats in [-1, 1]; C is 1 or 3.
        b: As many, of the same kind.
        net: The network.
        batch: Pairs at a time.

    Raises:
        UserError: Shapes or kinds that differ, no images, floats outside [-1, 1], NaN or infinite values.
    """
    if a.ndim != 4 or a.shape != b.shape or a.dtype != b.dtype or not len(a):
        raise UserError(
            f"two batches of images [N, C, H, W] of one shape and dtype are needed, not {a.dtype} {tuple(a.shape)} and "
            f"{b.dtype} {tuple(b.shape)}"
        )
    if a.dtype != torch.uint8:
        for x in (a, b):
            if not bool(x.isfinite().all()) or float(x.abs().max()) > 1 + 1e-4:
                raise UserError(
                    "LPIPS takes uint8 images or finite floats in [-1, 1]; these hold NaN or values outside"
                )

    def scaled(x: Tensor) -> Tensor:
        return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()

    pairs = zip(a.split(batch), b.split(batch), strict=True)
    return torch.cat([lpips(net, scaled(x), scaled(y)).double().cpu() for x, y in pairs])


def lpips_score(a: Tensor, b: Tensor, *, net: NamedNetwork | str = "alexnet", batch: int = 50) -> dict[str, Any]:
    """Return mean LPIPS over pairs: `value`, `se` over pairs, `n`, and of the network its `network`, `digest` and `layers`.

    Args:
        a: Images, as in `lpips_distances`.
        b: As many.
        net: The network, or its name: alexnet or vgg16.
        batch: Pairs at a time.

    Raises:
        UserError: The weights are not on this machine, or what `lpips_distances` refuses.
    """
    network: Any = FeatureNet(net) if isinstance(net, str) else net
    values = lpips_distances(a, b, network, batch=batch)
    card = network.card
    return {
        "value": float(values.mean()),
        "se": float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan,
        "n": len(values),
        "network": card["name"], "digest": card["digest"], "layers": card["layers"],
    }  # fmt: skip
