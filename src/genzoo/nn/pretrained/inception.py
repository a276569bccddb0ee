"""The Inception network whose features FID is taken from, with its batch norms in its kernels and channels last.

Szegedy et al. (arXiv:1512.00567) as TensorFlow released it in December 2015, whose graph departs from the paper's: averages leave out the
border, and the last block takes maxima. Names of tensors are those of the published TorchScript file, which is read for its weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES, SIDE = 2048, 299
EPSILON = 1e-3
"""Of the batch norms."""
STEM = (("conv", 2, 0), ("conv_1", 1, 0), ("conv_2", 1, 1), ("conv_3", 1, 0), ("conv_4", 1, 0))
"""Names, strides and paddings of the first convolutions; maxima are taken after the third and the last."""
KINDS = {
    "mixed_3": "b",
    "mixed_8": "d",
    "mixed_9": "e",
    "mixed_10": "e",
    **dict.fromkeys(("mixed", "mixed_1", "mixed_2"), "a"),
}
"""Kinds of blocks, figures 5 to 7; the others are of kind c."""
BLOCKS = ("mixed", *(f"mixed_{i}" for i in range(1, 11)))


def maxima(x: Tensor) -> Tensor:
    """Take the maximum of 3x3, every second row and column."""
    return F.max_pool2d(x, 3, 2)


def folded(published: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Return kernel, channels last, and bias of a convolution with its batch norm in it, computed in float64."""
    mean, var, beta = (published[f"{name}{part}"].detach().double() for part in ("mean", "var", "beta"))
    scale = (var + EPSILON).rsqrt()
    weight = (published[f"{name}weight"].detach().double() * scale[:, None, None, None]).float()
    return weight.contiguous(memory_format=torch.channels_last), (beta - mean * scale).float()


FIRST = {
    "a": ("conv", "tower.conv", "tower_1.conv", "tower_2.conv"),
    "b": ("tower.conv",),
    "d": ("tower.conv", "tower_1.conv"),
    "e": ("conv", "tower_conv", "tower_1_conv", "tower_2_conv"),
}
"""The 1x1 convolutions that read a block's input, by kind; the last of four reads its average."""
FIRST["c"] = FIRST["a"]


def first_of(block: str) -> tuple[str, ...]:
    """Return the 1x1 convolutions that read a block's input; the last block's fourth reads maxima, and so is none of them."""
    names = FIRST[KINDS.get(block, "c")]
    return names[:3] if block == "mixed_10" else names


