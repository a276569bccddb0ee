"""Maps that the backward pass computes again instead of finding them kept (activation checkpointing, Chen et al., arXiv:1604.06174).

A network says which parts it can do so with by a class attribute `remat` and by calling them through `again`; training switches that on
(`training.prepare.compute_again`). Weights come out the same, because random numbers are drawn again from the state that they were drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from genzoo.ranks.batch import AsNow

Found = TypeVar("Found")
Part = Callable[..., tuple[Tensor, ...]]
FEW = 4
"""Examples that `a_few_at_a_time` has in memory at once."""


def again(net: Any, part: Callable[..., Found], *inputs: Any) -> Found:
    """Return what a part of a network makes of its inputs, of which in training the backward pass keeps the inputs alone.

    Args:
        net: The network, which has an attribute `remat`.
        part: A function or a module that changes no buffer, but for what it does in the first batch alone.
        inputs: What it is given.
    """
    if not (net.remat and net.training and torch.is_grad_enabled()):
        return part(*inputs)
    return _checkpoint(part, *inputs)


def apart(net: Any, part: Callable[..., Found], *inputs: Any) -> Found:
    """Return what a part of a network makes of its inputs, of which in training nothing is kept until its own backward pass, which computes it again.

    For what one player makes and another learns from first: the maps of both need not lie there at once.

    Args:
        net: The network; one that computes its parts again anyway (`remat`) is left to do so.
        part: A function that changes no buffer.
        inputs: What it is given.
    """
    if net.remat or not (net.training and torch.is_grad_enabled()):
        return part(*inputs)
    return _checkpoint(part, *inputs)


def _checkpoint(part: Callable[..., Found], *inputs: Any) -> Found:
    # What is drawn again is drawn for the same examples of the batch of all ranks.
    found: Found = checkpoint(part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), AsNow()))
    return found


def a_few_at_a_time(net: Any, part: Part, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return what a part of a network makes of examples; in training with `remat` nothing but its inputs is kept, and it sees `FEW` examples at once.

    So do its backward pass and the backward pass of that one, which a penalty on a gradient needs: of all that these go through, a few examples'
    maps are in memory at any time. Gradients of weights are sums over groups of examples, which rounds them in another way than one sum over all.

    Args:
        net: The network, which has an attribute `remat` and all weights that the part uses.
        part: A function that treats examples independently, draws nothing and changes no buffer; it returns tensors with the examples in front.
        inputs: What it is given, with the examples in front.
    """
    if not (net.remat and net.training and torch.is_grad_enabled()) or torch.compiler.is_compiling():
        return part(*inputs)
    weights = [p for p in net.parameters() if p.requires_grad]
    kind = inputs[0].device.type
    dtype, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

    def cast() -> AbstractContextManager[Any]:
        # Without its cache, which would hand out what was cast while no graph was made.
        return torch.autocast(kind, dtype, on, cache_enabled=False)

    # As views they have a node in the graph, which tells whether a backward pass asks for their gradient.
    views = [x.view_as(x) if x.requires_grad else x for x in (*inputs, *weights)]
    found: tuple[Tensor, ...] = _Few.apply((part, weights, cast, len(inputs)), *views)  # type: ignore[no-untyped-call]
    return found


def _asked(views: Sequence[Tensor]) -> list[bool]:
    """Tell of which tensors the backward pass that is going on wants gradients."""
    return [x.grad_fn is not None and torch._C._will_engine_execute_node(x.grad_fn) for x in views]


