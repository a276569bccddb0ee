"""CycleGAN as its authors' PyTorch program saves it: one file for each of four networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _patches as patches
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "CycleGAN of the authors' pytorch-CycleGAN-and-pix2pix",
    system="cyclegan",
    files="latest_net_G_A.pth latest_net_G_B.pth [latest_net_D_A.pth latest_net_D_B.pth]",
    address="https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
    licence="BSD-2-Clause",
    needs=("a2b", "b2a"),
    learns=("D_a", "D_b"),
    notes="generators with residual blocks and instance norm; their D_A judges side B, which is D_b here; dropout is not taken over.",
)
ROLES = {"G_A": "a2b", "G_B": "b2a", "D_A": "D_b", "D_B": "D_a", "G_A2B": "a2b", "G_B2A": "b2a"}
"""What the networks' names in the files' names stand for; D_A is the one that G_A has to fool."""


def knows(piece: Piece) -> bool:
    """Tell a ResNet generator or a discriminator of patches."""
    return patches.is_resnet(piece) or patches.is_patchgan(piece)


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read sizes from the convolutions, and map layer by layer; biases before instance norm have no effect and are left out."""
    arguments: dict[str, Any] = {"upsample": "transposed"}  # repeated pixels have filters of the same shape
    accounts, seen = [], dict[str, str]()
    for piece in pieces:
        role = _role(piece, alone=len(pieces) == 1)
        if role in seen:
            raise UserError(f"{seen[role]} and {piece} would both be {role}; give one of them")
        seen[role], keys = str(piece), Keys(piece)
        if role.startswith("D"):
            width, channels = piece.shape("model.0.weight")[:2]
            arguments |= {"d_width": width, "layers": patches.layers_of(piece)}
            patches.patchgan(keys, role)
        else:
            width, channels = piece.shape("model.1.weight")[:2]
            arguments |= {"width": width, "blocks": len(patches.blocks_of(piece))}
            arguments.setdefault("shape", (channels, 256, 256))
            patches.resnet(keys, role)
        patches.plain_norms(keys, "")
        accounts.append(keys)
    return arguments, accounts


def _role(piece: Piece, *, alone: bool) -> str:
    generator = patches.is_resnet(piece)
    if piece.role:
        return piece.role
    for name, role in sorted(ROLES.items(), key=lambda item: -len(item[0])):
        if (
            re.search(rf"(^|_){name}(\W|_|$)", f"{piece.file} {piece.key}".replace("net", ""))
            and role.startswith("D") != generator
        ):
            return role
    if alone and generator:
        return "a2b"
    kinds = "a2b=FILE or b2a=FILE" if generator else "D_a=FILE or D_b=FILE"
    raise UserError(f"{piece} could be either of two networks, and its name does not tell which; give {kinds}")
