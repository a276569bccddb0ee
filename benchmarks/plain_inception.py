"""FID's Inception as pytorch-fid runs it: plain modules, batch norms on their own, channels first, one loop over batches of tensors.

Written from the graph that TensorFlow released in December 2015 and from what that program's loop does to a batch: values in [0, 1], resized by
half-pixel bilinear interpolation without antialiasing, brought to [-1, 1], through the network without gradients, averaged, to NumPy. Its package
itself imports a library of images that does not load beside every torch. The weights are those of genzoo's own extractor.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.core.files import find_weights

STRIDES = {
    "conv": 2,
    "mixed_3.conv": 2,
    "mixed_3.tower.conv_2": 2,
    "mixed_8.tower.conv_1": 2,
    "mixed_8.tower_1.conv_3": 2,
}
UNPADDED = ("conv", "conv_1", "conv_4", *list(STRIDES)[1:])


class Unit(nn.Module):
    """A convolution without bias, its batch norm and ReLU."""

    def __init__(self, name: str, published: dict[str, Tensor]) -> None:
        super().__init__()
        weight = published[f"{name}.weight"]
        outputs, inputs, height, width = weight.shape
        padding = (0, 0) if name in UNPADDED else (height // 2, width // 2)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), STRIDES.get(name, 1), padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            self.norm.bias.copy_(published[f"{name}.beta"])
            self.norm.running_mean.copy_(published[f"{name}.mean"])
            self.norm.running_var.copy_(published[f"{name}.var"])

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalize, rectify."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


def average(x: Tensor) -> Tensor:
    """Average 3x3 without the border."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Plain(nn.Module):
    """The network, a unit for each convolution of the published file."""

    def __init__(self, published: dict[str, Tensor]) -> None:
        super().__init__()
        names = [k.removesuffix(".weight") for k in published if k.endswith(".weight") and published[k].ndim == 4]
        self.units = nn.ModuleDict({n.replace(".", "/"): Unit(n, published) for n in names})

    def run(self, x: Tensor, block: str, *names: str) -> Tensor:
        """Run units of a block one after the other."""
        for name in names:
            x = self.units[f"{block}/{name.replace('.', '/')}"](x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3, 299, 299] in [-1, 1] to [B, 2048]."""
        for name in ("conv", "conv_1", "conv_2"):
            x = self.units[name](x)
        x = F.max_pool2d(x, 3, 2)
        for name in ("conv_3", "conv_4"):
            x = self.units[name](x)
        x = F.max_pool2d(x, 3, 2)
        for block in ("mixed", "mixed_1", "mixed_2"):
            x = torch.cat(
                [
                    self.run(x, block, "conv"),
                    self.run(x, block, "tower.conv", "tower.conv_1"),
                    self.run(x, block, "tower_1.conv", "tower_1.conv_1", "tower_1.conv_2"),
                    self.run(average(x), block, "tower_2.conv"),
                ],
                1,
            )
        three = self.run(x, "mixed_3", "tower.conv", "tower.conv_1", "tower.conv_2")
        x = torch.cat([self.run(x, "mixed_3", "conv"), three, F.max_pool2d(x, 3, 2)], 1)
        for block in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
            x = torch.cat(
                [
                    self.run(x, block, "conv"),
                    self.run(x, block, "tower.conv", "tower.conv_1", "tower.conv_2"),
                    self.run(x, block, "tower_1.conv", *(f"tower_1.conv_{i}" for i in range(1, 5))),
                    self.run(average(x), block, "tower_2.conv"),
                ],
                1,
            )
        three = self.run(x, "mixed_8", "tower.conv", "tower.conv_1")
        seven = self.run(x, "mixed_8", "tower_1.conv", *(f"tower_1.conv_{i}" for i in range(1, 4)))
        x = torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)
        for block, pooled in (("mixed_9", average), ("mixed_10", lambda x: F.max_pool2d(x, 3, 1, 1))):
            a = self.run(x, block, "tower_conv")
            b = self.run(x, block, "tower_1_conv", "tower_1_conv_1")
            mixed = [
                self.run(h, block, f"{of}_mixed_conv{also}")
                for of, h in (("tower", a), ("tower_1", b))
                for also in ("", "_1")
            ]
            x = torch.cat([self.run(x, block, "conv"), *mixed, self.run(pooled(x), block, "tower_2_conv")], 1)
        return F.adaptive_avg_pool2d(x, (1, 1))


def published() -> dict[str, Tensor]:
    """Read the published tensors by name."""
    path = find_weights("inception-fid.pt")
    if path is None:
        raise SystemExit("the weights of Inception are not here: genzoo weights inception")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found: dict[str, Tensor] = torch.jit.load(path, map_location="cpu").state_dict()
    return found


def load() -> Plain:
    """Build the network with the published weights."""
    prefix = "net.layers."
    return Plain({k.removeprefix(prefix): v for k, v in published().items() if k.startswith(prefix)}).eval()


def describe(net: Plain, images: Tensor, batch: int = 50) -> Tensor:
    """Return the features [N, 2048] of images [N, 3, H, W] in [0, 1], as that program's loop fills its array."""
    found = np.empty((len(images), 2048))
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        with torch.no_grad():
            x = 2 * F.interpolate(part, size=(299, 299), mode="bilinear", align_corners=False) - 1
            pred = net(x)
        found[start : start + len(part)] = pred.squeeze(3).squeeze(2).cpu().numpy()
    return torch.from_numpy(found).float()
