"""A batch that is larger than the memory: its parts are shown one after another, and each update is made of the gradients of all of them.

A part stands in the batch as the rows of a rank do (`ranks.batch`): what is drawn for its examples is what is drawn for them in the whole batch.
A step calls `update` and goes on with the weights that come of it, so that no part can go on before all have given their gradients. The parts
therefore go through the step once for each of its updates, as StyleGAN's program does for its phases: to the first one, which is then applied; from
the beginning to the second one, with weights as they were at every place; and so on. Between two parts nothing is held but gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from genzoo.core.errors import UserError
from genzoo.ranks.batch import one_batch
from genzoo.ranks.launch import cannot_share

Named = dict[str, Tensor]


class Updates(Protocol):
    """What makes updates of the gradients of several parts."""

    step: int
    steps: int
    progress: float
    owned: dict[str, list[nn.Parameter]]
    kept: list[Tensor]

    def add(self, name: str, loss: Tensor, part: int, parts: int) -> None:
        """Add the gradients of one part."""

    def apply(self, name: str) -> None:
        """Step with what all parts have given."""


class Enough(BaseException):
    """A part has come as far as it can before the others have; no error, and no `except Exception` of a step stops it."""


class _Nothing(torch.autograd.Function):
    """Sends no gradient back, so that a backward pass computes nothing and lets go of what the forward pass has kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> None:
        return None


def shared_buffers(system: nn.Module) -> list[Tensor]:
    """List what becomes the mean over ranks and parts: buffers that a module names in `averaged`. Others are equal as they come about."""
    return [getattr(m, name) for m in system.modules() for name in getattr(m, "averaged", ())]


def train_step(
    system: Any, batch: Named, update: Any, parts: int, autocast: Callable[[], AbstractContextManager[Any]]
) -> Named:
    """Do one step of a system and return its logs; of several parts their mean.

    Args:
        system: What learns.
        batch: This rank's rows, of which `parts` is a divisor.
        update: What the step is lent.
        parts: How many parts the rows are shown in.
        autocast: The precision of the networks.
    """
    if parts > 1:
        return Parts(system, batch, update, parts, autocast).go()
    with autocast(), one_batch(len(next(iter(batch.values())))):
        logs: Named = system.training_step(batch, update)
    return logs


