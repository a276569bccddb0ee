"""Optimizers of systems whose parts have the usual names: `optimizers`, borrowed by name in their class bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer


def one_adam(self: Any) -> dict[str, Optimizer]:
    """Return one Adam for all parameters, at the rate `self.lr`."""
    return {"model": Adam(self.parameters(), lr=self.lr)}


def adam_for(self: Any, *modules: nn.Module | None, slower: bool = False) -> Adam:
    """Return an Adam for the parameters of some modules, with the decays `self.betas`.

    Args:
        self: The system: its `lr`, `betas`, and `d_lr` where it has one.
        modules: Whose parameters; None stands for a part that the system was built without.
        slower: At the rate `d_lr` in place of `lr`.
    """
    owned: Iterable[nn.Parameter] = (p for m in modules if m is not None for p in m.parameters())
    return Adam(owned, lr=self.d_lr if slower else self.lr, betas=self.betas)


def adam_for_each(self: Any) -> dict[str, Optimizer]:
    """Return an Adam for each player, `self.D` (where there is one, at `self.d_lr` if it has a rate of its own) and `self.G`.

    What the system looks through with weights from a file (a part with `load`) is read first.

    Raises:
        UserError: Such a file is missing: said before the first step.
    """
    for part in self.children():
        if hasattr(part, "load"):
            part.load()
    found: dict[str, Optimizer] = {"g": adam_for(self, self.G)}
    if self.D is not None:
        found["d"] = adam_for(self, self.D, slower=hasattr(self, "d_lr"))
    return found


class AdamOfSquares(Adam):
    """Adam with β1 = 0, whose mean gradient is the gradient: it is not kept from step to step. Steps are those of Adam, to the bit.

    A state that holds mean gradients, as Adam's own does, can be loaded.
    """

    by_value = True
    """Each value is stepped by itself, so that a piece of a parameter is stepped as the whole is."""
    moments = 1
    """What is kept of each value."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step."""
        for group in self.param_groups:
            assert group["betas"][0] == 0, "where a mean over steps is taken, Adam is"
            for p in group["params"]:
                if p.grad is not None and self.state.get(p):
                    self.state[p]["exp_avg"] = p.grad  # Adam writes into it what it reads
        found = super().step(closure)
        for state in self.state.values():
            state.pop("exp_avg", None)
        return found
