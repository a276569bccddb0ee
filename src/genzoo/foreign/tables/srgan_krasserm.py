"""The SRGAN of krasserm's super-resolution, in Keras: the generator's weights in the order of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Change, Keys, behind
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "SRGAN of krasserm's super-resolution",
    system="srgan",
    files="gan_generator.h5 or pre_generator.h5",
    address="https://github.com/krasserm/super-resolution",
    licence="Apache-2.0",
    needs=("G",),
    learns=("D",),
    notes="the generator alone, which enlarges four times; 0.00099 are added to its batch norms' running variances, since theirs add 0.001 to "
    "them and ours 0.00001. Its discriminator pads its strided convolutions on one side only.",
)
EPSILON = 1e-3 - 1e-5
"""What Keras' batch norm adds to a variance, less what PyTorch's adds."""


def knows(piece: Piece) -> bool:
    """Tell a 9 x 9 convolution at both ends, and rectifiers with a slope for each channel."""
    convs, slopes = _named(piece, "kernel"), _named(piece, "alpha")
    return bool(slopes) and len(convs) > 4 and all(piece.shape(f"{convs[i]}/kernel")[:2] == (9, 9) for i in (0, -1))


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map layer by layer: two convolutions a block, one behind all blocks, one for each doubling, one for the colors.

    Raises:
        UserError: Several generators are given.
    """
    if len(pieces) > 1:
        raise UserError(f"{', '.join(map(str, pieces))} are generators each; give one of them")
    piece = pieces[0]
    keys = Keys(piece)
    convs, norms, slopes = (_named(piece, kind) for kind in ("kernel", "gamma", "alpha"))
    blocks, doublings = (len(norms) - 1) // 2, len(convs) - len(norms) - 2
    places = [f"G.blocks.{i}.{k}" for i in range(blocks) for k in (0, 3)]
    _convolution(keys, "G.head.0", convs[0])
    for ours, conv, norm in zip([*places, "G.end.0"], convs[1:], norms, strict=False):
        _normed(keys, ours, conv, norm)
    for i in range(doublings):
        _convolution(keys, f"G.up.{i}.0", convs[len(norms) + 1 + i], _shuffled)
    _convolution(keys, f"G.up.{doublings}", convs[-1])
    rectifiers = ["G.head.1", *(f"G.blocks.{i}.2" for i in range(blocks)), *(f"G.up.{i}.2" for i in range(doublings))]
    for ours, theirs in zip(rectifiers, slopes, strict=False):
        keys.move(f"{ours}.weight", f"{theirs}/alpha", Tensor.flatten)
    _, _, channels, width = piece.shape(f"{convs[0]}/kernel")
    return {
        "shape": (channels, 96, 96), "scale": 2**doublings, "width": width, "blocks": blocks, "slopes": "channels", "unit": True,
        "bounded": True, "content": "mse",
    }, [keys]  # fmt: skip


def _named(piece: Piece, kind: str) -> list[str]:
    """Return the layers that have a tensor of that name, in their order."""
    return [name.removesuffix(f"/{kind}") for name in piece.state if name.endswith(f"/{kind}")]


def _convolution(keys: Keys, ours: str, theirs: str, change: Change = torch.clone) -> None:
    keys.move(f"{ours}.weight", f"{theirs}/kernel", lambda k: change(k.permute(3, 2, 0, 1)))
    keys.move(f"{ours}.bias", f"{theirs}/bias", change)


def _shuffled(t: Tensor) -> Tensor:
    """Bring channels from place before color, as TensorFlow lays pixels out, to color before place."""
    return t.view(4, -1, *t.shape[1:]).transpose(0, 1).flatten(0, 1)


def _normed(keys: Keys, ours: str, conv: str, norm: str) -> None:
    """Take a convolution and its batch norm; the bias between them is taken off the running mean, which is the same."""
    after = behind(ours)
    bias = keys.piece.state.get(f"{conv}/bias", torch.tensor(0.0))
    keys.move(f"{ours}.weight", f"{conv}/kernel", lambda k: k.permute(3, 2, 0, 1))
    keys.leave(f"{conv}/bias", "biases before batch norm, which are taken off its running means")
    keys.move(f"{after}.weight", f"{norm}/gamma")
    keys.move(f"{after}.bias", f"{norm}/beta")
    keys.move(f"{after}.running_mean", f"{norm}/moving_mean", lambda m: m - bias)
    keys.move(f"{after}.running_var", f"{norm}/moving_variance", lambda v: v + EPSILON)
    keys.put(f"{after}.num_batches_tracked", torch.tensor(0))
