"""Say which of another program's tensors is which of ours, and keep account of all of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.foreign.reading import Piece

Change = Callable[[Tensor], Tensor]


class Keys:
    """The account of one piece: what was moved where, what was left on purpose, what lacks, what is left over.

    Args:
        piece: The state that is taken in.
    """

    def __init__(self, piece: Piece) -> None:
        self.piece, self.left = piece, dict(piece.state)
        self.found: dict[str, Tensor] = {}
        """Ours by name."""
        self.came: dict[str, str] = {}
        """Theirs by ours, for messages."""
        self.lacking: dict[str, str] = {}
        """Theirs that are not there, by ours."""
        self.without: dict[str, str] = {}
        """Theirs that are left out on purpose, and why."""

    def has(self, theirs: str) -> bool:
        """Tell whether there is a tensor of that name."""
        return theirs in self.piece.state

    def move(self, ours: str, theirs: str, change: Change | None = None) -> None:
        """Take a tensor under our name, changed if need be; one that is not there is noted."""
        if theirs not in self.piece.state:
            self.lacking[ours] = theirs
            return
        value = self.left.pop(theirs, self.piece.state[theirs])
        self.found[ours], self.came[ours] = change(value) if change else value, theirs

    def read(self, theirs: str) -> Tensor:
        """Take a tensor that becomes a part of several of ours.

        Raises:
            UserError: There is none of that name.
        """
        if not self.has(theirs):
            raise UserError(f"{self.piece} lacks {theirs}; nothing was written")
        self.left.pop(theirs, None)
        return self.piece.state[theirs]

    def layer(self, ours: str, theirs: str, change: Change | None = None) -> None:
        """Take a layer: its weight (changed if need be), and its bias where it has one."""
        self.move(f"{ours}.weight", f"{theirs}.weight", change)
        if self.has(f"{theirs}.bias"):
            self.move(f"{ours}.bias", f"{theirs}.bias")

    def biased(self, ours: str, theirs: str, *, axis: int = 0, change: Change | None = None) -> None:
        """Take a layer that has a bias here; where it has none there, 0, which is the same.

        Args:
            ours: Our layer.
            theirs: Theirs.
            axis: The outputs' place in the weight's shape: 1 of a transposed convolution.
            change: Applied to the weight.
        """
        self.layer(ours, theirs, change)
        if not self.has(f"{theirs}.bias") and self.has(f"{theirs}.weight"):
            self.put(f"{ours}.bias", torch.zeros(self.piece.state[f"{theirs}.weight"].shape[axis]))

    def batch_norm(self, ours: str, theirs: str) -> None:
        """Take a batch norm: scale, shift, and running statistics."""
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.move(f"{ours}.{name}", f"{theirs}.{name}")
        if self.has(f"{theirs}.num_batches_tracked"):
            self.move(f"{ours}.num_batches_tracked", f"{theirs}.num_batches_tracked")
        else:  # files from before PyTorch 0.4.1
            self.put(f"{ours}.num_batches_tracked", torch.tensor(0))

    def stack(self, ours: str, theirs: Sequence[str]) -> None:
        """Take several tensors as the rows of one."""
        self._together(ours, theirs, lambda parts: torch.stack([t.flatten() for t in parts]))

    def join(self, ours: str, theirs: Sequence[str]) -> None:
        """Take several layers as one that has the outputs of all of them."""
        for name in ("weight", "bias"):
            self._together(f"{ours}.{name}", [f"{t}.{name}" for t in theirs], torch.cat)

    def _together(self, ours: str, theirs: Sequence[str], how: Callable[[list[Tensor]], Tensor]) -> None:
        if gone := [name for name in theirs if name not in self.piece.state]:
            self.lacking[ours] = gone[0]
            return
        self.found[ours], self.came[ours] = how([self.left.pop(name) for name in theirs]), theirs[0]

    def put(self, ours: str, value: Tensor) -> None:
        """Set a tensor of ours that follows from others, or that says nothing."""
        self.found[ours], self.came[ours] = value, "nothing"

    def leave(self, pattern: str, why: str) -> None:
        """Leave out, and say why, what is left with names of a pattern such as "*.resample_filter"."""
        for name in fnmatch.filter([*self.left], pattern):
            del self.left[name]
            self.without[name] = why


def behind(layer: str, by: int = 1) -> str:
    """Name the layer that comes so many places behind another one in a row.

    >>> behind("G.net.4")
    'G.net.5'
    """
    row, _, place = layer.rpartition(".")
    return f"{row}.{int(place) + by}"
