"""Glow of chaiyujin's PyTorch program: one list of squeezes, steps and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _glows as glows
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "Glow of chaiyujin's glow-pytorch",
    system="glow",
    files="trained.pkg or save_NkN.pkg",
    address="https://github.com/chaiyujin/glow-pytorch",
    licence="MIT",
    needs=("flow",),
    notes="images of 64 pixels, its default, unless shape= says otherwise; grey level k is (k + u) / 256 here, and k / 255 with a little "
    "noise there.",
)


def knows(piece: Piece) -> bool:
    """Tell a list of layers, the first step of which comes second."""
    return "flow.layers.1.actnorm.logs" in piece.state and "flow.layers.1.f.4.logs" in piece.state


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map step by step.

    Raises:
        UserError: Channels are permuted, by an order that the file does not have, or the prior is given classes.
    """
    piece = pieces[0]
    keys = Keys(piece)
    _check(piece)
    places = sorted({int(m[1]) for name in piece.state if (m := re.match(r"flow\.layers\.(\d+)\.f\.", name))})
    splits = sorted({int(m[1]) for name in piece.state if (m := re.match(r"flow\.layers\.(\d+)\.conv\.", name))})
    steps, level, at = sum(p < min(splits, default=len(piece.state)) for p in places), 0, 0
    for place in sorted([*places, *splits]):
        if place in splits:
            _last(keys, f"flow.splits.{level}.net", f"flow.layers.{place}.conv", crossed=True)
            level, at = level + 1, 0
        else:
            _step(keys, f"flow.levels.{level}", at, f"flow.layers.{place}", first=place == places[0])
            at += 3
    _top(keys, f"flow.levels.{level}.{at}.net", piece.shape(f"flow.layers.{places[-1]}.actnorm.bias")[1])
    keys.leave("prior_h", "zeros that the last prior is given")
    channels = piece.shape("flow.layers.1.actnorm.bias")[1]
    outputs = piece.shape("flow.layers.1.f.4.weight")[0]
    return {
        "shape": (channels // 4, 64, 64), "scales": len(splits) + 1, "steps_per_scale": steps,
        "width": piece.shape("flow.layers.1.f.0.weight")[0], "coupling": "affine" if outputs == channels else "additive", "authors": True,
        "lr": 1e-3,
    }, [keys]  # fmt: skip


def _check(piece: Piece) -> None:
    if "project_ycond.weight" in piece.state:
        raise UserError(f"{piece} has a prior for each class, which glow does not have")
    if not any(name.startswith("flow.layers.1.invconv.") for name in piece.state):
        raise UserError(
            f"{piece} permutes channels in an order that is not in the file (flow_permutation=shuffle or reverse); invconv alone is taken"
        )


def _step(keys: Keys, level: str, at: int, theirs: str, *, first: bool) -> None:
    shift, scale = (keys.read(f"{theirs}.actnorm.{name}").flatten() for name in ("bias", "logs"))
    shift = shift + 0.5 if first else shift  # its images are in [0, 1], and around 0 here
    glows.step(keys, f"{level}.{at}", shift, scale.double().exp(), _weight(keys, f"{theirs}.invconv"), squeezed=at == 0)
    net = f"{level}.{at + 2}.net"
    for ours, place, norm in (("first", 0, "norms.0"), ("second", 2, "norms.1")):
        keys.move(f"{net}.{ours}.weight", f"{theirs}.f.{place}.weight")
        moved, logs = (keys.read(f"{theirs}.f.{place}.actnorm.{name}") for name in ("bias", "logs"))
        glows.plain(keys, net, norm, moved, logs)
    affine = keys.piece.shape(f"{theirs}.f.4.weight")[0] == 2 * keys.piece.shape(f"{theirs}.f.0.weight")[1]
    _last(keys, f"{net}.last", f"{theirs}.f.4", crossed=affine, swapped=affine)


def _weight(keys: Keys, theirs: str) -> Tensor:
    if not keys.has(f"{theirs}.l"):
        return keys.read(f"{theirs}.weight")
    return glows.multiplied(keys, theirs, ("p", "l", "u", "log_s", "sign_s"))


def _last(keys: Keys, ours: str, theirs: str, *, crossed: bool, swapped: bool = False) -> None:
    """Take a convolution that pads with 0; where two things are its outputs in turn they are two halves here.

    Args:
        keys: The account.
        ours: Our convolution.
        theirs: Theirs.
        crossed: Its outputs are two things in turn.
        swapped: The second of them is our first one.
    """

    def halves(t: Tensor) -> Tensor:
        return torch.cat([t[1::2], t[::2]] if swapped else [t[::2], t[1::2]]) if crossed else t

    keys.move(f"{ours}.conv.weight", f"{theirs}.weight", lambda w: glows.edged(halves(w), False))
    keys.move(f"{ours}.conv.bias", f"{theirs}.bias", halves)
    keys.move(f"{ours}.log_gain", f"{theirs}.logs", halves)


def _top(keys: Keys, ours: str, channels: int) -> None:
    """Set mean and scale of what is left last: N(0, 1), or what a convolution makes of zeros, which is its bias."""
    keys.put(f"{ours}.conv.weight", torch.zeros(2 * channels, 1, 3, 3))
    if keys.has("learn_top.bias"):
        keys.move(f"{ours}.conv.bias", "learn_top.bias")
        keys.move(f"{ours}.log_gain", "learn_top.logs")
        keys.leave("learn_top.weight", "a convolution of zeros")
    else:
        keys.put(f"{ours}.conv.bias", torch.zeros(2 * channels))
        keys.put(f"{ours}.log_gain", torch.zeros(2 * channels, 1, 1))
