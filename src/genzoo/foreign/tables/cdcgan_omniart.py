"""The conditional DCGAN of omniart-eye-generator: 128 x 128 pixels, noise and label side by side, sixteen times the channels at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "the conditional DCGAN of omniart-eye-generator",
    system="cgan",
    files="generator_model_state.pth",
    address="https://github.com/rogierknoester/omniart_eye_generator",
    licence="MIT",
    needs=("G",),
    learns=("D",),
    notes="classes=8 where nothing else is given: label and noise are one input, whose shape does not tell them apart.",
)
LAYERS = ((4, 5), (7, 8), (10, 11), (13, 14))
"""Places of the convolutions that double, and of the norms behind them; a layer of dropout stands behind the first norm."""


def knows(piece: Piece) -> bool:
    """Tell five doublings, with dropout behind the first layer."""
    return {"main.0.weight", "main.1.running_mean", "main.4.weight", "main.5.running_mean", "main.16.weight"} <= set(
        piece.state
    )


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map layer by layer."""
    piece, classes = pieces[0], int(given.get("classes", 8))
    keys = Keys(piece)
    # A transposed convolution of a single pixel is a dense layer: [z, c, y, x] is our row (y, x, c).
    keys.move("G.net.project.weight", "main.0.weight", lambda w: w.permute(2, 3, 1, 0).flatten(0, 2))
    keys.batch_norm("G.net.net.0", "main.1")
    for i, (theirs, norm) in enumerate(LAYERS):
        keys.layer(f"G.net.net.{2 + 3 * i}", f"main.{theirs}")
        keys.batch_norm(f"G.net.net.{3 + 3 * i}", f"main.{norm}")
    keys.biased("G.net.net.14", "main.16", axis=1)
    width, channels = piece.shape("main.16.weight")[:2]
    seen, first = piece.shape("main.0.weight")[:2]
    return {
        "shape": (channels, 128, 128),
        "classes": classes,
        "latent": seen - classes,
        "width": width,
        "multiple": first // width,
    }, [keys]
