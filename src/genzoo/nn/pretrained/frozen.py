"""Frozen recognition networks that discriminators look through: pyramids of their maps, random mixing of these, heads on top.

The weights are files that this package does not carry (in the folder $GENZOO_WEIGHTS, by name), but for two: lenet-mnist and
lenet-fashion, small networks of grey images, come with it, and vgg16-random needs no file at all. Nothing falls back on them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils.fusion import fuse_conv_bn_eval

from genzoo.core.errors import UserError
from genzoo.core.files import find_weights, weights_lacking
from genzoo.nn.pretrained.efficientnet import EfficientNetLite0, normalize
from genzoo.nn.pretrained.perceptual import TRUNKS, FeatureNet

FrozenNetwork = Literal["efficientnet-lite0", "vgg16", "alexnet", "lenet-mnist", "lenet-fashion", "vgg16-random"]

LUMA = (0.299, 0.587, 0.114)
BUNDLED = Path(__file__).parents[2] / "metrics" / "weights"
"""Data of the package, not code: the two LeNets stand where FLD reads them."""


@dataclass(frozen=True)
class MapSpec:
    """Describes the maps that a frozen network gives.

    Args:
        channels: Channels of each map, fine to coarse.
        strides: How many pixels of the image a position of each map stands for.
        side: Side of the images that it was trained on.
        smallest: Least side of an image.
        file: File of its weights; empty where there is none.
        layers: Names of the maps, where it is a `FeatureNet`.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    side: int
    smallest: int
    file: str = ""
    layers: tuple[str, ...] = ()


_VGG_MAPS = ("relu2_2", "relu3_3", "relu4_3", "relu5_3")
NETWORKS: dict[str, MapSpec] = {
    "efficientnet-lite0": MapSpec((24, 40, 112, 320), (4, 8, 16, 32), 224, 8, "efficientnet-lite0.safetensors"),
    "vgg16": MapSpec((128, 256, 512, 512), (2, 4, 8, 16), 224, 16, TRUNKS["vgg16"].file, _VGG_MAPS),
    "alexnet": MapSpec((64, 192, 256), (4, 8, 16), 224, 31, TRUNKS["alexnet"].file, ("relu1", "relu2", "relu5")),
    "lenet-mnist": MapSpec((16, 32), (2, 4), 28, 8, "lenet-mnist-v1.safetensors"),
    "lenet-fashion": MapSpec((16, 32), (2, 4), 28, 8, "lenet-fashion-v1.safetensors"),
    "vgg16-random": MapSpec((128, 256, 512, 512), (2, 4, 8, 16), 224, 16, "", _VGG_MAPS),
}


class LeNetMaps(nn.Module):
    """The two convolutions of the bundled classifiers, for images in [-1, 1]; colours become luma."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, stride=2, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return [B, 16, H/2, W/2] and [B, 32, H/4, W/4]."""
        if x.shape[1] == 3:
            x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        first = F.relu(self.conv1(x))
        return [first, F.relu(self.conv2(first))]


