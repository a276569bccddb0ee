"""Progressive growing as Facebook's pytorch_GAN_zoo saves it: generator, its average and discriminator in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "progressive growing of Facebook's pytorch_GAN_zoo",
    system="progan",
    files="NAME_sN_iN.pt",
    address="https://github.com/facebookresearch/pytorch_GAN_zoo",
    licence="BSD-3-Clause",
    needs=("G",),
    learns=("D",),
    notes="the averaged generator avgG is taken, not netG, at its last level, wholly faded in; D's deviation over a batch, whose variance "
    "divides by n - 1 there and by n here, is brought to the same for groups of four.",
)
GROUP = 4
"""Examples among which D compares."""


def knows(piece: Piece) -> bool:
    """Tell a generator (that which is averaged, where there are two) or a discriminator."""
    generator = "formatLayer.module.weight" in piece.state
    return (generator and piece.key.rpartition(".")[2] != "netG") or "decisionLayer.module.weight" in piece.state


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read the channels of every level, and map level by level."""
    arguments: dict[str, Any] = {}
    accounts = []
    for piece in pieces:
        keys, levels = Keys(piece), piece.count("scaleLayers.{}.")
        generator = "formatLayer.module.weight" in piece.state
        colours = "toRGBLayers" if generator else "fromRGBLayers"
        shape = piece.shape(f"{colours}.{levels}.module.weight")
        side = 4 * 2**levels
        arguments |= {"shape": (shape[0 if generator else 1], side, side), "width": shape[1 if generator else 0]}
        (_take_generator if generator else _take_discriminator)(keys, levels)
        if generator:
            latent = piece.shape("formatLayer.module.weight")[1]
            arguments |= {"latent": latent, "most": piece.shape("groupScale0.0.module.weight")[0]}
            keys.put("progress", torch.ones(()))
        else:
            arguments.setdefault("most", piece.shape("groupScaleZero.1.module.weight")[0])
        accounts.append(keys)
    return arguments, accounts


def _take_generator(keys: Keys, levels: int) -> None:
    _layer(keys, "G.dense", "formatLayer", 4.0)  # whose gain is a quarter here
    _layer(keys, "G.first", "groupScale0.0")
    for k in range(levels):
        for i in range(2):
            _layer(keys, f"G.blocks.{k}.{i}", f"scaleLayers.{k}.{i}")
    for k in range(levels + 1):
        _layer(keys, f"G.pixels.{k}", f"toRGBLayers.{k}", math.sqrt(2))  # which is no layer before a rectifier here


def _take_discriminator(keys: Keys, levels: int) -> None:
    for k in range(levels):
        for i in range(2):
            _layer(keys, f"D.blocks.{k}.{i}", f"scaleLayers.{k}.{i}")
    for k in range(levels + 1):
        _layer(keys, f"D.pixels.{k}", f"fromRGBLayers.{k}")
    _layer(keys, "D.last", "groupScaleZero.0")
    if "D.last.weight" in keys.found:
        keys.found["D.last.weight"] = _spread(keys.found["D.last.weight"])
    _layer(keys, "D.dense", "groupScaleZero.1")
    _layer(keys, "D.score", "decisionLayer", math.sqrt(2))


def _layer(keys: Keys, ours: str, theirs: str, gain: float = 1.0) -> None:
    """Take a layer whose factor √(2 / fan-in) multiplies its bias as well, which it does not here."""
    weight = keys.piece.state.get(f"{theirs}.module.weight")
    factor = math.sqrt(2 / weight[0].numel()) if weight is not None else 1.0
    keys.move(f"{ours}.weight", f"{theirs}.module.weight", lambda w: gain * w)
    keys.move(f"{ours}.bias", f"{theirs}.module.bias", lambda b: factor * b)


def _spread(weight: Tensor) -> Tensor:
    """Weigh the last input, the standard deviation, by √(n / (n - 1))."""
    change = torch.ones(weight.shape[1])
    change[-1] = math.sqrt(GROUP / (GROUP - 1))
    return weight * change[None, :, None, None]
