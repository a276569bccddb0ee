"""Plain encoders and decoders of images: fully connected, or strided convolutions down and layers that double back up."""

from __future__ import annotations

import itertools
import math
from typing import Literal

from torch import nn

from genzoo.nn.upsampling import Upsample, doubling

Activation = Literal["tanh", "relu", "elu", "silu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU}


def dense_coders(
    shape: tuple[int, int, int], code: int, out: int, hidden: int, depth: int, act: type[nn.Module], *, maps: int = 1
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return an encoder from images to [B, out] and a decoder from [B, code] to `maps` images, `depth` hidden layers each."""
    dims, given = math.prod(shape), (maps * shape[0], *shape[1:])
    inner = [hidden] * depth
    encoder = nn.Sequential(nn.Flatten(), *_dense([dims, *inner], act), nn.Linear([dims, *inner][-1], out))
    last = nn.Linear([code, *inner][-1], maps * dims)
    decoder = nn.Sequential(*_dense([code, *inner], act), last, nn.Unflatten(1, given))
    return encoder, decoder


def _dense(sizes: list[int], act: type[nn.Module]) -> list[nn.Module]:
    return [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), act())]


def conv_coders(
    shape: tuple[int, int, int], code: int, out: int, width: int, depth: int, act: type[nn.Module], upsample: Upsample = "transposed",
    *, maps: int = 1,
) -> tuple[nn.Sequential, nn.Sequential]:  # fmt: skip
    """Return an encoder from images to [B, out] and a decoder from [B, code] to `maps` images of the same sizes, odd ones included.

    The image is halved `depth` times, as far as its smaller side has two pixels left; channels start at `width` and double.
    Several images are [B, maps · C, H, W], one after the other in dimension 1.
    """
    channels, h, w = shape
    sizes = [(h, w)]
    while len(sizes) <= depth and min(sizes[-1]) >= 2:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    widths = [channels, *(width * 2**i for i in range(len(sizes) - 1))]
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        down += [nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1), act()]
        odd = (sizes[i][0] % 2, sizes[i][1] % 2)
        up = [
            doubling(upsample, widths[i + 1], widths[i] if i else maps * channels, ends=odd),
            *([act()] if i else []),
            *up,
        ]
    inner = (widths[-1], *sizes[-1])
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(math.prod(inner), out))
    top = inner if up else (maps * channels, h, w)  # an image of one row or column is not halved
    bridge = [nn.Linear(code, math.prod(top)), nn.Unflatten(1, top)]
    return encoder, nn.Sequential(*bridge, *([act()] if up else []), *up)


def xavier_init(layer: nn.Module) -> None:
    """Draw weights by Xavier's uniform rule and set biases to 0; for `Module.apply`."""
    if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
