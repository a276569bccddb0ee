"""PatchGAN: a discriminator that judges overlapping patches, not whole images (arXiv:1611.07004, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from genzoo.nn.init import normal_init
from genzoo.nn.instance_norm import InstanceNorm2d


def smallest_side(layers: int) -> int:
    """Return the smallest image side for which a logit (and a norm with more than one value) is left."""
    return 3 * 2**layers if layers else 2


class PatchGAN(nn.Module):
    """C64-C128-…: `layers` convolutions of stride 2, one of stride 1, and one to a map of logits [B, 1, h, w].

    Without layers it is the PixelGAN of the paper's appendix 6.1.2: the same with kernels of one pixel, which judges colours alone.

    Args:
        channels: Channels of the input; for a conditional discriminator those of condition and image together.
        width: Channels of the first convolution; they double up to 8 times this.
        layers: Convolutions of stride 2; 0, 1, 2, 3 and 4 give patches of 1, 16, 34, 70 and 142 pixels a side.
        norm: Makes the norm from a channel count; None for no norm. The first convolution never has one.
        padding: Pixels of zeros around every map: 1, or 2 for one or two logits more a side.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        layers: int = 3,
        norm: Callable[[int], nn.Module] | None = InstanceNorm2d,
        padding: int = 1,
    ) -> None:
        super().__init__()
        size, pad = (4, padding) if layers else (1, 0)
        first = nn.Conv2d(channels, width, size, 2 if layers else 1, pad)
        parts: list[nn.Module] = [first, nn.LeakyReLU(0.2, inplace=True)]
        c = width
        for i in range(1, max(layers, 1) + 1):
            out = width * min(2**i, 8)
            stride = 2 if i < layers else 1
            parts += [nn.Conv2d(c, out, size, stride, pad, bias=norm is None)]
            parts += [norm(out)] if norm else []
            parts += [nn.LeakyReLU(0.2, inplace=True)]
            c = out
        self.net = nn.Sequential(*parts, nn.Conv2d(c, 1, size, 1, pad))
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, one for each patch."""
        logits: Tensor = self.net(x)
        return logits.float()  # losses are never half precision

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the maps after every activation and, last, the logits: what feature matching compares."""
        maps = []
        for part in self.net:
            x = part(x)
            if isinstance(part, nn.LeakyReLU):
                maps.append(x)
        return [*maps, x.float()]
