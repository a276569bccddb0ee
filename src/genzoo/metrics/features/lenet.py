"""The small classifier whose features score MNIST-like images, with the weights that come with the package.

Fréchet distances on its features are called FLD (Fréchet LeNet distance), never FID: the two scales have nothing in common.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from genzoo.core.errors import DamagedFile, UserError, nearest

WEIGHTS = Path(__file__).parents[1] / "weights"
SIDE = 28
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""


class LeNet(nn.Module):
    """Two strided convolutions and two dense layers: 215,370 parameters, 128 features, 10 classes.

    Args:
        dropout: Rate before the last layer, while it is trained.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, stride=2, padding=2)
        self.hidden = nn.Linear(32 * 7 * 7, 128)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate features, float32 [N, 128], of uint8 images [N, C, H, W]."""
        x = F.relu(self.conv1(to_lenet_input(images)))
        x = F.relu(self.conv2(x))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits, float32 [N, 10], of uint8 images [N, C, H, W]."""
        logits: Tensor = self.out(self.dropout(self.features(images)))
        return logits


def to_lenet_input(images: Tensor) -> Tensor:
    """Turn uint8 [N, C, H, W] into float32 [N, 1, 28, 28] in [-1, 1].

    Colours become luma, other sizes are resized by antialiased bilinear interpolation (28x28 is left as it is), and nothing is
    rounded on the way.
    """
    x = images.float()
    if x.shape[1] >= 3:
        x = (x[:, :3] * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    x = x[:, :1]
    if x.shape[-2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return x / 127.5 - 1


def bundled() -> dict[str, Path]:
    """Return names and files of the classifiers that come with the package."""
    return {p.stem: p for p in sorted(WEIGHTS.glob("lenet-*.safetensors"))}


@functools.cache
def load_lenet(name: str) -> tuple[LeNet, dict[str, Any]]:
    """Load a bundled classifier in eval mode, and its card: accuracy, recipe, split, digest.

    The weights are stored in half precision and computed with in float32. The returned module is shared: leave it unchanged.

    Raises:
        UserError: There is no such classifier.
        DamagedFile: The file is not what was shipped.
    """
    files = bundled()
    if name not in files:
        raise UserError(f"there is no bundled classifier '{name}'{nearest(name, files)} There are: {', '.join(files)}.")
    try:
        with safe_open(files[name], framework="pt") as f:
            card = json.loads(f.metadata()["card"])
            state = {k: f.get_tensor(k).float() for k in f.keys()}  # noqa: SIM118  (not a dict)
    except Exception as error:
        raise DamagedFile(f"{files[name]} cannot be read ({error}); install genzoo again") from None
    net = LeNet()
    net.load_state_dict(state)
    card["digest"] = hashlib.sha256(files[name].read_bytes()).hexdigest()
    return net.eval().requires_grad_(False), card


@torch.no_grad()
def classify(name: str, images: Tensor, *, batch: int = 1000) -> Tensor:
    """Return the class logits, float32 [N, 10], that the bundled classifier `name` gives to uint8 images [N, C, H, W]."""
    net, _ = load_lenet(name)
    return torch.cat([net(part.cpu()) for part in images.split(batch)])