class Inception(nn.Module):
    """Features of photographs.

    Args:
        published: The tensors of the published file by name: for each convolution `weight`, and `beta`, `mean` and `var` of its batch norm.
        prefix: What the names begin with.

    Raises:
        ValueError: A tensor is missing.
    """

    def __init__(self, published: Mapping[str, Tensor], prefix: str = "net.layers.") -> None:
        super().__init__()
        self.kernels: dict[str, tuple[Tensor, Tensor]] = {}
        self.sizes: dict[str, list[int]] = {}
        for name in published:
            if name.startswith(prefix) and name.endswith(".weight"):
                conv = name[len(prefix) : -len(".weight")]
                self.kernels[conv] = folded(published, f"{prefix}{conv}.")
        firsts = [f"{block}.{name}" for block in BLOCKS for name in first_of(block)]
        for name in [*(stem for stem, _, _ in STEM), *firsts]:
            if name not in self.kernels:
                raise ValueError(f"there is no tensor {prefix}{name}.weight: this is not the published Inception")
        for block in BLOCKS:
            self._join(block)

    def _join(self, block: str) -> None:
        """Join the 1x1 convolutions of a block that read its input: one product in the place of up to four."""
        ones = [f"{block}.{name}" for name in first_of(block)]
        parts = [self.kernels.pop(name) for name in ones]
        weight, bias = (torch.cat(each) for each in zip(*parts, strict=True))
        self.kernels[f"{block}.first"] = weight.contiguous(memory_format=torch.channels_last), bias
        self.sizes[block] = [len(bias) for _, bias in parts]

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int | tuple[int, int] | None = None) -> Tensor:
        """Convolve and rectify; a padding that keeps the size where none is given."""
        weight, bias = self.kernels[name]
        if padding is None:
            padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        return F.conv2d(x, weight, bias, stride, padding).relu_()

    def chain(self, block: str, x: Tensor, *names: str, last: int = 1) -> Tensor:
        """Run convolutions one after the other, the last one with this stride (and, where it is 2, no padding)."""
        for name in names[:-1]:
            x = self.conv(f"{block}.{name}", x)
        return self.conv(f"{block}.{names[-1]}", x, last, 0 if last == 2 else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, 3, 299, 299] in [-1, 1] to features [B, 2048]."""
        x = x.contiguous(memory_format=torch.channels_last)
        for name, stride, padding in STEM:
            x = self.conv(name, x, stride, padding)
            if name in ("conv_2", "conv_4"):
                x = maxima(x)
        for block in BLOCKS:
            x = getattr(self, f"_{KINDS.get(block, 'c')}")(block, x)
        return x.mean((2, 3))

    def _first(self, block: str, x: Tensor) -> list[Tensor]:
        """Return what the 1x1 convolutions of a block's input give: rectified, but for the last one, which is averaged first."""
        weight, bias = self.kernels[f"{block}.first"]
        *parts, pooled = F.conv2d(x, weight, bias).split(self.sizes[block], 1)
        return [*(part.relu() for part in parts), pooled]

    def _averaged(self, x: Tensor) -> Tensor:
        # a 1x1 convolution of an average is the average of the convolution, of fewer channels
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False).relu_()

    def _a(self, block: str, x: Tensor) -> Tensor:
        plain, five, three, pooled = self._first(block, x)
        five = self.chain(block, five, "tower.conv_1")
        three = self.chain(block, three, "tower_1.conv_1", "tower_1.conv_2")
        return torch.cat([plain, five, three, self._averaged(pooled)], 1)

    def _b(self, block: str, x: Tensor) -> Tensor:
        (tower,) = (part.relu_() for part in self._only(block, x))
        tower = self.chain(block, tower, "tower.conv_1", "tower.conv_2", last=2)
        return torch.cat([self.conv(f"{block}.conv", x, 2, 0), tower, maxima(x)], 1)

    def _c(self, block: str, x: Tensor) -> Tensor:
        plain, seven, twice, pooled = self._first(block, x)
        seven = self.chain(block, seven, "tower.conv_1", "tower.conv_2")
        twice = self.chain(block, twice, *(f"tower_1.conv_{i}" for i in range(1, 5)))
        return torch.cat([plain, seven, twice, self._averaged(pooled)], 1)

    def _d(self, block: str, x: Tensor) -> Tensor:
        three, seven = (part.relu() for part in self._only(block, x))
        three = self.chain(block, three, "tower.conv_1", last=2)
        seven = self.chain(block, seven, *(f"tower_1.conv_{i}" for i in range(1, 4)), last=2)
        return torch.cat([three, seven, maxima(x)], 1)

    def _e(self, block: str, x: Tensor) -> Tensor:
        if block == "mixed_10":
            plain, a, b = (part.relu() for part in self._only(block, x))
            pooled = self.conv(f"{block}.tower_2_conv", F.max_pool2d(x, 3, 1, 1))
        else:
            plain, a, b, pooled = self._first(block, x)
            pooled = self._averaged(pooled)
        b = self.chain(block, b, "tower_1_conv_1")
        mixed = [
            self.conv(f"{block}.{tower}_mixed_conv{also}", h)
            for tower, h in (("tower", a), ("tower_1", b))
            for also in ("", "_1")
        ]
        return torch.cat([plain, *mixed, pooled], 1)

    def _only(self, block: str, x: Tensor) -> tuple[Tensor, ...]:
        weight, bias = self.kernels[f"{block}.first"]
        parts: tuple[Tensor, ...] = F.conv2d(x, weight, bias).split(self.sizes[block], 1)
        return parts
