"""Colourization as richzhang's PyTorch program has it (ECCV 2016): eight stacks, and a layer that holds the 313 colours."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "the colourization of richzhang's program (eccv16)",
    system="colorizer",
    files="colorization_release_v2.pth",
    address="https://github.com/richzhang/colorization",
    licence="BSD-2-Clause",
    needs=("net",),
    notes="temperature=1, as their program has it; frequencies of colours, which only learning needs, are not in the file.",
)
AB = 110.0
"""What their colours are divided by."""
STACKS = ((2, True), (2, True), (3, True), (3, True), (3, True), (3, True), (3, True), (4, False))
"""Convolutions of every stack, and whether a batch norm follows them."""


def knows(piece: Piece) -> bool:
    """Tell the stacks and the layer of colours."""
    return (
        "model8.6.weight" in piece.state
        and "model_out.weight" in piece.state
        and "model1.4.running_mean" in piece.state
    )


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map stack by stack; the colours are told by the last layer and put in our order."""
    piece = pieces[0]
    keys, at = Keys(piece), 0
    order = _order(piece)
    for stack, (convolutions, normed) in enumerate(STACKS, 1):
        for i in range(convolutions):
            change = None
            if (stack, i) == (1, 0):
                change = _halved  # theirs sees (L - 50) / 100, ours (L - 50) / 50
            if (stack, i) == (8, 3):
                change = functools.partial(torch.index_select, dim=0, index=order)
            keys.layer(f"net.{at}", f"model{stack}.{2 * i}", change)
            at += 2
        if normed:
            keys.batch_norm(f"net.{at}", f"model{stack}.{2 * convolutions}")
            at += 1
    last = f"net.{at - 2}.bias"
    if last in keys.found:
        keys.found[last] = keys.found[last][order]
    keys.leave("model_out.weight", "the colours themselves, which are known here")
    keys.put("running_colours", torch.zeros(len(order)))
    return {
        "shape": (3, 256, 256), "width": piece.shape("model1.0.weight")[0], "halvings": 3, "convolutions": 3, "temperature": 1.0,
    }, [keys]  # fmt: skip


def _halved(w: Tensor) -> Tensor:
    return w / 2


def _order(piece: Piece) -> Tensor:
    """Return for each of our 313 colours the place that it has in their last layer.

    Raises:
        UserError: The file has other colours.
    """
    theirs = AB * piece.state["model_out.weight"].float().flatten(1).T
    ours = _colours()
    if theirs.shape != ours.shape:
        raise UserError(f"{piece} has {len(theirs)} colours; the paper's are {len(ours)}")
    distance = torch.cdist(ours, theirs)
    near, order = distance.min(1)
    if near.max() > 1 or order.unique().numel() != len(order):
        raise UserError(
            f"{piece} has other colours than the paper's {len(ours)}: one of these is {near.max():.1f} away from every one of its"
        )
    return order


def _colours() -> Tensor:
    from genzoo.naming.registry import system_class

    colorizer: Any = system_class("colorizer")
    with torch.random.fork_rng(devices=[]):
        found: Tensor = colorizer(shape=(3, 8, 8), width=4, halvings=2, convolutions=1).colours
    return found
