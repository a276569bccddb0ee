"""How far a system whose weights were rounded to half precision is from itself, part by part."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import Samples
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.saved.checkpoint import halved, widened
from genzoo.saved.loading import fill
from genzoo.use.common.source import name_of
from genzoo.use.exports.parts import parts

BATCH = 4
"""Examples that are compared."""
STEP = 2.0**-9
"""A value of a finite set is another one from this share of the largest on; below, it is the same one, rounded."""


def rounded(system: System) -> tuple[dict[str, Tensor], dict[str, Any], System]:
    """Return a system's tensors in half precision, what their file has to say of it, and a copy of the system that has them."""
    tensors, how = halved(system.state_dict())
    other = copy.deepcopy(system)
    fill(other, widened(tensors, how), name_of(system))
    return tensors, how, other.eval()


@torch.no_grad()
def differences(system: System, other: System, seed: int = 0) -> dict[str, dict[str, float]]:
    """Compare two systems of equal settings on equal inputs.

    Args:
        system: The first, in eval mode.
        other: The second.
        seed: Of the inputs.

    Returns:
        Of every part (decode, encode, predict ...) the largest absolute difference of its outputs and the largest absolute value of the first
        one's; of parts that choose from a finite set (codes), the share of places that are chosen differently. Of a system without parts that
        draws, the same of one sample.
    """
    found: dict[str, dict[str, float]] = {}
    for name, part in parts(system).items():
        own = part.examples(system, BATCH, part.sizes[0], Generator().manual_seed(seed))
        try:
            first, second = (part(s, own, BATCH) for s in (system, other))
        except UserError:  # a map that this system's settings do not have
            continue
        a, b = first.double(), second.double()
        if part.steps or not first.is_floating_point():
            found[name] = {"share": float(((a - b).abs() > STEP * a.abs().max()).double().mean())}
        else:
            found[name] = {"largest": float((a - b).abs().max()), "of": float(a.abs().max())}
    if not found and isinstance(system, Samples) and isinstance(other, Samples):  # one that draws without a network
        a, b = (s.sample(1, generator=Generator().manual_seed(seed)).double() for s in (system, other))
        found["sample"] = {"largest": float((a - b).abs().max()), "of": float(a.abs().max())}
    return found


def in_words(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say differences in a line."""
    said = [
        f"{name} {r['share']:.2%} of places" if "share" in r else f"{name} {r['largest']:.1e} of {r['of']:.3g}"
        for name, r in found.items()
    ]
    return ", ".join(said) or "nothing that could be compared"
