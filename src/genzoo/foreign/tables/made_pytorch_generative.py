"""MADE and the fully visible belief network of pytorch-generative: black and white images."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece
from genzoo.foreign.upstream import Upstream

UPSTREAM = Upstream(
    "MADE or the fully visible belief network of pytorch-generative",
    system="made",
    files="trainer_state_N.ckpt",
    address="https://github.com/EugenHotaj/pytorch-generative",
    licence="MIT",
    needs=("hidden", "out", "direct"),
    notes="black and white images, one logit for each pixel; networks see 0 and 1 there, -1 and 1 here, which their first layer makes up for.",
)


def knows(piece: Piece) -> bool:
    """Tell masked layers, or a row of dense layers of which each sees one pixel more."""
    return "_net.0.mask" in piece.state or _visible(piece) > 2


def _visible(piece: Piece) -> int:
    """Return the dimensions of a fully visible belief network; 0 where it is none."""
    n = piece.count("_net.{}.weight")
    return n if all(tuple(piece.state[f"_net.{i}.weight"].shape) == (1, max(1, i)) for i in range(n)) else 0


def take(pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
    """Map layer by layer; degrees and order are drawn again as that program draws them, and compared with the file's masks.

    Raises:
        UserError: The masks are not those of a single set, or hidden layers differ in width.
    """
    piece = pieces[0]
    keys = Keys(piece)
    arguments = _belief(keys) if _visible(piece) else _masked(keys)
    if "_h" in piece.state:
        arguments["shape"] = tuple(int(piece.state[f"_{k}"]) for k in "chw")
    keys.leave("_[chw]", "the size of an image")
    return {"levels": 2, "direct": False, "masks": 1, **arguments}, [keys]


def _belief(keys: Keys) -> dict[str, Any]:
    n = _visible(keys.piece)
    rows = [keys.read(f"_net.{i}.weight")[0] for i in range(n)]
    weight = torch.stack([torch.cat([row if i else row * 0, torch.zeros(n - max(1, i))]) for i, row in enumerate(rows)])
    bias = torch.cat([keys.read(f"_net.{i}.bias") for i in range(n)])
    _first(keys, "direct", weight, bias)
    keys.put("ranks", (torch.arange(n) + 1)[None])
    keys.put("degrees", torch.zeros(1, 0, 1, dtype=torch.long))
    return {"shape": (1, 1, n), "layers": 0, "width": 1, "direct": True}


def _masked(keys: Keys) -> dict[str, Any]:
    """Take a network with hidden layers, or one layer of direct connections."""
    piece = keys.piece
    places = [i for i in range(0, 2 * 64, 2) if f"_net.{i}.mask" in piece.state]
    masks = [keys.read(f"_net.{i}.mask") for i in places]
    sizes = [int(m.shape[1]) for m in masks]
    dims, widths = sizes[0], sizes[1:]
    if len(set(widths)) != 1:
        raise UserError(
            f"{piece}: hidden layers are {', '.join(map(str, widths)) or 'none'} wide; made takes one or more of one width"
        )
    ranks, degrees = _drawn(dims, widths)
    expected = [a[None] <= b[:, None] for a, b in itertools.pairwise([ranks, *degrees])]
    expected.append(degrees[-1][None] < ranks[:, None])
    if not all(torch.equal(m.bool(), e) for m, e in zip(masks, expected, strict=True)):
        raise UserError(
            f"{piece}: its masks are not those of n_masks=1; of several sets the file has the last one alone"
        )
    weights = [keys.read(f"_net.{i}.weight") * m for i, m in zip(places, masks, strict=True)]
    _first(keys, "hidden.0", weights[0], keys.read("_net.0.bias"))
    for i, (place, weight) in enumerate(zip(places[1:], weights[1:], strict=True), 1):
        ours = "out" if i == len(widths) else f"hidden.{i}"
        keys.put(f"{ours}.weight", weight)
        keys.move(f"{ours}.bias", f"_net.{place}.bias")
    keys.put("ranks", (ranks + 1)[None])
    keys.put("degrees", torch.stack(degrees)[None] + 1)
    return {"shape": (1, 1, dims), "layers": len(widths), "width": widths[0], "order": "random"}


def _drawn(dims: int, widths: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Draw the order of dimensions and the degrees of hidden units, from 0 on, as that program does for its first set of masks."""
    rng = np.random.RandomState(seed=0)
    ranks = torch.from_numpy(rng.permutation(dims))
    degrees: list[Tensor] = []
    for width in widths:
        least = int(degrees[-1].min()) if degrees else 0
        degrees.append(torch.from_numpy(rng.randint(least, dims - 1, size=width)))
    return ranks, degrees


def _first(keys: Keys, ours: str, weight: Tensor, bias: Tensor) -> None:
    """Set a layer that sees -1 and 1 where theirs sees 0 and 1."""
    keys.put(f"{ours}.weight", weight / 2)
    keys.put(f"{ours}.bias", bias + weight.sum(1) / 2)
