"""pix2pixHD as NVIDIA's program saves it: a global generator, or one with local enhancers; discriminators of several scales."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _patches as patches
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "pix2pixHD of NVIDIA's program",
    system="pix2pixhd",
    files="latest_net_G.pth [latest_net_D.pth]",
    address="https://github.com/NVIDIA/pix2pixHD",
    licence="BSD, for non-commercial use",
    needs=("G",),
    learns=("D",),
    notes="with enhancers the file has no last layer of the global generator, which nothing uses once they are trained: it is 0. Models "
    "with an encoder of features are not taken: its network is another one here.",
)
USUAL = {36: (35, True), 35: (35, False), 3: (0, False), 1: (0, False)}
"""Channels that G sees, as label maps (and boundaries of instances) or pictures, where nothing else is said."""


def knows(piece: Piece) -> bool:
    """Tell a ResNet generator or discriminators of several scales."""
    return patches.is_resnet(piece) or _scales(piece) > 0


def _scales(piece: Piece) -> int:
    return piece.count("scale{}_layer0.") or piece.count("layer{}.0.")


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read sizes, and map generator, enhancers and discriminators."""
    arguments: dict[str, Any] = {"upsample": "transposed"}  # repeated pixels have filters of the same shape
    accounts = []
    for piece in pieces:
        keys = Keys(piece)
        arguments |= _take_generator(keys, given) if patches.is_resnet(piece) else _take_judges(keys)
        patches.plain_norms(keys, "")
        accounts.append(keys)
    rows = max(int(str(arguments.get("labels", 0))), 1)
    keys = accounts[0]
    keys.put("fine", torch.tensor(True))
    keys.put("bank", torch.zeros(rows, 512, 0))
    keys.put("filled", torch.zeros(rows, dtype=torch.int64))
    return arguments, accounts


def _take_generator(keys: Keys, given: Mapping[str, Any]) -> dict[str, Any]:
    piece, enhancers = keys.piece, 0
    while keys.has(f"model{enhancers + 1}_1.1.weight"):
        enhancers += 1
    patches.resnet(keys, "G.whole", whole=not enhancers)
    width, seen = piece.shape("model.1.weight")[:2]
    halvings, blocks, inside = patches.halvings_of(piece), patches.blocks_of(piece), 3
    for k in range(enhancers):
        ours, theirs = f"G.enhancers.{k}", f"model{k + 1}"
        keys.move(f"{ours}.down.1.weight", f"{theirs}_1.1.weight")
        keys.move(f"{ours}.down.4.weight", f"{theirs}_1.4.weight")
        inside = len(patches.blocks_of(piece, f"{theirs}_2"))
        for i in range(inside):
            patches.residual(keys, f"{ours}.up.{i}.net", f"{theirs}_2.{i}.conv_block")
        keys.move(f"{ours}.up.{inside}.weight", f"{theirs}_2.{inside}.weight")
    last = f"model{enhancers}_2.{inside + 4}" if enhancers else f"model.{max(blocks) + 3 * halvings + 2}"
    channels = piece.shape(f"{last}.weight")[0]
    if enhancers:
        keys.layer("G.colours.0.1", last)
        end = f"G.whole.net.{max(blocks) + 3 * halvings + 2}"
        keys.put(f"{end}.weight", torch.zeros(channels, width, 7, 7))
        keys.put(f"{end}.bias", torch.zeros(channels))
    told = {
        "shape": (channels, 512, 1024),
        "width": width,
        "halvings": halvings,
        "blocks": len(blocks),
        "enhancers": enhancers,
    }
    return {**told, "enhancer_blocks": inside, **_inputs(piece, seen, given)}


def _inputs(piece: Piece, seen: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what the generator's channels are: labels and boundaries, or pictures.

    Raises:
        UserError: They could be either.
    """
    if "labels" in given or "instances" in given:
        instances = str(given.get("instances", False)).lower() in ("true", "1", "yes")
        labels = int(given.get("labels", 0))
    elif seen in USUAL:
        labels, instances = USUAL[seen]
    else:
        raise UserError(
            f"{piece}: the generator sees {seen} channels; say what they are: labels={seen - 1} instances=true, labels={seen}, or "
            "labels=0 for pictures"
        )
    if labels and labels + instances != seen:
        raise UserError(
            f"{piece}: the generator sees {seen} channels, not {labels} of labels and {int(instances)} of boundaries"
        )
    return {"inputs": 1 + instances if labels else seen, "labels": labels, "instances": instances}


def _take_judges(keys: Keys) -> dict[str, Any]:
    """Map the discriminators: theirs are numbered from the smallest image, ours from the whole one."""
    piece, scales = keys.piece, _scales(keys.piece)
    apart = keys.has("scale0_layer0.0.weight")
    layers = (
        piece.count("scale0_layer{}.")
        if apart
        else len([k for k in piece.state if re.fullmatch(r"layer0\.\d+\.weight", k)])
    )
    for k in range(scales):
        root = f"scale{scales - 1 - k}" if apart else f"layer{scales - 1 - k}"
        for j in range(layers):
            at = 3 * j - 1 if j else 0
            theirs = f"{root}_layer{j}.0" if apart else f"{root}.{at}"
            if j in (0, layers - 1):
                keys.layer(f"D.{k}.net.{at}", theirs)
            else:
                keys.move(f"D.{k}.net.{at}.weight", f"{theirs}.weight")
    first = "scale0_layer0.0.weight" if apart else "layer0.0.weight"
    return {"d_width": piece.shape(first)[0], "layers": layers - 2, "scales": scales, "d_padding": 2}
