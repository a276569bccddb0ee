"""PatchGAN: a discriminator that judges overlapping patches, not whole images (arXiv:1611.07004, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from genzoo.nn.init import normal_init


def receptive_field(layers: int) -> int:
    """Side of the patch that one logit sees: 16, 34, 70, 142 pixels for 1, 2, 3, 4 layers.

    >>> [receptive_field(n) for n in (1, 2, 3)]
    [16, 34, 70]
    """
    side = 4 + 3  # the last two convolutions have stride 1
    for _ in range(layers):
        side = 2 * side + 2
    return side


def smallest_side(layers: int) -> int:
    """Smallest image side for which a logit (and a norm with more than one value) is left."""
    return 3 * 2**layers


class PatchGAN(nn.Module):
    """C64-C128-…: `layers` convolutions of stride 2, one of stride 1, and one to a map of logits [B, 1, h, w].

    Args:
        channels: Channels of the input; for a conditional discriminator those of condition and image together.
        width: Channels of the first convolution; they double up to 8 times this.
        layers: Convolutions of stride 2; 3 gives the 70 x 70 patch.
        norm: Makes the norm from a channel count; None for no norm. The first convolution never has one.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        layers: int = 3,
        norm: Callable[[int], nn.Module] | None = nn.InstanceNorm2d,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        c = width
        for i in range(1, layers + 1):
            out = width * min(2**i, 8)
            stride = 2 if i < layers else 1
            parts += [nn.Conv2d(c, out, 4, stride, 1, bias=norm is None)]
            parts += [norm(out)] if norm else []
            parts += [nn.LeakyReLU(0.2, inplace=True)]
            c = out
        self.net = nn.Sequential(*parts, nn.Conv2d(c, 1, 4, 1, 1))
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, one for each patch."""
        return self.net(x).float()  # losses are never half precision
