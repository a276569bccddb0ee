"""Room for a network that a file describes: no more than its tensors call for, whatever its settings say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SLACK, FACTOR = 512 * 2**20, 24
"""Bytes of all tensors that are made on the way: so many, and so many times the file's. Measured over all systems and presets: at most 174 MB
for a small one (a table that is not kept), and 19 times their own size else."""
COUNT = 500_000
"""Tensors that are made on the way. Measured: at most 12,000."""
SMALL = 4096
"""Values of operands below which no operation makes much of them."""


class TooLarge(Exception):
    """More is asked for than the file has a use for."""


class Budget(TorchDispatchMode):
    """Within the block, counts what tensors take before they are made, by their form alone (on the device "meta").

    Args:
        size: Bytes of the tensors that the network is made for.

    Raises:
        TooLarge: Instead of an allocation that would be too much.
    """

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left, self.count = SLACK + FACTOR * size, COUNT

    def _dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.count -= 1
        if self.count < 0:
            raise TooLarge
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if not given or sum(t.numel() for t in given) > SMALL:
            self._spend(func, args, kwargs, made=not given)
        return func(*args, **kwargs)

    def _spend(self, func: Any, args: Any, kwargs: Any, *, made: bool) -> None:
        if func._schema.is_mutable or func.is_view:
            return

        def form(value: Any) -> Any:
            return value.to("meta") if isinstance(value, Tensor) else value

        options = {k: form(v) for k, v in kwargs.items() if k != "generator"}
        if made and "device" in {a.name for a in func._schema.arguments}:
            options["device"] = "meta"
        try:
            with torch._C._DisableTorchDispatch():
                found = func(*(form(a) for a in args), **options)
        except (NotImplementedError, TypeError):
            return  # an operation without a form of its own; none of these grows
        except RuntimeError as error:
            if made:  # a size that no address reaches
                raise TooLarge from error
            return
        for t in tree_leaves(found):
            if isinstance(t, Tensor):
                self.left -= t.numel() * t.element_size()
                if self.left < 0:
                    raise TooLarge


# Given after the class is made: torch wraps what the body of a mode defines so that its first call imports torch._dynamo, which takes
# longer than torch itself and is of no use here.
Budget.__torch_dispatch__ = Budget._dispatch  # type: ignore[method-assign, assignment]
