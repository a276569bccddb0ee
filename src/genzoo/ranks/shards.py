"""Parameters of which every rank keeps an equal piece: gathered where a network reads them, and let go once it has.

A module's parameters lie in a dictionary that gathers what is read out of it by name, so a net needs no word about it: whatever method reads
`self.weight`, as often and in whatever order, has the whole of it. The module's own lists (`parameters()`, `state_dict()`) hold the pieces: they are
what optimizers step, what averages follow and what has gradients. Reading is differentiable, its adjoint sums the gradients over ranks and leaves
each rank its piece of the mean. What the backward pass needs of a weight is not kept but gathered once more (`sparing`).

Every rank must read the same parameters in the same order, as with all sums over ranks.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.ranks.sums import rank, ranks

Net = TypeVar("Net", bound=nn.Module)
SMALL = [4096]
"""Parameters of fewer values stay whole on every rank: a message of their own would cost more than they take."""
MARK, COLLECTED = "piece_of", "collected"
"""What tensors are marked with: a piece, and a whole that was gathered for the one who asks, who need not copy it."""


class Piece:
    """This rank's piece of one parameter: an equal share of its values in the order in which they lie in memory, zeros after the last.

    Args:
        whole: The parameter, the same on all ranks.
    """

    def __init__(self, whole: Tensor) -> None:
        self.shape, self.strides = whole.shape, torch.empty_like(whole).stride()
        self.length = -(-whole.numel() // ranks())
        self.own = nn.Parameter(self.cut(whole), requires_grad=whole.requires_grad)
        setattr(self.own, MARK, self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Piece:
        other = object.__new__(Piece)
        memo[id(self)] = other
        other.shape, other.strides, other.length = self.shape, self.strides, self.length
        other.own = deepcopy(self.own, memo)
        setattr(other.own, MARK, other)
        return other

    def flat(self, whole: Tensor) -> Tensor:
        """Return the values [length · ranks] of a tensor of the parameter's shape as the pieces have them, copied where they lie otherwise."""
        whole, count = whole.detach(), self.length * ranks()
        if whole.stride() == self.strides and whole.numel() == count:
            return whole.as_strided((count,), (1,))
        flat = whole.new_zeros(count)
        flat.as_strided(self.shape, self.strides).copy_(whole)
        return flat

    def cut(self, whole: Tensor) -> Tensor:
        """Return this rank's piece [length] of a tensor of the parameter's shape."""
        flat = self.flat(whole)
        return flat[rank() * self.length : (rank() + 1) * self.length].clone()

    def gather(self) -> Tensor:
        """Return the whole parameter, laid out as it was, outside of any graph."""
        flat = self.own.new_empty(self.length * ranks())
        dist.all_gather_single(flat, self.own.detach())
        # The storage knows what lies in it as long as anything does: a view of the weight is known by it as well.
        storage: Any = flat.untyped_storage()
        storage.holds = self, self.own._version
        return flat.new_empty(0).set_(storage, 0, self.shape, self.strides)

    def read(self) -> Tensor:
        """Return the whole parameter, whose gradient goes to all ranks' pieces."""
        settle()
        if torch.is_grad_enabled() and self.own.requires_grad:
            found: Tensor = _Gathered.apply(self.own, self)  # type: ignore[no-untyped-call]
            return found
        found = self.gather()
        _LENT.append((found, self, found._version))
        return found

    def scatter(self, gradient: Tensor) -> Tensor:
        """Return this rank's piece of the mean over ranks."""
        mine = gradient.new_empty(self.length)
        dist.reduce_scatter_single(mine, self.flat(gradient))
        return mine.div_(ranks())

    def collect(self, values: Tensor) -> Tensor | None:
        """Return the whole of which every rank holds a piece `values` [length], in the CPU's memory of the first rank; None on the others."""
        mine = values.detach().cpu()
        every = None if rank() else [torch.empty_like(mine) for _ in range(ranks())]
        dist.gather(mine, every)
        if every is None:
            return None
        whole = torch.cat(every).as_strided(self.shape, self.strides)
        setattr(whole, COLLECTED, True)
        return whole


