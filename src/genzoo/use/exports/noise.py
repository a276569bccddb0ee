"""What a method draws becomes an input: a graph has no random numbers of its own, and two programs have never the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

LAWS: dict[Callable[..., Any], str] = {torch.rand: "uniform [0, 1)", torch.randn: "normal (0, 1)"}
"""Functions of torch that a method may draw with, and the law of what they give."""


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

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer one call of torch."""
        kwargs = kwargs or {}
        if func not in LAWS or not isinstance(kwargs.get("generator"), Generator):
            return func(*args, **kwargs)
        self.laws.append(LAWS[func])
        if self.given is not None:
            return self.given[len(self.laws) - 1]
        drawn = func(*args, **kwargs | {"generator": self.source or kwargs["generator"]})
        self.kept.append(drawn)
        return drawn
