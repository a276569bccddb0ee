"""Glow of rosinality's PyTorch program: a state dictionary of blocks of flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.tables import _glows as glows
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "Glow of rosinality's glow-pytorch",
    system="glow",
    files="model_NNNNNN.pt",
    address="https://github.com/rosinality/glow-pytorch",
    licence="MIT",
    needs=("flow",),
    notes="images of 64 pixels with 32 grey levels (5 bits), its defaults, unless shape= and levels= say otherwise.",
)


def knows(piece: Piece) -> bool:
    """Tell blocks of flows."""
    return "blocks.0.flows.0.actnorm.loc" in piece.state and "blocks.0.prior.conv.weight" in piece.state


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map step by step; the mean and the scale of what leaves are one more step here, so that all of z is N(0, 1)."""
    piece = pieces[0]
    keys = Keys(piece)
    scales, steps = piece.count("blocks.{}.flows."), piece.count("blocks.0.flows.{}.")
    for i in range(scales):
        for k in range(steps):
            _step(keys, f"flow.levels.{i}", 3 * k, f"blocks.{i}.flows.{k}")
        last = i == scales - 1
        ours = f"flow.levels.{i}.{3 * steps}.net" if last else f"flow.splits.{i}.net"
        _edged(keys, ours, f"blocks.{i}.prior", zeros=last)
    keys.leave("*.initialized", "whether activation norms have been started")
    channels = piece.shape("blocks.0.flows.0.actnorm.loc")[1]
    outputs = piece.shape("blocks.0.flows.0.coupling.net.4.conv.weight")[0]
    return {
        "shape": (channels // 4, 64, 64), "levels": 32, "scales": scales, "steps_per_scale": steps,
        "width": piece.shape("blocks.0.flows.0.coupling.net.0.weight")[0],
        "coupling": "affine" if outputs == channels else "additive", "authors": True, "lr": 1e-4,
    }, [keys]  # fmt: skip


def _step(keys: Keys, level: str, at: int, theirs: str) -> None:
    shift, scale = (keys.read(f"{theirs}.actnorm.{name}").flatten() for name in ("loc", "scale"))
    glows.step(keys, f"{level}.{at}", shift, scale, _weight(keys, f"{theirs}.invconv"), squeezed=at == 0)
    net = f"{level}.{at + 2}.net"
    for ours, place, norm in (("first", 0, "norms.0"), ("second", 2, "norms.1")):
        keys.move(f"{net}.{ours}.weight", f"{theirs}.coupling.net.{place}.weight")
        glows.plain(keys, net, norm, keys.read(f"{theirs}.coupling.net.{place}.bias"))
    _edged(keys, f"{net}.last", f"{theirs}.coupling.net.4")


def _weight(keys: Keys, theirs: str) -> Tensor:
    """Return a 1x1 convolution's weight, [C, C]; its program keeps it whole, or as factors."""
    if not keys.has(f"{theirs}.w_l"):
        return keys.read(f"{theirs}.weight")[:, :, 0, 0]
    keys.leave(f"{theirs}.[ul]_mask", "masks of factors, which follow from their size")
    keys.leave(f"{theirs}.l_eye", "the diagonal of a factor, which is 1")
    return glows.multiplied(keys, theirs, ("w_p", "w_l", "w_u", "w_s", "s_sign"))


def _edged(keys: Keys, ours: str, theirs: str, *, zeros: bool = False) -> None:
    """Take a convolution that pads with 1; of one that is given zeros only what it makes of the border is left."""

    def change(w: Tensor) -> Tensor:
        return glows.edged(w, True)[:, -1:] if zeros else glows.edged(w, True)

    keys.move(f"{ours}.conv.weight", f"{theirs}.conv.weight", change)
    keys.move(f"{ours}.conv.bias", f"{theirs}.conv.bias")
    keys.move(f"{ours}.log_gain", f"{theirs}.scale", lambda g: g[0])
