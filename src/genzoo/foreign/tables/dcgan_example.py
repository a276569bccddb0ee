"""The DCGAN example of PyTorch: 64 x 64 pixels, two files of state dictionaries, `main.N` for every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "the DCGAN example of PyTorch",
    system="dcgan",
    files="netG_epoch_N.pth [netD_epoch_N.pth]",
    address="https://github.com/pytorch/examples/tree/main/dcgan",
    licence="BSD-3-Clause",
    needs=("G",),
    learns=("D",),
    notes="its D ends in a sigmoid and ours in the logit before it; its convolutions next to the image have no bias, ours have one of 0.",
)

DISCRIMINATOR = {"d_norm": "batch", "penalty": "none", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999}
"""Its discriminator's norm, and its rates."""


def knows(piece: Piece) -> bool:
    """Tell a generator (a batch norm after the first layer) or a discriminator (none)."""
    return _generator(piece) or _discriminator(piece)


def _generator(piece: Piece) -> bool:
    return "main.1.running_mean" in piece.state and "main.12.weight" in piece.state and _stack(piece)


def _discriminator(piece: Piece) -> bool:
    return "main.3.running_mean" in piece.state and "main.11.weight" in piece.state and _stack(piece)


def _stack(piece: Piece) -> bool:
    return piece.state.get("main.0.weight", Tensor()).ndim == 4 and all(k.startswith("main.") for k in piece.state)


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read sizes from the first and last layers, and map layer by layer."""
    arguments: dict[str, Any] = {"objective": "non-saturating", "kernel": 4}
    accounts = []
    for piece in pieces:
        keys = Keys(piece)
        if _generator(piece):
            width, channels = piece.shape("main.12.weight")[:2]
            arguments |= {"shape": (channels, 64, 64), "latent": piece.shape("main.0.weight")[0], "width": width}
            _take_generator(keys)
        else:
            width, channels = piece.shape("main.0.weight")[:2]
            arguments = {"shape": (channels, 64, 64), "width": width, **DISCRIMINATOR, **arguments}
            _take_discriminator(keys)
        accounts.append(keys)
    return arguments, accounts


def _take_generator(keys: Keys) -> None:
    # A transposed convolution of a single pixel z is a dense layer: [z, c, y, x] is our row (y, x, c).
    keys.move("G.project.weight", "main.0.weight", lambda w: w.permute(2, 3, 1, 0).flatten(0, 2))
    keys.batch_norm("G.net.0", "main.1")
    for i, theirs in enumerate((3, 6, 9)):
        keys.layer(f"G.net.{2 + 3 * i}", f"main.{theirs}")
        keys.batch_norm(f"G.net.{3 + 3 * i}", f"main.{theirs + 1}")
    keys.biased("G.net.11", "main.12", axis=1)


def _take_discriminator(keys: Keys) -> None:
    keys.biased("D.blocks.0.0", "main.0")
    for i, theirs in enumerate((2, 5, 8), 1):
        keys.layer(f"D.blocks.{i}.0", f"main.{theirs}")
        keys.batch_norm(f"D.blocks.{i}.1", f"main.{theirs + 1}")
    keys.biased("D.score", "main.11", change=lambda w: w.flatten(1))