class Parts:
    """The update that a step is lent where its batch is shown in parts.

    Buffers: each part changes them after the one before it, once, however often it goes through the step. What a module names in `averaged` begins
    anew for each part and becomes the mean of all.
    """

    def __init__(
        self,
        system: Any,
        batch: Named,
        update: Updates,
        parts: int,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.system, self.batch, self.update, self.parts, self.autocast = system, batch, update, parts, autocast
        self.step, self.steps, self.progress = update.step, update.steps, update.progress
        self.done: list[str] = []
        """Whose updates have been made in this step."""
        self.older: dict[str, dict[int, list[Tensor]]] = {}
        """Weights as they were after so many updates of their optimizer; those that are in place now are not among them."""
        self.version: dict[str, int] = {}
        self.part, self.calls, self.name, self.more = 0, 0, "", False
        self.reached: list[Tensor] = []
        """Weights of the update's optimizer, and for the first part buffers, as they were when a part had given its gradients."""
        self.before: list[Tensor] = []
        """The same weights, once it is known that another update comes after this one."""
        self.versions: list[int] = []
        self.moves = False
        """Whether a step changes weights by itself as well (WGAN's clipping)."""

    def go(self) -> Named:
        """Do the whole step and return the mean of the parts' logs."""
        buffers, shared = list(self.system.buffers()), shared_buffers(self.system)
        before, generators = [s.clone() for s in shared], _generators(self.system)
        states = [g.get_rng_state() for g in generators]
        while True:
            logs: list[Named] = []
            self.name, self.more, self.moves = "", False, False
            _put(buffers, self.update.kept)
            total = [torch.zeros_like(s) for s in shared]
            for part in range(self.parts):
                self.part = part
                for g, state in zip(generators, states, strict=True):
                    g.set_rng_state(state.clone())
                _put(shared, before)
                logs += self._show()
                if part == 0:  # it alone draws what is drawn once in a run (a start from the data)
                    ends = [g.get_rng_state() for g in generators]
                total = [t + s / self.parts for t, s in zip(total, shared, strict=True)]
            _put(shared, total)
            if not self.more:
                for g, state in zip(generators, ends, strict=True):
                    g.set_rng_state(state)
                return {k: torch.stack([x[k].float() for x in logs if k in x]).mean(0) for k in {**logs[0], **logs[-1]}}
            self.done.append(self.name)

    def _show(self) -> list[Named]:
        """Show one part as far as it can go, and return its logs where that is the end of the step."""
        for name in self.version:
            self._weights(name, 0)
        self.calls, size = 0, len(next(iter(self.batch.values()))) // self.parts
        rows = {k: v.narrow(0, self.part * size, size) for k, v in self.batch.items()}
        try:
            with self.autocast(), one_batch(size, self.part, self.parts):
                logs = self.system.training_step(rows, self)
        except Enough:
            if self.part == 0:  # it has gone on, to see whether there is more to come
                owned = self.update.owned[self.name]
                _put([*owned, *self.system.buffers()], self.reached)
                self.before, self.reached = self.reached[: len(owned)], []
            return []
        if self.reached:  # the next part gives its gradients for the weights that this one had
            owned = self.update.owned[self.name]
            moved = [p._version for p in owned] != self.versions
            if moved:
                _put(owned, self.reached[: len(owned)])
            self.moves, self.reached = self.moves or moved, []
        if self.calls < len(self.done) or self.more or (self.part and self.name and self.calls == len(self.done)):
            raise _differ()
        return [{k: v.detach() for k, v in logs.items()}]

    def __call__(self, name: str, loss: Tensor) -> None:
        """Add the gradients of this part, and step after the last one; what has been done before is not done again."""
        call, self.calls = self.calls, self.calls + 1
        if call < len(self.done):
            if name != self.done[call]:
                raise _differ()
            torch.autograd.grad(_Nothing.apply(loss), self.update.owned[name], allow_unused=True)  # type: ignore[no-untyped-call]
            self._weights(name, self.done[: call + 1].count(name))
            return
        if call > len(self.done):
            if self.part:
                raise _differ()
            self.more = True
            raise Enough
        if self.part and name != self.name:
            raise _differ()
        self.name = name
        self.update.add(name, loss, self.part, self.parts)
        if self.part == self.parts - 1:
            if self.more:
                now = self.version.get(name, 0)
                self.older.setdefault(name, {})[now], self.before, self.version[name] = self.before, [], now + 1
            self.update.apply(name)
        elif self.part == 0 or self.moves:
            owned = self.update.owned[name]
            self.reached = [t.detach().clone() for t in (*owned, *(self.system.buffers() if self.part == 0 else ()))]
            self.versions = [p._version for p in owned]
        if self.more:
            raise Enough

    @torch.no_grad()
    def _weights(self, name: str, version: int) -> None:
        """Put the weights in place that there were after so many updates of an optimizer."""
        now = self.version[name]
        if now == version:
            return
        stored = self.older[name].pop(version)
        for p, s in zip(self.update.owned[name], stored, strict=True):
            live = p.clone()
            p.copy_(s)
            s.copy_(live)
        self.older[name][now], self.version[name] = stored, version
        torch.clear_autocast_cache()


def check_shares(name: str, batch: int | None, world: int, parts: int, *, fits: bool) -> None:
    """Refuse several processes and parts where a fit is in one, and a batch that they cannot share, before anything is made.

    Args:
        name: What the system's class is called.
        batch: Examples of a step, over all processes; None where that is not known.
        world: Number of processes.
        parts: How many parts each process's rows are shown in.
        fits: Whether the system is fitted without gradients.

    Raises:
        UserError: What was asked for, and what is possible.
    """
    if fits and world > 1:
        raise UserError(f"{name} is fitted in one process; start it without torchrun")
    if fits and parts > 1:
        raise UserError(f"accumulate={parts} adds up gradients, and {name} is fitted without any; leave it out")
    if batch is None:
        return
    if batch % world:
        raise UserError(cannot_share(batch, world))
    if batch % (world * parts):
        each = f"the {batch // world} examples of each of {world} processes" if world > 1 else f"batch={batch}"
        raise UserError(
            f"accumulate={parts}: {each} cannot be cut into {parts} equal parts; give a multiple of {world * parts} as batch"
        )


def _generators(system: Any) -> list[Any]:
    """List what draws: torch on the CPU, and on the system's device where that is another."""
    kind = system.device.type
    return [torch] if kind == "cpu" else [torch, torch.get_device_module(kind)]


@torch.no_grad()
def _put(tensors: list[Any], values: list[Tensor]) -> None:
    for t, v in zip(tensors, values, strict=True):
        t.copy_(v)


def _differ() -> UserError:
    return UserError(
        "accumulate: the parts of this batch made different updates, and there is no mean of those. A step has to call update with the same names in "
        "the same order whatever is in its batch; leave accumulate out, or take a smaller batch"
    )
