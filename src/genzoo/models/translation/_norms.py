"""Norms of convolutional networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "plain": nn.InstanceNorm2d,
    "instance": partial(nn.InstanceNorm2d, affine=True),
    "batch": nn.BatchNorm2d,
}
"""plain is instance norm without scale and shift; batch has running statistics."""
