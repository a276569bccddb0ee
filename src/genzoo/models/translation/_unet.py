"""The U-Net that translates images: an encoder, a decoder, and skips between their maps of equal size (arXiv:1611.07004, appendix 6.1.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genzoo.models.translation._few_pixels import Conv2d, ConvTranspose2d, ResizedConv2d
from genzoo.models.translation._norms import NORMS
from genzoo.nn.init import normal_init
from genzoo.nn.upsampling import Upsample

Norm = Literal["instance", "batch"]


class UNetGenerator(nn.Module):
    """C w, C 2w, C 4w, C 8w, C 8w …, then back; convolutions are 4 x 4 with stride 2; height and width are multiples of 2^depth.

    The first convolution and the innermost one have no norm: the innermost map may be a single pixel, which a norm would set to zero.
    Dropout follows the first three convolutions of the decoder, but not the last one.

    Args:
        channels: Channels of the input.
        out: Channels of the output.
        width: Channels of the first convolution; they double up to 8 times this.
        depth: How often height and width are halved.
        norm: instance, or batch (with running statistics, which are what is used after training).
        dropout: Share of the decoder's activations that are dropped in its first three layers.
        upsample: How the decoder doubles its maps: repeated pixels and a 3 x 3 convolution, or a transposed 4 x 4 one.
    """

    def __init__(
        self, channels: int, out: int, width: int = 64, depth: int = 8, norm: Norm = "instance", dropout: float = 0.5,
        upsample: Upsample = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        self.dropout = dropout
        widths = [width * min(2**i, 8) for i in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(widths):
            last = i == depth - 1
            normed = 0 < i < depth - 1
            self.down.append(
                nn.Sequential(
                    *([nn.LeakyReLU(0.2)] if i else []),
                    Conv2d(channels if i == 0 else widths[i - 1], w, 4, 2, 1, bias=not normed),
                    *([NORMS[norm](w)] if normed else []),
                )
            )
            # Built from the outside inwards, used from the inside outwards.
            inner = w if last else 2 * w
            outside = out if i == 0 else widths[i - 1]
            doubled = (
                ResizedConv2d(inner, outside, bias=i == 0)
                if upsample == "resize"
                else ConvTranspose2d(inner, outside, 4, 2, 1, bias=i == 0)
            )
            self.up.append(nn.Sequential(nn.ReLU(), doubled, *([NORMS[norm](outside)] if i else [])))
        normal_init(self)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return an image of the same height and width in [-1, 1].

        Args:
            x: [B, channels, H, W].
            generator: What dropout is drawn from after training; without it nothing is dropped then.
        """
        maps = []
        for down in self.down:
            x = down(x)
            maps.append(x)
        depth = len(maps)
        for i in reversed(range(depth)):
            x = self.up[i](x if i == depth - 1 else torch.cat([x, maps[i]], 1))
            if i and depth - i <= 3:
                x = self._drop(x, generator)
        return torch.tanh(x.float())

    def _drop(self, x: Tensor, generator: Generator | None) -> Tensor:
        if generator is None or not self.dropout:
            # What is dropped is drawn in the order of memory: it is the same whatever a norm leaves that in.
            return F.dropout(x.contiguous() if self.training else x, self.dropout, self.training)
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.dropout
        return x * kept / (1 - self.dropout)
