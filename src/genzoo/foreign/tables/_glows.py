"""What ports of Glow's code have in common: channels are laid out color before place, and a step's parts have other names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genzoo.foreign.keys import Keys, behind


def ours_at(channels: int) -> Tensor:
    """Return at which of our channels each of theirs is after a squeeze: theirs are color before place, ours place before color."""
    return torch.arange(channels).view(4, channels // 4).T.flatten()


def step(keys: Keys, ours: str, shift: Tensor, scale: Tensor, weight: Tensor, *, squeezed: bool) -> None:
    """Take an activation norm, scale · (x + shift), and an invertible 1x1 convolution, which are two parts of our chain.

    A scale's sign, which ours cannot have, and the order of channels before the first step go into the convolution's weight.

    Args:
        keys: The account.
        ours: The chain and the place of the activation norm, "flow.levels.0.6".
        shift: Theirs, [C].
        scale: Theirs, [C].
        weight: Theirs, [C, C].
        squeezed: The step is the first one after a squeeze.
    """
    weight, shift, scale = weight.double(), shift.double(), scale.double()
    weight = weight * scale.sign()
    if squeezed:
        at = ours_at(shift.shape[0])
        order = at.argsort()
        shift, scale, weight = shift[order], scale[order], weight[:, order]
    keys.put(f"{ours}.shift", shift)
    keys.put(f"{ours}.log_scale", scale.abs().log())
    keys.put(f"{ours}.initialised", torch.tensor(True))
    p, lower, upper = torch.linalg.lu(weight)
    diagonal = upper.diagonal()
    linear = behind(ours)
    keys.put(f"{linear}.packed", lower.tril(-1) + upper.triu(1) + torch.diag(diagonal.abs().log()))
    keys.put(f"{linear}.sign", diagonal.sign())
    keys.put(f"{linear}.order", p.argmax(1))


def multiplied(keys: Keys, theirs: str, names: Sequence[str]) -> Tensor:
    """Return the weight of an invertible 1x1 convolution that is kept as factors, P · (L + I) · (U + diag(sign · exp(log s))), [C, C].

    Args:
        keys: The account.
        theirs: Theirs.
        names: Of P, L, U, log s and sign.
    """
    p, lower, upper, log_s, sign = (keys.read(f"{theirs}.{name}").double() for name in names)
    return p @ (lower.tril(-1) + torch.eye(len(p))) @ (upper.triu(1) + torch.diag(sign * log_s.exp()))


def edged(weight: Tensor, bordered: bool) -> Tensor:
    """Return a 3x3 convolution's weight with one more input, 1 beyond the border: theirs pad all inputs with 1, or with 0."""
    edge = weight.sum(1, keepdim=True) if bordered else torch.zeros_like(weight[:, :1])
    return torch.cat([weight, edge], 1)


def plain(keys: Keys, ours: str, norm: str, shift: Tensor, log_scale: Tensor | None = None) -> None:
    """Set the activation norm behind a convolution inside a coupling; a bias is one without a scale."""
    keys.put(f"{ours}.{norm}.shift", shift.flatten())
    keys.put(f"{ours}.{norm}.log_scale", torch.zeros(shift.numel()) if log_scale is None else log_scale.flatten())
    keys.put(f"{ours}.{norm}.initialised", torch.tensor(True))
