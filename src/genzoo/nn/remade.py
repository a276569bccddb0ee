"""What a backward pass needs and can make again for little: not kept, but made from what is there anyway.

Autograd keeps the input of a convolution or a dense layer. Where that came from a cheap function of a tensor that is kept as well (a rectifier, a
norm, a border of zeros), the input need not lie there from the forward to the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _hooked() -> bool:
    """Tell whether somebody else looks after what is kept: a checkpoint, which keeps less, and would not see what is put away here."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def remade(make: Callable[[Tensor], Tensor], x: Tensor, use: Callable[[Tensor], Tensor]) -> Tensor:
    """Return use(make(x)), without keeping make(x) for the backward pass: there it is made again, to the same bits.

    Args:
        make: Cheap, and the same whenever it is called; what its own backward pass needs should be x.
        x: Is kept.
        use: One operation that keeps its input.
    """
    y = make(x)
    if not torch.is_grad_enabled() or not y.requires_grad or torch.compiler.is_compiling() or _hooked():
        return use(y)
    place, elements, steps = y.data_ptr(), y.numel(), y.stride()

    def put(kept: Tensor) -> Any:
        same = kept.data_ptr() == place and kept.numel() == elements and kept.dtype == y_dtype
        return (kept.shape, kept.stride()) if same else kept

    def take(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            again = make(x)
        assert again.stride() == steps, "made again, it lies in memory as it did"
        return again.as_strided(*kept)

    y_dtype = y.dtype
    with torch.autograd.graph.saved_tensors_hooks(put, take):
        return use(y)


class Room:
    """Memory for one tensor at a time, each written over the one before: clearing a new block of more than 32 MiB takes longer than GELU does."""

    def __init__(self) -> None:
        self.block: Tensor | None = None

    def like(self, x: Tensor) -> Tensor:
        """Return the memory, in the shape of x."""
        if self.block is None or self.block.shape != x.shape or self.block.dtype != x.dtype:
            self.block = torch.empty_like(x)
        return self.block.detach()


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, room: Room) -> Tensor:
        ctx.save_for_backward(x)
        found: Tensor = torch.ops.aten.gelu.out(x, out=room.like(x))
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.gelu_backward(grad, x), None


def remade_gelu(x: Tensor, use: Callable[[Tensor], Tensor], room: Room) -> Tensor:
    """Return use(GELU(x)) as `remade` does; what is not kept is made in a room that others have as well.

    Args:
        x: Is kept.
        use: One operation that keeps its input.
        room: Holds nothing that is needed once `use` has returned.
    """
    if not torch.is_grad_enabled() or not x.requires_grad or torch.compiler.is_compiling() or _hooked():
        return use(torch.nn.functional.gelu(x))
    return remade(lambda x: _Gelu.apply(x, room), x, use)  # type: ignore[no-untyped-call]


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        mask = kept_values(x, p)
        ctx.save_for_backward(mask.bool())
        ctx.p = p
        return dropped(x, mask, p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return dropped(grad, mask, ctx.p), None


def kept_values(x: Tensor, p: float) -> Tensor:
    """Draw which values dropout of probability `p` keeps: ones, and zeros elsewhere, as x lies in memory.

    On a CPU it takes two thirds of what drawing bools takes, and they are the same.
    """
    return torch.empty_like(x).bernoulli_(1 - p)


def dropped(x: Tensor, mask: Tensor, p: float, out: Tensor | None = None) -> Tensor:
    """Return x / (1 - p) where the mask is true, and 0 elsewhere: what dropout of probability `p` gives, to the bit.

    Args:
        x: Any shape.
        mask: Of `kept_values`, or bool.
        p: Probability that a value is dropped.
        out: Where to write it.
    """
    if mask.dtype == torch.bool:  # bools become numbers eight times as slowly as bytes do, which they are
        mask = mask.view(torch.uint8).to(x.dtype)
    return torch.mul(x, mask, out=out).mul_(float(torch.ones((), dtype=x.dtype).div_(1 - p)))


def dropout(x: Tensor, p: float) -> Tensor:
    """Drop values with probability `p`, as `F.dropout` does in training, and keep a byte of each for the backward pass, not four."""
    if not p or torch.compiler.is_compiling():
        return torch.nn.functional.dropout(x, p) if p else x
    out: Tensor = _Dropout.apply(x, p)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
    return out
