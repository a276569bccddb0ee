"""The CycleGAN of vintagify: the authors' generator, with norms that have trained scales and shifts; one file for each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _patches as patches
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "the CycleGAN of vintagify",
    system="cyclegan",
    files="G_A2B_epochN.pth [G_B2A_epochN.pth]",
    address="https://pypi.org/project/vintagify",
    licence="MIT",
    needs=("a2b", "b2a"),
    learns=("D_a", "D_b"),
    notes="generators alone: its discriminators halve four times and end in a sigmoid, and ours are patches of logits.",
)
BLOCK = "block"


def knows(piece: Piece) -> bool:
    """Tell a ResNet whose residual blocks are called `block` and whose norms have scales."""
    scale = piece.state.get("model.2.weight")
    return patches.is_resnet(piece, BLOCK) and scale is not None and scale.ndim == 1


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map layer by layer; the biases before norms have no effect and are left out.

    Raises:
        UserError: It cannot be told which file is which direction.
    """
    arguments: dict[str, Any] = {"upsample": "transposed", "affine": True}
    accounts, seen = [], dict[str, str]()
    for piece in pieces:
        role = piece.role or ("b2a" if "B2A" in f"{piece.file} {piece.key}" else "a2b")
        if role in seen:
            raise UserError(f"{seen[role]} and {piece} would both be {role}; give a2b=FILE and b2a=FILE")
        seen[role], keys = str(piece), Keys(piece)
        width, channels = piece.shape("model.1.weight")[:2]
        arguments |= {"width": width, "blocks": len(patches.blocks_of(piece, block=BLOCK))}
        arguments.setdefault("shape", (channels, 512, 512))
        patches.resnet(keys, role, block=BLOCK, affine=True)
        keys.leave("*.bias", patches.CANCELS)
        accounts.append(keys)
    return arguments, accounts