class EfficientMaps(nn.Module):
    """EfficientNet-Lite0 up to its last map, every batch norm folded into the convolution before it.

    Args:
        net: The network with its weights.
    """

    def __init__(self, net: EfficientNetLite0) -> None:
        super().__init__()
        self.net = net.eval()
        for part in list(net.modules()):
            if (
                isinstance(part, nn.Sequential)
                and isinstance(part[0], nn.Conv2d)
                and isinstance(part[1], nn.BatchNorm2d)
            ):
                part[0], part[1] = fuse_conv_bn_eval(part[0], part[1]), nn.Identity()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps at 1/4, 1/8, 1/16 and 1/32 of images [B, 1 or 3, H, W] in [-1, 1]."""
        return self.net.pyramid(normalize(x).contiguous(memory_format=torch.channels_last))


class FrozenMaps(nn.Module):
    """The maps of a frozen network, fine to coarse, for images in [-1, 1]; gradients reach the images and stop there.

    It has no parameters: it is in no optimizer and no average, follows the system to its device, and copies of it share the
    weights. The file is read by `load`, which a system calls in `optimizers`, or when the first image comes: a trained
    generator is used without it. One buffer holds the digest of the weights, so that a run does not go on with others.

    Args:
        name: Name of the network.
        weights: File of its weights; none: the one of its name in $GENZOO_WEIGHTS.
        resolution: Images whose smaller side is below this are enlarged to it; none: the side that the network was trained on.

    Raises:
        UserError: From `load`: the weights are missing, of another network, or not those that the run began with.
    """

    digest: Tensor

    def __init__(self, name: str, *, weights: str | None = None, resolution: int | None = None) -> None:
        super().__init__()
        self.name, self.spec, self.weights = name, NETWORKS[name], weights
        self.resolution = self.spec.side if resolution is None else resolution
        self.register_buffer("digest", torch.zeros(32, dtype=torch.uint8))
        self._held: list[nn.Module] = []  # in a list, where torch does not look for parameters
        self._loaded, self._agreed = b"", False

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of each map."""
        return self.spec.channels

    def halvings(self, shape: tuple[int, ...], most: int = 4) -> list[int]:
        """Return how often each map has to be halved to have a smaller side of about `most`, for images [C, H, W]."""
        side = max(min(shape[1:]), self.resolution)
        return [max(0, round(math.log2(max(side / stride, 1) / most))) for stride in self.spec.strides]

    def check(self, shape: tuple[int, ...], system: str) -> None:
        """Refuse images that the network cannot see."""
        if shape[0] not in (1, 3):
            raise UserError(
                f"{system} takes images of 1 or 3 channels, not {shape[0]}: {self.name} was trained on such. Give channels=3 or 1."
            )
        if self.resolution < self.spec.smallest and min(shape[1:]) < self.spec.smallest:
            raise UserError(
                f"resolution={self.resolution} is too small for {self.name}: give at least {self.spec.smallest} (it was trained on "
                f"{self.spec.side})"
            )

    def load(self) -> Self:
        """Read the weights, once."""
        if not self._held:
            self._held.append(self._read().requires_grad_(False).eval())
        own = self.digest.new_tensor(list(self._loaded))
        if not self.digest.any():
            self.digest.copy_(own)
        elif not torch.equal(self.digest, own):
            raise UserError(
                f"this run began with weights of {self.name} whose SHA-256 begins with {bytes(self.digest.tolist()).hex()[:12]}; "
                f"those found now begin with {self._loaded.hex()[:12]}. Give it the first ones again."
            )
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps [B, channels, h, w] of images [B, 1 or 3, H, W] in [-1, 1], whatever mode the system is in."""
        if not self._agreed:  # once: a resumed run's digest is there only now
            self.load()
            self._agreed = True
        net = self._held[0]
        first = next(net.parameters(), None)
        if first is not None and first.device != x.device:
            net.to(x.device)
        least = min(x.shape[2:])
        if least < self.resolution:
            size = [round(s * self.resolution / least) for s in x.shape[2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        maps: list[Tensor] = net(x)
        return maps

    def pooled(self, x: Tensor) -> Tensor:
        """Return the means of all maps, float32 [B, sum of channels]: what a linear probe reads."""
        return torch.cat([m.float().mean((2, 3)) for m in self(x)], 1)

    def _read(self) -> nn.Module:
        if self.name.startswith("vgg16") or self.name == "alexnet":
            net = FeatureNet(self.name, self.spec.layers, weights=self.weights).load()
            self._loaded = bytes.fromhex(net.digest)
            return net
        path = self._path()
        data = path.read_bytes()
        self._loaded = hashlib.sha256(data).digest()
        try:
            state = {k: v.float() for k, v in load_bytes(data).items()}
            if self.name.startswith("lenet"):
                maps = LeNetMaps()
                maps.load_state_dict({k: v for k, v in state.items() if k.startswith("conv")})
                return maps
            efficient = EfficientMaps(EfficientNetLite0().load_published(state))
            return efficient.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's types lack it
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise UserError(f"{path} does not hold the weights of {self.name}: {str(error).splitlines()[0]}") from None

    def _path(self) -> Path:
        if self.name.startswith("lenet") and not self.weights:
            return BUNDLED / self.spec.file
        path = find_weights(self.spec.file, self.weights)
        if path is None:
            raise UserError(
                f"the weights of {self.name} are missing: {weights_lacking(self.spec.file, self.weights)}. "
                "Without a file: lenet-mnist, lenet-fashion or vgg16-random."
            )
        return path

    def extra_repr(self) -> str:
        """Return the name and resolution."""
        return f"{self.name}, resolution={self.resolution}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that shares the weights: an averaged system must not hold them twice."""
        copy = type(self)(self.name, weights=self.weights, resolution=self.resolution).train(self.training)
        copy.digest = self.digest.clone()
        copy._held, copy._loaded = self._held, self._loaded
        return copy


