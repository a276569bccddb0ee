"""What programs of StyleGAN2 have in common: where the rectifier's gain and the weights' scale stand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece

FILTERS = "the filter [1, 3, 3, 1], which is no weight"


def check_filter(piece: Piece, name: str) -> None:
    """Refuse filters other than [1, 3, 3, 1], at any gain.

    Raises:
        UserError: It is another one.
    """
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    found = piece.state[name].float()
    if found.shape != (4, 4) or not torch.allclose(found / found.sum(), torch.outer(row, row), atol=1e-4):
        raise UserError(f"{piece}: {name} is not the filter [1, 3, 3, 1], with which a stylegan2 is built here")


def before_gain(bias: Tensor) -> Tensor:
    """Return a bias as it stands behind the rectifier's gain of √2, which is before it there and after it here."""
    return math.sqrt(2) * bias


def weights(keys: Keys, ours: str, theirs: str, *, up: bool = False) -> None:
    """Take the weights of a modulated convolution, which here are divided at use by the root of their fan-in.

    Args:
        keys: The account.
        ours: Our convolution.
        theirs: Their weights, [O, I, k, k], used as they are.
        up: It doubles the size: there as a transposed convolution, whose kernel is turned round against the one here.
    """

    def change(w: Tensor) -> Tensor:
        w = w * math.sqrt(w.shape[1] * w.shape[2] * w.shape[3])
        return w.flip(2, 3) if up else w

    keys.move(f"{ours}.weight", theirs, change)
