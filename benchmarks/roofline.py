"""Where the time of a run goes, against what the machine could do: an account of every operation.

Each operation is timed by itself, in CPU time, as it comes in the run, less what the timer adds to the smallest one. **Products** are those that
torch's counter knows: they have operations, and so a share of the matrix limit. **Passes** are all others that are no views: they read and write
memory, and so have a share of a copy's rate. What is left is Python, autograd, views, the allocator; it may come out below 0, since operations
that are timed one by one take longer.

With p the share of the limit that products reach and t their share of the time, a run reaches p·t of the limit, and could reach p at most if all
else were free and the products no faster. What else the machine does slows products in one round and not in another, so a second p has each
product at its best round: the least of its time times that round's limit. The limit is a product of `frame.SIDE`, and not the most that the
machine can: where convolutions are laid out better, they reach more than all of it.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_steps stylegan2 glow --account
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks import frame


@dataclass
class Sum:
    """Calls, CPU seconds, floating-point operations and bytes of one kind of operation."""

    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    moved: int = 0

    def add(self, seconds: float, flops: int, moved: int) -> None:
        """Count one more."""
        self.calls, self.seconds = self.calls + 1, self.seconds + seconds
        self.flops, self.moved = self.flops + flops, self.moved + moved


def size(x: Tensor) -> int:
    """Bytes of a tensor in memory, of repeated values once."""
    count = 1
    for n, step in zip(x.shape, x.stride(), strict=True):
        count *= n if step else 1
    return count * x.element_size()


@dataclass
class Account:
    """Operations by their group and name, products by their shapes as well."""

    products: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    passes: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    kinds: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    views: Sum = field(default_factory=Sum)


def kind_of(name: str, args: tuple[Any, ...]) -> str:
    """Say of a product what sort it is: convolutions by their filters, and backward by what is asked for."""
    if not name.startswith("convolution"):
        return "matrices"
    back = name == "convolution_backward"
    weight, transposed, groups = (args[2], args[7], args[9]) if back else (args[1], args[6], args[8])
    words = f"{'x'.join(map(str, weight.shape[2:]))}{' by depth' * (groups > 1)}{' transposed' * transposed}"
    if back:
        of = [what for what, asked in zip(("maps", "filters"), args[10], strict=False) if asked]
        return f"{words}, gradient of {' and '.join(of)}"
    return f"{words}, forward"


class _Timer(TorchDispatchMode):
    def __init__(self, account: Account, added: Mapping[bool, float]) -> None:
        super().__init__()
        self.account, self.added = account, added

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        start = time.process_time()
        found = func(*args, **kwargs)
        taken = time.process_time() - start
        name, cost = func._overloadpacket.__name__, flop_registry.get(func._overloadpacket)
        taken = max(0.0, taken - self.added[name.startswith("convolution")])
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(found) if isinstance(x, Tensor)]
        moved = sum(map(size, given)) + sum(map(size, made))
        if cost is not None:
            shapes = " ".join("x".join(map(str, x.shape)) for x in given if x.ndim > 1)
            flops = cost(*args, **kwargs, out_val=found)
            self.account.products[f"{name} {shapes}"].add(taken, flops, moved)
            self.account.kinds[kind_of(name, args)].add(taken, flops, moved)
        elif func.is_view or name in frame.VIEWS:
            self.account.views.add(taken, 0, 0)
        else:
            self.account.passes[name].add(taken, 0, moved)
        return found


def added(calls: int = 500) -> dict[bool, float]:
    """CPU seconds that the timer adds to a convolution (True) and to any other operation (False), by the smallest of each."""
    one = torch.ones(1, 1)
    place = one[None, None]

    def of(work: Callable[[], object]) -> float:
        def many() -> None:
            for _ in range(calls):
                work()

        account = Account()
        with torch.no_grad():
            plain = min(frame.seconds(many) for _ in range(3)) / calls
            with _Timer(account, {False: 0.0, True: 0.0}):
                many()
        return max(0.0, whole(account.products).seconds / calls - plain)

    return {False: of(lambda: torch.mm(one, one)), True: of(lambda: F.conv2d(place, place))}


def whole(sums: dict[str, Sum]) -> Sum:
    """Add sums up."""
    total = Sum()
    for each in sums.values():
        total.calls, total.seconds = total.calls + each.calls, total.seconds + each.seconds
        total.flops, total.moved = total.flops + each.flops, total.moved + each.moved
    return total


def account(case: frame.Case, name: str, rounds: int = 5, rows: int = 8) -> None:
    """Print what a run's time is made of, as shares of the machine's limits; runs with and without the timer take turns.

    Args:
        case: What is run.
        name: Its name.
        rounds: Runs of each kind.
        rows: Lines of the tables.
    """
    case.work()
    found, taken, limits, copies = Account(), 0.0, 0.0, 0.0
    least: dict[str, float] = {}  # operations that the limit would have done in the least time of each product
    for _ in range(rounds):
        limit, before = frame.matrix_rate(case.dtype), {kind: each.seconds for kind, each in found.products.items()}
        limits += limit / rounds
        copies += frame.copy_rate() / rounds
        taken += frame.seconds(case.work)
        with _Timer(found, added()):
            case.work()
        for kind, each in found.products.items():
            least[kind] = min(least.get(kind, math.inf), limit * (each.seconds - before.get(kind, 0.0)))
    products, passes = whole(found.products), whole(found.passes)
    rest = taken - products.seconds - passes.seconds
    reached, own = products.flops / taken / limits, products.flops / products.seconds / limits
    print(
        f"{name}: {taken / rounds:.3f} s of CPU a run, {100 * reached:.0f} % of the limit "
        f"({limits / 1e9:.0f} GFLOP/s, a copy {copies / 1e9:.1f} GB/s)\n"
        f"| | share of the time | calls | of their limit |\n|---|---|---|---|\n"
        f"| products, {products.flops / rounds / 1e9:.1f} GFLOP | {100 * products.seconds / taken:.0f} % | {products.calls // rounds:,} | "
        f"{100 * own:.0f} % of a product of {frame.SIDE}, each at its best {100 * products.flops / rounds / sum(least.values()):.0f} % |\n"
        f"| passes, {passes.moved / rounds / 1e9:.2f} GB | {100 * passes.seconds / taken:.0f} % | {passes.calls // rounds:,} | "
        f"{100 * passes.moved / passes.seconds / copies:.0f} % of a copy |\n"
        f"| Python, autograd, {found.views.calls // rounds:,} views | {100 * rest / taken:.0f} % | | |"
    )
    for title, sums in (("product", found.products), ("products by kind", found.kinds)):
        print(f"\n| {title} | calls | share of the time | of all operations | share of the limit |\n{'|---' * 5}|")
        for kind, each in sorted(sums.items(), key=lambda item: -item[1].seconds)[:rows]:
            print(
                f"| {kind} | {each.calls // rounds:,} | {100 * each.seconds / taken:.1f} % | {100 * each.flops / products.flops:.0f} % | "
                f"{100 * each.flops / each.seconds / limits:.0f} % |"
            )
    print("\n| pass | share of the time | calls | share of a copy's rate |\n|---|---|---|---|")
    for kind, each in sorted(found.passes.items(), key=lambda item: -item[1].seconds)[:rows]:
        print(
            f"| {kind} | {100 * each.seconds / taken:.1f} % | {each.calls // rounds:,} | {100 * each.moved / each.seconds / copies:.0f} % |"
        )
    print(flush=True)
