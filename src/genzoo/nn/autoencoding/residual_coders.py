"""Convolutional encoder and decoder with residual blocks, as VQ-VAE has them (arXiv:1711.00937, section 4.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """x + 1x1(ReLU(3x3(ReLU(x)))).

    Args:
        width: Channels.
        inner: Channels between the two convolutions.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, inner, 3, padding=1)
        self.mix = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to its like."""
        changed: Tensor = self.mix(F.relu(self.look(F.relu(x))))
        return x + changed


def residuals(width: int, blocks: int, inner: int | None = None) -> list[nn.Module]:
    """Build `blocks` residual blocks (`inner` channels between their convolutions, else half), and the ReLU that ends a stack of them."""
    return [*(Residual(width, inner or max(1, width // 2)) for _ in range(blocks)), nn.ReLU()]


def encoder(
    channels: int, width: int, blocks: int, halvings: int, *, inner: int | None = None, narrow: bool = False
) -> nn.Sequential:
    """Build a network from [B, channels, H, W] to [B, width, H / 2^halvings, W / 2^halvings].

    Strided convolutions have half the channels, but for the last one; where they are `narrow`, a single one as well.
    """
    layers: list[nn.Module] = []
    for i in range(halvings):
        out = width if i == halvings - 1 and not (narrow and halvings == 1) else max(1, width // 2)
        layers += [nn.Conv2d(channels, out, 4, 2, 1), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.Conv2d(channels, width, 3, padding=1), *residuals(width, blocks, inner))


def decoder(
    inputs: int, width: int, blocks: int, doublings: int, outputs: int, *, inner: int | None = None
) -> nn.Sequential:
    """Build a network from [B, inputs, h, w] to [B, outputs, h · 2^doublings, w · 2^doublings]."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1), *residuals(width, blocks, inner)]
    channels = width
    for i in range(doublings):
        last = i == doublings - 1
        out = outputs if last else max(1, width // 2)
        layers += [nn.ConvTranspose2d(channels, out, 4, 2, 1), *([] if last else [nn.ReLU()])]
        channels = out
    return nn.Sequential(*layers)
