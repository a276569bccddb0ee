"""VQGAN as taming-transformers saves it: a Lightning checkpoint, with a file of settings beside it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "VQGAN of CompVis' taming-transformers",
    system="vqgan",
    files="last.ckpt [model.yaml]",
    address="https://github.com/CompVis/taming-transformers",
    licence="MIT",
    needs=("encoder", "quantiser", "decoder"),
    learns=("D",),
    notes="the autoencoder alone, in the authors' networks (authors=true); the image's size stands in the file of settings and is 256 "
    "without it. Codebooks by Gumbel softmax are not taken.",
)
LEARNING = "discriminator and perceptual network, which only learning needs: their discriminator has batch norm, ours instance norm"


def knows(piece: Piece) -> bool:
    """Tell encoder, codebook and decoder of this program."""
    return {"encoder.conv_in.weight", "quantize.embedding.weight", "post_quant_conv.weight"} <= set(piece.state)


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Read the channels of every size, and walk through encoder and decoder in the order of their layers."""
    piece = pieces[0]
    keys, sizes = Keys(piece), piece.count("encoder.down.{}.")
    blocks = piece.count("encoder.down.0.block.{}.")
    widths = [piece.shape(f"encoder.down.{i}.block.{blocks - 1}.conv2.weight")[0] for i in range(sizes)]
    width, channels = piece.shape("encoder.conv_in.weight")[:2]
    attended = [i for i in range(sizes) if f"encoder.down.{i}.attn.0.q.weight" in piece.state]
    if attended != list(range(sizes - len(attended), sizes)):
        raise UserError(f"{piece} has attention at sizes {attended} of {sizes}; here it is at the smallest ones")
    if any(w % width for w in widths):
        raise UserError(f"{piece} has {widths} channels, which are no multiples of its first convolution's {width}")
    _walk(keys, "encoder", _encoder(blocks, sizes, attended))
    _walk(keys, "decoder", _decoder(blocks, sizes, attended))
    keys.move("quantiser.codebook", "quantize.embedding.weight")
    codes, dim = piece.shape("quantize.embedding.weight")
    keys.put("quantiser.total", piece.state["quantize.embedding.weight"])
    keys.put("quantiser.count", torch.ones(codes))
    keys.put("quantiser.started", torch.tensor(True))
    keys.leave("loss.*", LEARNING)
    found = re.search(r"^\s*resolution:\s*(\d+)\s*$", piece.said, re.MULTILINE)
    side = int(found[1]) if found else 256
    return {
        "shape": (channels, side, side), "codes": codes, "dim": dim, "width": width, "blocks": blocks, "halvings": sizes - 1,
        "multiples": tuple(w // width for w in widths), "attention": len(attended), "authors": True, "codebook": "gradient",
        "restart": 0.0, "d_layers": next(n for n in (3, 2, 1) if n == 1 or 3 * 2**n <= side), "d_width": 64,
    }, [keys]  # fmt: skip


def _encoder(blocks: int, sizes: int, attended: Sequence[int]) -> Iterator[str]:
    """Yield their names of our encoder's layers that have weights, in order; what has none is nothing."""
    yield "encoder.conv_in"
    for i in range(sizes):
        for n in range(blocks):
            yield f"encoder.down.{i}.block.{n}"
            if i in attended:
                yield f"encoder.down.{i}.attn.{n}"
        if i < sizes - 1:
            yield from ("", f"encoder.down.{i}.downsample.conv")
    yield from (f"encoder.mid.{name}" for name in ("block_1", "attn_1", "block_2"))
    yield from ("encoder.norm_out", "", "encoder.conv_out", "quant_conv")


def _decoder(blocks: int, sizes: int, attended: Sequence[int]) -> Iterator[str]:
    yield from ("post_quant_conv", "decoder.conv_in")
    yield from (f"decoder.mid.{name}" for name in ("block_1", "attn_1", "block_2"))
    for i in reversed(range(sizes)):
        for n in range(blocks + 1):
            yield f"decoder.up.{i}.block.{n}"
            if i in attended:
                yield f"decoder.up.{i}.attn.{n}"
        if i:
            yield from ("", f"decoder.up.{i}.upsample.conv")
    yield from ("decoder.norm_out", "", "decoder.conv_out")


def _walk(keys: Keys, ours: str, names: Iterator[str]) -> None:
    for at, theirs in zip(itertools.count(), names, strict=False):
        place = f"{ours}.{at}"
        if ".block" in theirs:
            for ours_at, name in ((0, "norm1"), (2, "conv1"), (3, "norm2"), (5, "conv2")):
                keys.layer(f"{place}.body.{ours_at}", f"{theirs}.{name}")
            if keys.has(f"{theirs}.nin_shortcut.weight"):
                keys.layer(f"{place}.skip", f"{theirs}.nin_shortcut")
        elif ".attn" in theirs:
            keys.layer(f"{place}.norm", f"{theirs}.norm")
            keys.join(f"{place}.qkv", [f"{theirs}.{name}" for name in "qkv"])
            keys.layer(f"{place}.join", f"{theirs}.proj_out")
        elif theirs:
            keys.layer(place, theirs)
