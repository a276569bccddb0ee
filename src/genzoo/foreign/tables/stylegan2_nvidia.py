"""StyleGAN2 as NVIDIA's PyTorch programs pickle it: stylegan2-ada-pytorch, and the StyleGAN2 configuration of stylegan3."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _styles as styles
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "StyleGAN2 of NVIDIA's stylegan2-ada-pytorch and stylegan3",
    system="stylegan2",
    files="network-snapshot-N.pkl",
    address="https://github.com/NVlabs/stylegan3",
    licence="NVIDIA Source Code License (no commercial use)",
    needs=("F", "G"),
    learns=("D",),
    notes="the averaged generator G_ema is taken, not G; maps are not clamped to 256 here, which theirs reach in half precision alone.",
)


def knows(piece: Piece) -> bool:
    """Tell a generator (that which is averaged, where there are two) or a discriminator."""
    generator = "synthesis.b4.const" in piece.state and "mapping.fc0.weight" in piece.state
    return (generator and piece.key != "G") or "b4.out.weight" in piece.state


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read the channels of every size, and map size by size."""
    arguments: dict[str, Any] = {}
    accounts = []
    for piece in sorted(
        pieces, key=lambda p: "b4.out.weight" in p.state
    ):  # what D tells goes before what G lets suppose
        keys = Keys(piece)
        arguments |= _take_generator(keys) if "synthesis.b4.const" in piece.state else _take_discriminator(keys)
        for name in [n for n in keys.left if n.endswith("resample_filter")]:
            styles.check_filter(piece, name)
        keys.leave("*resample_filter", styles.FILTERS)
        accounts.append(keys)
    return arguments, accounts


def _sizes(piece: Piece, root: str) -> list[int]:
    pattern = re.compile(rf"{re.escape(root)}b(\d+)\.")
    return sorted({int(m[1]) for name in piece.state if (m := pattern.match(name))})


def _take_generator(keys: Keys) -> dict[str, Any]:
    piece, sizes = keys.piece, _sizes(keys.piece, "synthesis.")
    const, last = piece.shape("synthesis.b4.const"), f"synthesis.b{sizes[-1]}"
    keys.move("G.const", "synthesis.b4.const", lambda t: t[None])
    for k, size in enumerate(sizes):
        block = f"synthesis.b{size}"
        for i, name in enumerate(("conv1",) if not k else ("conv0", "conv1")):
            _layer(keys, f"G.blocks.{k}.{i}", f"{block}.{name}", up=name == "conv0")
        keys.move(f"G.pixels.{k}.weight", f"{block}.torgb.weight")  # divided at use there as well
        keys.layer(f"G.pixels.{k}.style", f"{block}.torgb.affine")
    keys.stack("G.pixel_bias", [f"synthesis.b{size}.torgb.bias" for size in sizes])
    depth = piece.count("mapping.fc{}.")
    for i in range(depth):
        keys.move(f"F.layers.{i}.weight", f"mapping.fc{i}.weight")
        keys.move(f"F.layers.{i}.bias", f"mapping.fc{i}.bias", styles.before_gain)
    latent, classes = piece.shape("mapping.fc0.weight")[0], 0
    if keys.has("mapping.embed.weight"):
        classes = piece.shape("mapping.embed.weight")[1]
        keys.layer("F.embed", "mapping.embed")
    keys.move("mean", "mapping.w_avg")
    keys.put("length", torch.zeros(()))
    most, width = const[0], piece.shape(f"{last}.torgb.weight")[1]
    return {
        "shape": (piece.shape(f"{last}.torgb.weight")[0], sizes[-1], sizes[-1]),
        **({"classes": classes, "conditional": True, "class_depth": 8} if classes else {}),
        "latent": latent,
        "width": width,
        "most": most,
        "depth": depth,
        "noise": keys.has("synthesis.b4.conv1.noise_const"),
    }


def _layer(keys: Keys, ours: str, theirs: str, *, up: bool) -> None:
    """Take a modulated layer, whose rectifier's gain stands before noise and bias here."""
    styles.weights(keys, f"{ours}.conv", f"{theirs}.weight", up=up)
    keys.layer(f"{ours}.conv.style", f"{theirs}.affine")
    keys.move(f"{ours}.bias", f"{theirs}.bias", styles.before_gain)
    if keys.has(f"{theirs}.noise_const"):
        keys.move(f"{ours}.strength", f"{theirs}.noise_strength", lambda t: math.sqrt(2) * t.reshape(1))
        keys.move(f"{ours}.fixed", f"{theirs}.noise_const", lambda t: t[None, None])


def _take_discriminator(keys: Keys) -> dict[str, Any]:
    piece, sizes = keys.piece, _sizes(keys.piece, "")
    largest = sizes[-1]
    if any(f"b{size}.fromrgb.weight" in piece.state for size in sizes[:-1]):
        raise UserError(f"{piece} looks at the image at several sizes (architecture skip or orig); here D is residual")
    _convolution(keys, "D.pixels.0", f"b{largest}.fromrgb")
    for k, size in enumerate(sizes[1:]):
        for i in range(2):
            _convolution(keys, f"D.blocks.{k}.{i}", f"b{size}.conv{i}")
        keys.move(f"D.skips.{k}.weight", f"b{size}.skip.weight")
    for ours, theirs in (("last", "conv"), ("dense", "fc")):
        _convolution(keys, f"D.{ours}", f"b4.{theirs}")
    keys.layer("D.score", "b4.out")
    told: dict[str, Any] = {"shape": (piece.shape(f"b{largest}.fromrgb.weight")[1], largest, largest)}
    told |= {"width": piece.shape(f"b{largest}.fromrgb.weight")[0], "most": piece.shape("b4.conv.weight")[0]}
    if keys.has("mapping.embed.weight"):
        keys.layer("D.embed", "mapping.embed")
        depth = piece.count("mapping.fc{}.")
        for i in range(depth):
            keys.move(f"D.mapping.{i}.weight", f"mapping.fc{i}.weight")
            keys.move(f"D.mapping.{i}.bias", f"mapping.fc{i}.bias", styles.before_gain)
        keys.leave("mapping.w_avg", "a mean that D does not use")
        told |= {"classes": piece.shape("mapping.embed.weight")[1], "conditional": True, "class_depth": depth}
    return told


def _convolution(keys: Keys, ours: str, theirs: str) -> None:
    """Take a layer with a rectifier behind it, whose gain of √2 is in the weights here."""
    keys.move(f"{ours}.weight", f"{theirs}.weight")
    keys.move(f"{ours}.bias", f"{theirs}.bias", styles.before_gain)
