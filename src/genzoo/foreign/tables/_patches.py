"""Networks that several programs of translation share: the ResNet generator and the discriminator of patches."""

from __future__ import annotations

import re

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys, behind
from genzoo.foreign.reading import Piece

CANCELS = "biases before instance norm, which takes every constant away"
OLD = "running statistics of instance norm, which programs of before 2018 kept and did not use"
COUNTERS = "counters of batches"


def is_resnet(piece: Piece, block: str = "conv_block") -> bool:
    """Tell an image-to-image ResNet: 7x7 at both ends, residual blocks between."""
    first = piece.state.get("model.1.weight")
    return first is not None and first.ndim == 4 and first.shape[2] == 7 and bool(blocks_of(piece, block=block))


def blocks_of(piece: Piece, root: str = "model", block: str = "conv_block") -> list[int]:
    """Return the places of the residual blocks."""
    pattern = re.compile(rf"{re.escape(root)}\.(\d+)\.{block}\.")
    return sorted({int(m[1]) for name in piece.state if (m := pattern.match(name))})


def halvings_of(piece: Piece, root: str = "model", block: str = "conv_block") -> int:
    """Return how often the image is halved before the residual blocks."""
    return (min(blocks_of(piece, root, block), default=4) - 4) // 3


def plain_norms(keys: Keys, root: str) -> None:
    """Leave out what instance norm without scales makes idle, and refuse norms that were trained.

    Raises:
        UserError: Norms have scales, which our network does not have.
    """
    scaled = [k for k, v in keys.left.items() if k.startswith(root) and k.endswith(".weight") and v.ndim == 1]
    if scaled:
        raise UserError(
            f"{keys.piece} has norms with trained scales ({scaled[0]} and {len(scaled) - 1:,} more); the ResNet here has instance norm "
            "without scale and shift, as the authors' program has unless it is told otherwise"
        )
    keys.leave(f"{root}*.running_*", OLD)
    keys.leave(f"{root}*.num_batches_tracked", COUNTERS)
    keys.leave(f"{root}*.bias", CANCELS)


def resnet(
    keys: Keys, ours: str, theirs: str = "model", *, whole: bool = True, block: str = "conv_block", affine: bool = False
) -> None:
    """Take an image-to-image ResNet; the last convolution too where it is whole, the norms where they have scales (`affine`)."""
    blocks, halvings = blocks_of(keys.piece, theirs, block), halvings_of(keys.piece, theirs, block)
    after = max(blocks, default=3 + 3 * halvings) + 1
    for at in (1, *(4 + 3 * i for i in range(halvings)), *(after + 3 * i for i in range(halvings))):
        _normed(keys, f"{ours}.net.{at}", f"{theirs}.{at}", affine=affine)
    for i in blocks:
        residual(keys, f"{ours}.net.{i}.net", f"{theirs}.{i}.{block}", affine=affine)
    if whole:
        keys.layer(f"{ours}.net.{after + 3 * halvings + 1}", f"{theirs}.{after + 3 * halvings + 1}")


def residual(keys: Keys, ours: str, theirs: str, *, affine: bool = False) -> None:
    """Take a residual block; where dropout stands in it, the second convolution comes one place later."""
    later = keys.has(f"{theirs}.6.weight") and not keys.has(f"{theirs}.5.weight")
    _normed(keys, f"{ours}.1", f"{theirs}.1", affine=affine)
    _normed(keys, f"{ours}.5", f"{theirs}.{6 if later else 5}", affine=affine)


def _normed(keys: Keys, ours: str, theirs: str, *, affine: bool) -> None:
    """Take a convolution's weight, and the norm behind it where that has a scale."""
    keys.move(f"{ours}.weight", f"{theirs}.weight")
    if affine:
        keys.layer(behind(ours), behind(theirs))


def is_patchgan(piece: Piece) -> bool:
    """Tell a discriminator of patches: 4x4 convolutions, one logit for each patch."""
    last = convolutions(piece)
    return bool(last) and piece.state[f"model.{last[-1]}.weight"].shape[:1] == (1,) and all(
        piece.state[f"model.{i}.weight"].shape[-1] == 4 for i in last
    )  # fmt: skip


def convolutions(piece: Piece, root: str = "model") -> list[int]:
    """Return the places of the convolutions in a stack."""
    found = [re.fullmatch(rf"{re.escape(root)}\.(\d+)\.weight", k) for k, v in piece.state.items() if v.ndim == 4]
    return sorted(int(m[1]) for m in found if m)


def layers_of(piece: Piece, root: str = "model") -> int:
    """Return the strided convolutions of a discriminator of patches."""
    return len(convolutions(piece, root)) - 2


def patchgan(keys: Keys, ours: str, theirs: str = "model") -> None:
    """Take a discriminator of patches whose norms have no scales."""
    places = convolutions(keys.piece, theirs)
    for i in places:
        ends = i in (places[0], places[-1])
        (keys.layer if ends else keys.move)(
            f"{ours}.net.{i}" if ends else f"{ours}.net.{i}.weight", f"{theirs}.{i}" if ends else f"{theirs}.{i}.weight"
        )