class _Gathered(torch.autograd.Function):
    """The whole of a parameter from the pieces of all ranks; its adjoint is the mean of gradients, cut into pieces."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, piece: Piece) -> Tensor:
        ctx.piece = piece
        ctx.set_materialize_grads(False)  # what has no gradient is no gradient of zeros: an optimizer would step
        return piece.gather()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return None if gradient[0] is None else ctx.piece.scatter(gradient[0]), None


class Pieces(dict[str, Any]):
    """A module's parameters by name, of which some are pieces: read by name they are whole, listed they are as they lie.

    Args:
        parameters: As the module has them.
        pieces: Those that are in pieces.
    """

    def __init__(self, parameters: Mapping[str, Any], pieces: Mapping[str, Piece]) -> None:
        super().__init__(parameters)
        self.pieces = dict(pieces)

    def __deepcopy__(self, memo: dict[int, Any]) -> Pieces:
        return Pieces(
            {k: deepcopy(p, memo) for k, p in self.items()}, {k: deepcopy(p, memo) for k, p in self.pieces.items()}
        )

    def __getitem__(self, name: str) -> Any:
        """Return what a network reads."""
        return self.pieces[name].read() if name in self.pieces else super().__getitem__(name)


_LENT: list[tuple[Tensor, Piece, int]] = []


def settle() -> None:
    """Take over what was written in place into a parameter that was read without a graph, as a start from the data does."""
    lent = _LENT[:]
    _LENT.clear()
    while lent:
        whole, piece, version = lent.pop(0)
        if whole._version != version:
            with torch.no_grad():
                piece.own.copy_(piece.cut(whole))
        elif sys.getrefcount(whole) > 2:  # whoever holds it may still write
            _LENT.append((whole, piece, version))


def shard(system: nn.Module, optimizers: Iterable[Optimizer]) -> None:
    """Leave each rank its piece of every large parameter that learns.

    Whole stay those of few values, those that a module names in `undivided` (a step differentiates by them itself), and those that somebody
    holds beside the module and the optimizer: an object that has the whole would not see what is learned.

    Args:
        system: The same on all ranks.
        optimizers: Its fresh optimizers; they get the pieces in place of the parameters.
    """
    lists = [group["params"] for o in optimizers for group in o.param_groups]
    places: dict[str, tuple[Tensor, list[tuple[nn.Module, str]]]] = {}
    names: dict[int, str] = {}
    for prefix, module in system.named_modules():
        for name, p in module._parameters.items():
            if p is not None and p.requires_grad and p.numel() >= SMALL[0]:
                first = names.setdefault(id(p), f"{prefix}.{name}")
                places.setdefault(first, (p, []))[1].append((module, name))
    p = None
    held = {name: sum(q is whole for qs in lists for q in qs) for name, (whole, _) in places.items()}
    mine = [
        name
        for name, (whole, at) in places.items()
        if sys.getrefcount(whole) > len(at) + held[name] + 3 or any(k in getattr(m, "undivided", ()) for m, k in at)
    ]
    every: list[Any] = [None] * ranks()
    dist.all_gather_object(every, mine)
    for name in {name for names_ in every for name in names_}:
        del places[name]
    pieces: dict[int, Piece] = {}
    for whole, at in places.values():
        piece = pieces[id(whole)] = Piece(whole)
        for module, name in at:
            now = module._parameters
            known = now.pieces if isinstance(now, Pieces) else {}
            module.__dict__["_parameters"] = Pieces({**dict(now.items()), name: piece.own}, {**known, name: piece})
    for qs in lists:
        qs[:] = [pieces[id(q)].own if id(q) in pieces else q for q in qs]


BY_VALUE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SGD", "RMSprop", "Adagrad", "Adadelta", "ASGD", "Rprop")
"""Optimizers of torch that step each value by itself, so that a piece is stepped as the whole is; others say it by `by_value = True`."""


def check_shards(optimizers: Mapping[str, Optimizer], *, world: int, compiled: bool, precision: str) -> None:
    """Refuse shard=true where it does not work.

    Args:
        optimizers: Those of the system.
        world: Number of processes.
        compiled: The networks are to be compiled.
        precision: Of the networks.

    Raises:
        UserError: It says why, and what to do.
    """
    if world == 1:
        raise UserError(
            "shard=true divides a training among several processes, and this is one; start it with "
            "'torchrun --nproc-per-node N -m genzoo train ...', or leave shard= out"
        )
    if compiled:
        raise UserError(
            "shard=true gathers weights where they are read, which compile=true cannot follow; leave one of the two out"
        )
    if precision == "fp16":
        raise UserError(
            "shard=true is not for precision=fp16, whose scaler looks at the gradients of one process; give bf16 or fp32"
        )
    for name, optimizer in optimizers.items():
        kind = type(optimizer).__name__
        known = type(optimizer).__module__.startswith("torch.optim") and kind in BY_VALUE
        if not (known or getattr(optimizer, "by_value", False)):
            raise UserError(
                f"shard=true is for optimizers that step each value by itself ({', '.join(BY_VALUE)}), and '{name}' of this system is "
                f"a {kind}; leave shard= out"
            )


def piece_of(t: Any) -> Piece | None:
    """Return the piece that a parameter is; None for a whole one."""
    found: Piece | None = getattr(t, MARK, None)
    return found


# ---- a step ------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sparing(pieces: bool = True) -> Iterator[None]:
    """Keep nothing of gathered parameters for the backward pass, which gathers them once more; without pieces, do nothing."""
    if not pieces:
        yield
        return
    with torch.autograd.graph.saved_tensors_hooks(_packed, _unpacked):
        yield
    settle()


def _packed(t: Tensor) -> Any:
    held = getattr(t.untyped_storage(), "holds", None) if t.layout == torch.strided else None
    if held is None or t.dtype != held[0].own.dtype:
        return t
    return *held, t.size(), t.stride(), t.storage_offset()


def _unpacked(kept: Any) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    piece, version, size, stride, offset = kept
    if piece.own._version != version:
        raise RuntimeError(
            "a parameter that the backward pass needs has been modified by an inplace operation: it was updated in between"
        )
    found: Tensor = piece.gather()
    return found.as_strided(size, stride, offset)


def total_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the norm of the gradients of parameters and of pieces, the latter over all ranks."""
    whole = [p.grad for p in parameters if p.grad is not None and piece_of(p) is None]
    norm = torch.nn.utils.get_total_norm(whole, foreach=None)
    pieces = [p for p in parameters if piece_of(p) is not None]
    if not pieces:
        return norm
    squares = torch.nn.utils.get_total_norm([p.grad for p in pieces if p.grad is not None]).double().square()
    squares = squares.to(pieces[0].device).reshape(1)
    dist.all_reduce(squares)
    return (squares[0] + norm.to(squares.device).double().square()).sqrt().to(pieces[0].dtype)