class RandomMixing(nn.Module):
    """Fixed random projections of a pyramid (arXiv:2111.01007, section 3.2): across channels, then across scales.

    c_l = A_l F_l with a random 1x1 convolution; s_L = c_L at the coarsest map, s_l = c_l + B_l up(s_{l+1}) with a random 3x3
    convolution and bilinear enlargement. He's initialization; the weights are buffers: nobody trains them, the checkpoint
    keeps them.

    Args:
        channels: Channels of each map, fine to coarse.
        width: Channels of the finest mixed map; each coarser one has twice as many, up to 8 times this.
        scales: Mix across scales as well.
    """

    def __init__(self, channels: tuple[int, ...], width: int, *, scales: bool) -> None:
        super().__init__()
        self.channels = tuple(width * min(2**i, 8) for i in range(len(channels)))
        self.scales = scales
        for i, (a, b) in enumerate(zip(channels, self.channels, strict=True)):
            self.register_buffer(f"across_{i}", nn.init.kaiming_normal_(torch.empty(b, a, 1, 1)))
        for i in range(len(channels) - 1 if scales else 0):
            size = (self.channels[i], self.channels[i + 1], 3, 3)
            self.register_buffer(f"down_{i}", nn.init.kaiming_normal_(torch.empty(size)))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return as many maps, of the same heights and widths."""
        mixed = [F.conv2d(m, getattr(self, f"across_{i}")) for i, m in enumerate(maps)]
        if self.scales:
            for i in reversed(range(len(mixed) - 1)):
                # Enlarging and a 1x1 convolution would commute; a 3x3 one comes after, as it sees finer positions.
                above = F.interpolate(mixed[i + 1], mixed[i].shape[2:], mode="bilinear", align_corners=False)
                mixed[i] = mixed[i] + F.conv2d(above, getattr(self, f"down_{i}"), padding=1)
        return mixed


class MapDiscriminator(nn.Sequential):
    """A small discriminator of one map: halvings, a 3x3 convolution, a logit at every position left; spectral norm throughout.

    Args:
        channels: Channels of the map.
        width: Channels inside.
        halvings: Strided convolutions.
        batch_norm: Batch norm behind every convolution but the last, so that the scale of the map does not matter.
        outputs: Numbers at every position.
    """

    def __init__(self, channels: int, width: int, halvings: int, *, batch_norm: bool, outputs: int = 1) -> None:
        parts: list[nn.Module] = []
        for i in range(halvings + 1):
            size = (4, 2, 1) if i < halvings else (3, 1, 1)
            conv = nn.Conv2d(width if i else channels, width, *size, bias=not batch_norm)
            norm = [nn.BatchNorm2d(width)] if batch_norm else []
            parts += [parametrizations.spectral_norm(conv), *norm, nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*parts, parametrizations.spectral_norm(nn.Conv2d(width, outputs, 3, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs, h, w] of maps [B, channels, H, W]."""
        for part in self:
            x = part(x)
        return x.float()
