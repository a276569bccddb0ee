"""Norms of convolutional networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from genzoo.nn.instance_norm import InstanceNorm2d

NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "plain": InstanceNorm2d,
    "instance": partial(InstanceNorm2d, affine=True),
    "batch": nn.BatchNorm2d,
}
"""plain is instance norm without scale and shift; batch has running statistics."""
