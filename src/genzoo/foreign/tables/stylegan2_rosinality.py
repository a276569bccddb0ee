"""StyleGAN2 as rosinality's PyTorch program saves it: one file with generator, its average, and discriminator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _styles as styles
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "StyleGAN2 of rosinality's stylegan2-pytorch",
    system="stylegan2",
    files="NNNNNN.pt",
    address="https://github.com/rosinality/stylegan2-pytorch",
    licence="MIT, and NVIDIA's licence for the two operations that it takes from them",
    needs=("F", "G"),
    learns=("D",),
    notes="the averaged generator g_ema is taken, not g; where the file has no mean of w, it is that of 4,096 draws, as their program has it.",
)
DRAWS = 4096


def knows(piece: Piece) -> bool:
    """Tell a generator (that which is averaged, where there are two), a discriminator, or a mean of w."""
    generator = "input.input" in piece.state and "style.1.weight" in piece.state
    return (
        (generator and piece.key != "g") or "final_linear.0.weight" in piece.state or set(piece.state) == {"latent_avg"}
    )


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read the channels of every size, and map size by size."""
    arguments: dict[str, Any] = {}
    accounts = []
    for piece in sorted(
        pieces, key=lambda p: "latent_avg" in p.state
    ):  # the mean that is told after the one that is drawn
        keys = Keys(piece)
        if "latent_avg" in piece.state:
            keys.move("mean", "latent_avg", lambda t: t.flatten())
        elif "input.input" in piece.state:
            arguments |= _take_generator(keys)
        else:
            arguments |= _take_discriminator(keys)
        for name in [n for n in keys.left if n.endswith("kernel")]:
            styles.check_filter(piece, name)
        keys.leave("*kernel", styles.FILTERS)
        accounts.append(keys)
    return arguments, accounts


def _take_generator(keys: Keys) -> dict[str, Any]:
    piece, levels = keys.piece, keys.piece.count("to_rgbs.{}.")
    keys.move("G.const", "input.input")
    names = ["conv1", *(f"convs.{i}" for i in range(2 * levels))]
    for i, theirs in enumerate(names):
        ours, up = f"G.blocks.{(i + 1) // 2}.{(i + 1) % 2 if i else 0}", bool(i % 2)
        keys.move(f"{ours}.conv.weight", f"{theirs}.conv.weight", lambda w, up=up: w[0].flip(2, 3) if up else w[0])  # type: ignore[misc]
        keys.layer(f"{ours}.conv.style", f"{theirs}.conv.modulation")
        keys.move(f"{ours}.bias", f"{theirs}.activate.bias", styles.before_gain)
        keys.move(f"{ours}.strength", f"{theirs}.noise.weight", styles.before_gain)
        keys.move(f"{ours}.fixed", f"noises.noise_{i}")
    colours = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(levels))]
    for k, theirs in enumerate(colours):
        keys.move(f"G.pixels.{k}.weight", f"{theirs}.conv.weight", lambda w: w[0])
        keys.layer(f"G.pixels.{k}.style", f"{theirs}.conv.modulation")
    keys.stack("G.pixel_bias", [f"{theirs}.bias" for theirs in colours])
    depth = 0
    while keys.has(f"style.{depth + 1}.weight"):
        keys.move(f"F.layers.{depth}.weight", f"style.{depth + 1}.weight")
        keys.move(f"F.layers.{depth}.bias", f"style.{depth + 1}.bias", styles.before_gain)
        depth += 1
    keys.put("mean", _mean(piece, depth))
    keys.put("length", torch.zeros(()))
    side = 4 * 2**levels
    return {
        "shape": (piece.shape("to_rgb1.bias")[1], side, side),
        "latent": piece.shape("style.1.weight")[0],
        "width": piece.shape(f"{colours[-1]}.conv.weight")[2],
        "most": piece.shape("input.input")[1],
        "depth": depth,
    }


def _mean(piece: Piece, depth: int) -> torch.Tensor:
    """Return the mean of w over draws of a fixed seed: normalized z through the dense layers, whose rate is 0.01."""
    weight = piece.state["style.1.weight"]
    x = torch.randn(DRAWS, weight.shape[1], generator=torch.Generator().manual_seed(0))
    x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for i in range(1, depth + 1):
        w, b = piece.state[f"style.{i}.weight"].float(), piece.state[f"style.{i}.bias"].float()
        x = torch.nn.functional.leaky_relu(x @ w.T * (0.01 / math.sqrt(w.shape[1])) + 0.01 * b, 0.2) * math.sqrt(2)
    return x.mean(0)


def _take_discriminator(keys: Keys) -> dict[str, Any]:
    piece, levels = keys.piece, keys.piece.count("convs.{}.") - 1
    _convolution(keys, "D.pixels.0", "convs.0", 0)
    for i in range(1, levels + 1):
        _convolution(keys, f"D.blocks.{levels - i}.0", f"convs.{i}.conv1", 0)
        _convolution(keys, f"D.blocks.{levels - i}.1", f"convs.{i}.conv2", 1)
        keys.move(f"D.skips.{levels - i}.weight", f"convs.{i}.skip.1.weight")
    _convolution(keys, "D.last", "final_conv", 0)
    keys.move("D.dense.weight", "final_linear.0.weight")
    keys.move("D.dense.bias", "final_linear.0.bias", styles.before_gain)
    keys.layer("D.score", "final_linear.1")
    width, channels = piece.shape("convs.0.0.weight")[:2]
    side = 4 * 2**levels
    return {"shape": (channels, side, side), "width": width, "most": piece.shape("final_conv.0.weight")[0]}


def _convolution(keys: Keys, ours: str, theirs: str, at: int) -> None:
    """Take a convolution and the bias of the rectifier behind it."""
    keys.move(f"{ours}.weight", f"{theirs}.{at}.weight")
    keys.move(f"{ours}.bias", f"{theirs}.{at + 1}.bias", styles.before_gain)
