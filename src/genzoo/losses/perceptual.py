"""Distances between images as a network sees them: features and LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor


class ScoredFeatures(Protocol):
    """A network whose maps have LPIPS weights, such as `genzoo.nn.pretrained.perceptual.FeatureNet("alexnet")`."""

    @property
    def heads(self) -> list[Tensor]:
        """Weights of the channels, [C] for each map, not negative."""

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return maps [B, C, h, w] of images in [-1, 1]."""


def feature_distance(
    maps_x: Sequence[Tensor],
    maps_y: Sequence[Tensor],
    weights: Sequence[float] | None = None,
    *,
    norm: Literal["l1", "l2"] = "l2",
    relative: bool = False,
) -> Tensor:
    """Return Σ_l w_l · mean over channels and places of |F_l(x) − F_l(y)| (l1) or its square (l2), [B].

    Johnson, Alahi and Fei-Fei (arXiv:1603.08155, equation 2).

    Args:
        maps_x: Maps [B, C, h, w] of one batch of images.
        maps_y: Maps of the other, of the same shapes.
        weights: One for each map; 1 without them.
        norm: Absolute or squared differences.
        relative: Divide each term by the same mean of F_l(y) alone, per example: all layers of any network on one scale, on
            which maps of zeros are at 1. Then x is the estimate and y the truth.
    """
    total = maps_x[0].new_zeros(len(maps_x[0]), dtype=torch.float32)
    for a, b, w in zip(maps_x, maps_y, _weights(weights, maps_x), strict=True):
        term = _size(a.float() - b.float(), norm)
        if relative:
            term = term / _size(b.float(), norm).clamp(min=1e-12)
        total = total + w * term
    return total


def _size(feature_map: Tensor, norm: str) -> Tensor:
    return (feature_map.square() if norm == "l2" else feature_map.abs()).flatten(1).mean(1)


def lpips(net: ScoredFeatures, x: Tensor, y: Tensor) -> Tensor:
    """Return the learned perceptual distance of images in [-1, 1], [B]: 0 where they are equal.

    Zhang et al. (arXiv:1801.03924, equation 1), version 0.1: maps with channels of unit length at every place, squared
    differences weighed by the heads, mean over places, sum over layers. Images are taken at the size they have.

    Args:
        net: alexnet (what numbers are quoted for) or vgg16, each with all its layers.
        x: Images, [B, 1 or 3, H, W].
        y: Images of the same shape.
    """
    heads = net.heads
    total = torch.zeros(len(x), device=x.device)
    for a, b, head in zip(net(x), net(y), heads, strict=True):
        difference = (unit_channels(a) - unit_channels(b)).square()
        total = total + (difference * head.to(x.device)[:, None, None]).sum(1).mean((1, 2))
    return total


def unit_channels(feature_map: Tensor) -> Tensor:
    """Scale the channels at every place to length 1, float32; a place with nothing but zeros stays zero.

    The length is √(Σ² + 1e-20) and not √Σ² + 1e-10, whose gradient at zero is not a number.
    """
    return feature_map.float() * (feature_map.float().square().sum(1, keepdim=True) + 1e-20).rsqrt()


def _weights(weights: Sequence[float] | None, maps: Sequence[Tensor]) -> Sequence[float]:
    return [1.0] * len(maps) if weights is None else weights