def _groups(tensors: Sequence[Tensor], few: int = FEW) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors of examples into those of a few, outside of any graph."""
    return zip(*(x.detach().split(few) for x in tensors), strict=True)


def _leaves(tensors: Sequence[Tensor], of: Sequence[Tensor]) -> list[Tensor]:
    """Make some examples of tensors into what gradients are taken by, where the whole of these has some."""
    return [x.requires_grad_() if y.requires_grad else x for x, y in zip(tensors, of, strict=True)]


def _gradients(
    outputs: Sequence[Tensor], by: Sequence[Tensor], asked: Sequence[bool], given: Sequence[Tensor], graph: bool = False
) -> list[Tensor | None]:
    """Return the gradients that are asked for, zeros where outputs do not depend on something, None for all others."""
    some = [x for x, a in zip(by, asked, strict=True) if a]
    reached = [(y, g) for y, g in zip(outputs, given, strict=True) if y.requires_grad]
    found: Any = torch.autograd.grad(
        [y for y, _ in reached], some, [g for _, g in reached], create_graph=graph, allow_unused=True
    )
    each = iter(found)
    return [next(each) if a else None for a in asked]


class _Sums:
    """Puts gradients of groups together: those of examples one behind the other, those of weights as sums."""

    def __init__(self, examples: int) -> None:
        self.examples, self.found = examples, list[list[Tensor | None]]()

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Take in a group's."""
        if not self.found:
            self.found = [[g] for g in gradients]
            return
        for i, g in enumerate(gradients):
            if i < self.examples:
                self.found[i].append(g)
            elif g is not None:
                before = self.found[i][0]
                self.found[i] = [g if before is None else before + g]

    def all(self) -> list[Tensor | None]:
        """Return the gradients of everything."""
        return [None if x[0] is None else torch.cat([g for g in x if g is not None]) for x in self.found]


class _Few(torch.autograd.Function):
    """A part of a network, a few examples at a time."""

    @staticmethod
    def forward(ctx: Any, how: Any, *views: Tensor) -> tuple[Tensor, ...]:
        part, _, cast, n = ctx.how = how
        ctx.save_for_backward(*views[:n])
        ctx.weights = views[n:]
        with cast():
            found = [part(*xs) for xs in _groups(views[:n])]
        return tuple(torch.cat(ys) for ys in zip(*found, strict=True))

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        part, weights, cast, n = ctx.how
        inputs = ctx.saved_tensors
        asked = _asked([*inputs, *ctx.weights])
        if torch.is_grad_enabled():
            assert not any(asked[n:]), "a gradient that is differentiated once more is one by what the part is given"
            slopes = _Slopes.apply((part, weights, cast, n, asked[:n]), *inputs, *given, *ctx.weights)  # type: ignore[no-untyped-call]
            each = iter(slopes)
            return None, *(next(each) if a else None for a in asked[:n]), *[None] * len(weights)
        sums = _Sums(n)
        for group in _groups([*inputs, *given]):
            with torch.enable_grad(), cast():
                xs = _leaves(group[:n], inputs)
                ys = part(*xs)
            sums.add(_gradients(ys, [*xs, *weights], asked, group[n:]))
        return None, *sums.all()


class _Slopes(torch.autograd.Function):
    """The gradient of a part by its inputs, a few examples at a time; its own gradient is the last that there is."""

    @staticmethod
    def forward(ctx: Any, how: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        part, weights, cast, n, asked = ctx.how = how
        ctx.save_for_backward(*tensors[: len(tensors) - len(weights)])
        ctx.weights = tensors[len(tensors) - len(weights) :]
        sums = _Sums(n)
        for group in _groups(tensors[: len(tensors) - len(weights)]):
            with torch.enable_grad(), cast():
                xs = _leaves(group[:n], tensors[:n])
                ys = part(*xs)
            sums.add(_gradients(ys, xs, asked, group[n:]))
        return tuple(x for x in sums.all() if x is not None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        part, weights, cast, n, asked = ctx.how
        tensors = ctx.saved_tensors
        wanted = _asked([*tensors, *ctx.weights])
        sums = _Sums(len(tensors))
        for group in _groups([*tensors, *given], FEW // 2):  # the gradient has as many maps once more
            with torch.enable_grad(), cast():
                leaves = _leaves(group[: len(tensors)], tensors)
                ys = part(*leaves[:n])
                slopes = [s for s in _gradients(ys, leaves[:n], asked, leaves[n:], graph=True) if s is not None]
            sums.add(_gradients(slopes, [*leaves, *weights], wanted, group[len(tensors) :]))
        return None, *sums.all()
