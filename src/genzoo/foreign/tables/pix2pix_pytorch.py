"""pix2pix as its authors' PyTorch program saves it: a U-Net in one file, a discriminator of patches in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _patches as patches
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "pix2pix of the authors' pytorch-CycleGAN-and-pix2pix",
    system="pix2pix",
    files="latest_net_G.pth [latest_net_D.pth]",
    address="https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
    licence="BSD-2-Clause",
    needs=("G",),
    learns=("D",),
    notes="norm=instance (the default here) normalizes each image by itself, as the authors' test does; norm=batch by the running "
    "statistics, as their --eval does. A variant's dropout is in the first three layers of the decoder, as in the paper; their program "
    "has it one layer further out.",
)
RUNNING = "running statistics of batch norm, which norm=batch would use"


def knows(piece: Piece) -> bool:
    """Tell a U-Net or a discriminator of patches, PixelGANs among them."""
    return _unet(piece) or patches.is_patchgan(piece) or _pixel(piece)


def _unet(piece: Piece) -> bool:
    return "model.model.0.weight" in piece.state and "model.model.3.weight" in piece.state


def _pixel(piece: Piece) -> bool:
    return (
        "net.0.weight" in piece.state and "net.5.weight" in piece.state and piece.state["net.0.weight"].shape[-1] == 1
    )


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read sizes from the outermost layers, and map from the outside inwards."""
    arguments: dict[str, Any] = {"norm": str(given.get("norm", "instance")), "upsample": "transposed"}
    accounts = []
    for piece in pieces:
        keys = Keys(piece)
        if _unet(piece):
            arguments |= _take_unet(keys, arguments["norm"])
        else:
            arguments |= _take_judge(keys, arguments["norm"])
        accounts.append(keys)
    if "inputs" in arguments and "seen" in arguments:
        seen, both = arguments.pop("seen"), arguments["inputs"] + arguments["shape"][0]
        if seen not in (both, arguments["shape"][0]):
            raise UserError(f"the discriminator sees {seen} channels; with this generator they would be {both}")
        arguments["conditional"] = seen == both
    arguments.pop("seen", None)
    return arguments, accounts


def _take_unet(keys: Keys, norm: str) -> dict[str, Any]:
    """Map the blocks that stand inside each other."""
    piece, root, depth = keys.piece, "model.model", 0
    while any(k.startswith(f"{root}.{3 if depth else 1}.model.") for k in piece.state):
        root, depth = f"{root}.{3 if depth else 1}.model", depth + 1
    width, inputs = piece.shape("model.model.0.weight")[:2]
    channels = piece.shape("model.model.3.weight")[1]
    root = "model.model"
    keys.biased("G.down.0.0", f"{root}.0")
    keys.layer("G.up.0.1", f"{root}.3", _swapped)
    for i in range(1, depth + 1):
        root = f"{root}.{1 if i == 1 else 3}.model"
        if i == depth:
            keys.biased(f"G.down.{i}.1", f"{root}.1")
            keys.move(f"G.up.{i}.1.weight", f"{root}.3.weight")
            _norm(keys, f"G.up.{i}.2", f"{root}.4", norm, piece.shape(f"{root}.3.weight")[1])
        else:
            keys.move(f"G.down.{i}.1.weight", f"{root}.1.weight")
            _norm(keys, f"G.down.{i}.2", f"{root}.2", norm, piece.shape(f"{root}.1.weight")[0])
            keys.move(f"G.up.{i}.1.weight", f"{root}.5.weight", _swapped)
            _norm(keys, f"G.up.{i}.2", f"{root}.6", norm, piece.shape(f"{root}.5.weight")[1])
    if norm == "instance":
        keys.leave("*.bias", patches.CANCELS)
    side = 2 ** (depth + 1)  # the size at which the innermost map is one pixel
    return {"shape": (channels, side, side), "inputs": inputs, "width": width, "depth": depth + 1}


def _take_judge(keys: Keys, norm: str) -> dict[str, Any]:
    """Map a discriminator, whose places are ours."""
    piece, root = keys.piece, "net" if _pixel(keys.piece) else "model"
    places = patches.convolutions(piece, root)
    width, seen = piece.shape(f"{root}.{places[0]}.weight")[:2]
    scaled = any(v.ndim == 1 and k.endswith(".weight") for k, v in piece.state.items())
    for i in places:
        ends = i in (places[0], places[-1])
        if ends:
            keys.biased(f"D.net.{i}", f"{root}.{i}")
        else:
            keys.move(f"D.net.{i}.weight", f"{root}.{i}.weight")
            if scaled:
                _norm(keys, f"D.net.{i + 1}", f"{root}.{i + 1}", norm, piece.shape(f"{root}.{i}.weight")[0])
    if not scaled:
        keys.leave("*.running_*", patches.OLD)
        keys.leave("*.num_batches_tracked", patches.COUNTERS)
    if norm == "instance" or not scaled:
        keys.leave("*.bias", patches.CANCELS)
    layers = 0 if root == "net" else len(places) - 2
    return {"seen": seen, "d_width": width, "d_norm": norm if scaled else "plain", "layers": layers}


def _swapped(weight: Tensor) -> Tensor:
    """Exchange the halves of the inputs: there the skipped map stands before the one from inside, here behind it."""
    return torch.cat(weight.chunk(2)[::-1])


def _norm(keys: Keys, ours: str, theirs: str, norm: str, channels: int) -> None:
    """Take a norm: of a batch as it is, or its scales for instance norm; without scales these are 1 and 0."""
    if norm == "batch":
        if not keys.has(f"{theirs}.weight"):
            raise UserError(f"{keys.piece} has no batch norm with scales; leave norm=batch out")
        keys.batch_norm(ours, theirs)
        return
    if keys.has(f"{theirs}.weight"):
        keys.layer(ours, theirs)
        keys.leave(f"{theirs}.running_*", RUNNING)
    else:
        keys.put(f"{ours}.weight", torch.ones(channels))
        keys.put(f"{ours}.bias", torch.zeros(channels))
        keys.leave(f"{theirs}.running_*", patches.OLD)
    keys.leave(f"{theirs}.num_batches_tracked", patches.COUNTERS)
