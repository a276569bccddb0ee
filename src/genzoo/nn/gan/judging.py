"""The layers of a discriminator `self.D` in order, the one that sees the data first: `judging`, borrowed by name in class bodies."""

from __future__ import annotations

from typing import Any

from torch import nn


def in_a_row(self: Any) -> list[nn.Module]:
    """Return the blocks of D, its dense layer where it has one, and the layer of the logits."""
    hidden = getattr(self.D, "hidden", None)
    return [*self.D.blocks, *([] if hidden is None else [hidden]), self.D.score]


def halving(self: Any) -> list[nn.Module]:
    """Return the layers of a D that keeps its blocks by size: those that read pixels, the largest block first, and what ends in the score."""
    skips = getattr(self.D, "skips", [None] * len(self.D.blocks))
    blocks = [
        nn.ModuleList([*block, *([] if skip is None else [skip])])
        for block, skip in zip(self.D.blocks, skips, strict=True)
    ]
    return [self.D.pixels, *reversed(blocks), self.D.last, self.D.dense, self.D.score]
