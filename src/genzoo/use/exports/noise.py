"""What a method draws becomes an input: a graph has no random numbers of its own, and two programs have never the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

UNIFORM, NORMAL = "uniform [0, 1)", "normal (0, 1)"


class Drawn(TorchFunctionMode):
    """Within the block, every draw from a generator is kept, or replaced by the next tensor given.

    Args:
        given: What the draws are, in their order; None to let them be drawn.
        source: What they are drawn from, whatever generator a method has.
    """

    def __init__(self, given: Sequence[Tensor] | None = None, source: Generator | None = None) -> None:
        super().__init__()
        self.given, self.source = given, source
        self.kept: list[Tensor] = []
        self.laws: list[str] = []
        self.counts: list[int] = []  # of whole numbers, how many there are; else 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer one call of torch."""
        kwargs = kwargs or {}
        law, count = _law(func, args) if isinstance(kwargs.get("generator"), Generator) else ("", 0)
        if not law:
            return func(*args, **kwargs)
        self.laws.append(law)
        self.counts.append(count)
        if self.given is not None:
            return self.given[len(self.laws) - 1]
        drawn = func(*args, **kwargs | {"generator": self.source or kwargs["generator"]})
        self.kept.append(drawn)
        return drawn


def _law(func: Any, args: Sequence[Any]) -> tuple[str, int]:
    """Name the law of what a function of torch draws, and of whole numbers how many there are; empty where it draws nothing that is known."""
    if func is torch.rand:
        return UNIFORM, 0
    if func is torch.randn:
        return NORMAL, 0
    if func is torch.randint and isinstance(args[1], (tuple, list, torch.Size)):
        return f"whole number from 0 to {int(args[0]) - 1}, all equally likely", int(args[0])
    return "", 0
