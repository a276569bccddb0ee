"""VQ-VAE-2 as rosinality's PyTorch program saves it: a state dictionary of two grids, t (top) and b (bottom)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "VQ-VAE-2 of rosinality's vq-vae-2-pytorch",
    system="vqvae2",
    files="vqvae_NNN.pt",
    address="https://github.com/rosinality/vq-vae-2-pytorch",
    licence="MIT, and Apache-2.0 for the quantizer",
    needs=("encoders", "to_code", "quantisers", "hints", "ups", "decoder"),
    notes="the autoencoder alone; priors (pixelsnail) are not taken. Inputs are rounded to grey levels here.",
)


def knows(piece: Piece) -> bool:
    """Tell the two codebooks."""
    return "quantize_t.embed" in piece.state and "quantize_b.embed" in piece.state


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read sizes, and map network by network; where two maps are joined, theirs has the coarse one before, ours behind."""
    piece = pieces[0]
    keys, width = Keys(piece), piece.shape("enc_t.blocks.2.weight")[0]
    dim, codes = piece.shape("quantize_t.embed")
    blocks = _stack(keys, "encoders.0", "enc_b", strided=2)
    _stack(keys, "encoders.1", "enc_t", strided=1)
    keys.layer("to_code.1", "quantize_conv_t")
    keys.layer("to_code.0", "quantize_conv_b", lambda w: torch.cat([w[:, dim:], w[:, :dim]], 1))
    for ours, theirs in ((0, "b"), (1, "t")):
        _codebook(keys, f"quantisers.{ours}", f"quantize_{theirs}")
    _stack(keys, "hints.0", "dec_t", strided=1, first=True)
    keys.layer("ups.1.0", "upsample_t")
    _stack(keys, "decoder", "dec", strided=2, first=True, change=lambda w: torch.cat([w[:, dim:], w[:, :dim]], 1))
    channels = piece.shape("enc_b.blocks.0.weight")[1]
    inner = piece.shape("enc_t.blocks.3.conv.1.weight")[0] if blocks else None
    return {
        "shape": (channels, 256, 256), "scales": 2, "halvings": 2, "codes": codes, "dim": dim, "width": width, "blocks": blocks,
        "inner": inner, "narrow": True, "restart": 0.0, "reconstruction": "mse", "lr": 3e-4,
    }, [keys]  # fmt: skip


def _stack(keys: Keys, ours: str, theirs: str, *, strided: int, first: bool = False, change: Any = None) -> int:
    """Take strided convolutions with residual blocks behind (an encoder) or before them (a decoder); return how many blocks there are."""
    places = [0] if first else [0, *(2 * i for i in range(1, strided + 1))]
    for i in places:
        keys.layer(f"{ours}.{i}", f"{theirs}.blocks.{i}", change if i == 0 else None)
    at, blocks = places[-1] + 1, 0
    while keys.has(f"{theirs}.blocks.{at}.conv.1.weight"):
        keys.layer(f"{ours}.{at}.look", f"{theirs}.blocks.{at}.conv.1")
        keys.layer(f"{ours}.{at}.mix", f"{theirs}.blocks.{at}.conv.3")
        at, blocks = at + 1, blocks + 1
    if first:
        for i in range(strided):
            keys.layer(f"{ours}.{at + 1 + 2 * i}", f"{theirs}.blocks.{at + 1 + 2 * i}")
    return blocks


def _codebook(keys: Keys, ours: str, theirs: str) -> None:
    def turned(t: Tensor) -> Tensor:
        return t.T

    keys.move(f"{ours}.codebook", f"{theirs}.embed", turned)
    keys.move(f"{ours}.total", f"{theirs}.embed_avg", turned)
    keys.move(f"{ours}.count", f"{theirs}.cluster_size")
    keys.put(f"{ours}.started", torch.tensor(True))
