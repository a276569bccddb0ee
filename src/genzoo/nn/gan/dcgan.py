"""The convolutional generator and discriminator of DCGAN (arXiv:1511.06434), for images of any height and width from 8 on."""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from genzoo.nn.gan.leaky import LeakyReLU
from genzoo.nn.init import normal_init


def stages(height: int, width: int) -> int:
    """Return the number of doublings, such that the smaller side starts from 4 to 7.

    >>> [stages(s, s) for s in (8, 28, 32, 48, 64, 1024)]
    [1, 2, 3, 3, 4, 8]
    """
    return int(math.log2(min(height, width) / 4))


def _act(kind: str) -> nn.Module:
    match kind:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky-relu":
            return LeakyReLU(0.2, inplace=True)
        case "tanh":
            return nn.Tanh()
    raise ValueError(f"there is no activation {kind!r}")


def _odd(kernel: int) -> tuple[int, int, int]:
    """Return kernel, stride and padding that keep height and width: the largest odd kernel that is not larger."""
    side = kernel - 1 + kernel % 2
    return side, 1, side // 2


def _norm(kind: str, channels: int) -> list[nn.Module]:
    match kind:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "instance":
            return [nn.InstanceNorm2d(channels, affine=True)]
        case "layer":
            return [nn.GroupNorm(1, channels)]
    return []


def _dense(inputs: int, outputs: int, norm: str, activation: str) -> nn.Sequential:
    """Return a fully connected layer with its norm, where that exists for vectors, and its activation."""
    match norm:
        case "batch":
            between: list[nn.Module] = [nn.BatchNorm1d(outputs)]
        case "layer":
            between = [nn.LayerNorm(outputs)]
        case _:
            between = []
    return nn.Sequential(nn.Linear(inputs, outputs, bias=not between), *between, _act(activation))


class Synthesis(nn.Module):
    """Project and reshape, then double with fractionally-strided convolutions; batch norm and ReLU between, tanh last.

    `norm`, `activation`, `pooling` and `dense` break the paper's rules one by one, for ablations. A size that is no multiple of the
    doublings is made a little larger and cropped.

    Args:
        shape: (C, H, W) of the image.
        latent: Dimensions of z.
        width: Channels before the last layer; they double towards the start, up to `multiple` times this.
        kernel: Side of the filters, 4 or 5.
        norm: batch or none.
        activation: relu, leaky-relu or tanh between the layers.
        pooling: Enlarge by repeating pixels before a convolution of stride 1, in place of fractional strides.
        dense: Units of a fully connected layer after z, with at most two doublings, as in InfoGAN; 0 for none.
        multiple: Most channels of a layer, as a multiple of `width`.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent: int, width: int, kernel: int,
        *, norm: str = "batch", activation: str = "relu", pooling: bool = False, dense: int = 0, multiple: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        c, self.h, self.w = shape
        k = min(stages(self.h, self.w), 2) if dense else stages(self.h, self.w)
        channels = [width * min(2**i, multiple) for i in reversed(range(k))]
        self.start = (math.ceil(self.h / 2**k), math.ceil(self.w / 2**k), channels[0])
        self.hidden = _dense(latent, dense, norm, activation) if dense else None
        self.project = nn.Linear(dense or latent, math.prod(self.start), bias=norm == "none")

        def enlarge(a: int, b: int, *, bias: bool) -> list[nn.Module]:
            if pooling:
                return [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, *_odd(kernel), bias=bias)]
            return [nn.ConvTranspose2d(a, b, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias)]

        parts: list[nn.Module] = [*_norm(norm, channels[0]), _act(activation)]
        for a, b in itertools.pairwise(channels):
            parts += [*enlarge(a, b, bias=norm == "none"), *_norm(norm, b), _act(activation)]
        self.net = nn.Sequential(*parts, *enlarge(channels[-1], c, bias=True), nn.Tanh())
        normal_init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] from z [B, latent]."""
        z = self.hidden(z) if self.hidden is not None else z
        # Laid out channels-last without a copy.
        x: Tensor = self.project(z).view(z.shape[0], *self.start).permute(0, 3, 1, 2)
        x = self.net(x)
        top, left = (x.shape[2] - self.h) // 2, (x.shape[3] - self.w) // 2
        return x[:, :, top : top + self.h, left : left + self.w]


class Discriminator(nn.Module):
    """Strided convolutions with LeakyReLU(0.2), the last map flattened into logits; no norm on the first layer.

    `activation`, `pooling` and `dense` break the paper's rules one by one, for ablations.

    Args:
        shape: (C, H, W) of the image.
        width: Channels of the first layer; they double up to `multiple` times this.
        kernel: Side of the filters, 4 or 5.
        norm: batch, instance, layer or none.
        spectral_norm: Divide every weight by its largest singular value.
        outputs: Logits for each image.
        activation: relu, leaky-relu or tanh.
        pooling: Convolutions of stride 1 and max pooling in place of strides.
        dense: Units of a fully connected layer before the logits, with at most two halvings, as in InfoGAN; 0 for none.
        multiple: Most channels of a layer, as a multiple of `width`.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, kernel: int, norm: str, spectral_norm: bool, outputs: int = 1,
        *, activation: str = "leaky-relu", pooling: bool = False, dense: int = 0, multiple: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        c, h, w = shape
        blocks = []
        for i in range(min(stages(h, w), 2) if dense else stages(h, w)):
            out = width * min(2**i, multiple)
            between = _norm(norm, out) if i else []
            if pooling:
                conv = nn.Conv2d(c, out, *_odd(kernel), bias=not between)
                smaller: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=kernel % 2 == 1)]
            else:
                conv, smaller = nn.Conv2d(c, out, kernel, 2, (kernel - 1) // 2, bias=not between), []
            blocks.append(nn.Sequential(conv, *between, _act(activation), *smaller))
            c, h, w = out, (h + kernel % 2) // 2, (w + kernel % 2) // 2
        self.blocks, self.channels = nn.ModuleList(blocks), c
        self.hidden = _dense(c * h * w, dense, norm, activation) if dense else None
        self.score = nn.Linear(dense or c * h * w, outputs)
        normal_init(self)
        if spectral_norm:
            for m in [m for m in self.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]:
                parametrizations.spectral_norm(m)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B], or [B, outputs] where there are several."""
        logits: Tensor = self.score(self.features(x))
        # of one output only: a squeeze of several, which does nothing here, is refused by other programs
        logits = logits.squeeze(1) if logits.shape[1] == 1 else logits
        return logits.float()  # losses are never half precision

    def features(self, x: Tensor) -> Tensor:
        """Return what the logits are read from, [B, F]."""
        for block in self.blocks:
            x = block(x)
        x = x.flatten(1)
        return self.hidden(x) if self.hidden is not None else x


def pooled_maps(blocks: nn.ModuleList, x: Tensor, side: int) -> list[Tensor]:
    """Return the map after every block, max-pooled to `side` places along each axis and flattened, [B, F] each; images or voxels."""
    found, pool = [], F.adaptive_max_pool2d if x.ndim == 4 else F.adaptive_max_pool3d
    for block in blocks:
        x = block(x)
        found.append(pool(x, side).flatten(1))
    return found


def layers_in_a_row(self: Any) -> list[nn.Module]:
    """Return the layers of the discriminator `self.D`, that of the data first: its blocks, its dense layer where it has one, and the logits'."""
    hidden = getattr(self.D, "hidden", None)
    return [*self.D.blocks, *([] if hidden is None else [hidden]), self.D.score]