# ---- the whole, for files and pictures ---------------------------------------------------------------------------------------------


def collected(tensors: Mapping[str, Tensor], like: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Return tensors, those in pieces whole, one after the other, in the CPU's memory of the first rank; the others get what is not in pieces.

    Args:
        tensors: By name; the same names on all ranks.
        like: By the same names, the parameter that a tensor belongs to (a moment), where it is not the tensor itself.
    """
    pieces = {name: piece_of((like or {}).get(name, t)) for name, t in tensors.items()}
    # In the order of names: that of a state which was read from a file is another one in every process.
    whole = {
        name: piece.collect(tensors[name])
        for name, piece in sorted(pieces.items())
        if piece is not None and tensors[name].shape == piece.own.shape
    }
    found = {name: whole.get(name) if name in whole else t for name, t in tensors.items()}
    return {name: t for name, t in found.items() if t is not None}


def is_collected(t: Tensor) -> bool:
    """Return True of a whole that `collected` put together: only the one who asked for it has it."""
    return hasattr(t, COLLECTED)


def owners(name: str, optimizer: Optimizer, keys: Iterable[str]) -> dict[str, Any]:
    """Return the parameter to which a part of an optimizer's state belongs, by its name in a checkpoint: optim.NAME.INDEX.FIELD."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    start = f"optim.{name}."
    return {k: parameters[int(k[len(start) :].split(".")[0])] for k in keys if k.startswith(start)}


def cut(tensors: Mapping[str, Tensor], like: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors, those whole that belong to a piece cut; those of another shape stay as they are."""
    found = dict(tensors)
    for name, p in like.items():
        piece = piece_of(p)
        if piece is not None and name in found and found[name].shape == piece.shape:
            found[name] = piece.cut(found[name])
    return found


def assembled(net: Net) -> Net:
    """Return a copy with whole parameters on the first rank, for as long as somebody looks at it; the net itself where nothing is in pieces."""
    modules = [(name, m._parameters) for name, m in net.named_modules() if isinstance(m._parameters, Pieces)]
    if not modules:
        return net
    copy = None if rank() else deepcopy(net)
    made: dict[int, nn.Parameter | None] = {}
    for name, parameters in modules:
        for piece in parameters.pieces.values():
            if id(piece) not in made:
                whole, own = piece.collect(piece.own), piece.own
                made[id(piece)] = None if whole is None else nn.Parameter(whole.to(own.device), own.requires_grad)
        if copy is not None:
            module = copy.get_submodule(name)
            whole_ones = {key: made[id(piece)] for key, piece in parameters.pieces.items()}
            module.__dict__["_parameters"] = {**dict(module._parameters.items()), **whole_ones}
    return net if copy is None else copy
