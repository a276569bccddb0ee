"""The update that a training step is lent: backward, reduce, guard, clip, step."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from genzoo.core.system import System
from genzoo.ranks.parts import shared_buffers
from genzoo.ranks.reduce import Reduction
from genzoo.ranks.shards import shard, total_norm
from genzoo.ranks.sums import mean_over_ranks
from genzoo.training.runtime import Runtime

FUSED = (Adam, AdamW, SGD)


def schedule(progress: float, warmup: float, decay: str) -> float:
    """Return the factor on the learning rate: linear rise over `warmup`, then none, linear or cosine fall to 0 at progress 1."""
    if progress < warmup:
        return progress / warmup
    after = (progress - warmup) / (1 - warmup)
    return {"none": 1.0, "linear": 1 - after, "cosine": 0.5 * (1 + math.cos(math.pi * after))}[decay]


class Updater:
    """Owns the optimizers of a run and applies losses to them.

    A loss or gradient that is not finite never reaches the weights: the step of that optimizer is skipped and counted. On the CPU
    the check is a plain branch; elsewhere fused optimizers take it as a tensor, so that the device is never waited for.

    Args:
        system: What learns.
        runtime: Device, precision, ranks.
        clip: Greatest gradient norm per optimizer, or None.
        warmup: See `schedule`.
        decay: See `schedule`.
    """

    def __init__(
        self, system: System, runtime: Runtime, *, clip: float | None = None, warmup: float = 0.0, decay: str = "none"
    ) -> None:
        self.system, self.runtime, self.clip, self.warmup, self.decay = system, runtime, clip, warmup, decay
        self.optimizers: dict[str, Optimizer] = system.optimizers()
        if runtime.shards:
            shard(system, self.optimizers.values())
        self.owned = {
            name: [p for g in o.param_groups for p in g["params"] if p.requires_grad]
            for name, o in self.optimizers.items()
        }
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = float(group["lr"])
                if isinstance(optimizer, FUSED) and runtime.device.type in ("cpu", "cuda") and not group.get("foreach"):
                    group["fused"] = True
        # Where checking a number makes the host wait, the check stays on the device.
        self.waits = runtime.device.type != "cpu"
        scaled = runtime.precision == "fp16"
        self.scalers = {name: torch.amp.GradScaler(runtime.device.type, enabled=scaled) for name in self.optimizers}
        several = runtime.world > 1
        self.reductions = {name: Reduction(params) for name, params in self.owned.items() if several and params}
        self.kept: list[Tensor] = []
        self.flag = torch.zeros(1, device=runtime.device)
        self.step, self.steps, self.progress = 0, 1, 0.0
        self.ok = torch.ones((), dtype=torch.bool, device=runtime.device)
        self.blame: dict[str, Tensor] = {
            name: torch.zeros((), dtype=torch.long, device=runtime.device) for name in self.optimizers
        }
        self.in_a_row = torch.zeros((), dtype=torch.long, device=runtime.device)

    def begin(self, step: int, steps: int) -> None:
        """Set the clock and the learning rates for one step."""
        self.step, self.steps, self.progress = step, steps, step / steps
        factor = self.system.lr_scale(self.progress) * schedule(self.progress, self.warmup, self.decay)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        self.kept = [b.clone() for b in self.system.buffers()]
        self.ok = torch.ones_like(self.ok)

    def __call__(self, name: str, loss: Tensor) -> None:
        """Send `loss` back onto what optimizer `name` owns, reduce over ranks, guard, clip, and step that optimizer."""
        self.add(name, loss)
        self.apply(name)

    def add(self, name: str, loss: Tensor, part: int = 0, parts: int = 1) -> None:
        """Send the loss of a part of the batch back onto what optimizer `name` owns; with the last part reduce over ranks."""
        params, scaled = self.owned[name], self.scalers[name].scale(loss)
        # loss · 0 is 0 for a finite loss and NaN otherwise, so that one message tells every rank.
        flag = (loss.detach().float() * 0).reshape(1)
        if part == 0:
            self.flag = flag
            for p in params:
                p.grad = None
        else:
            self.flag += flag
        scaled = scaled / parts if parts > 1 else scaled
        if name in self.reductions and part == parts - 1:
            self.reductions[name].backward(scaled, self.flag)
        else:
            torch.autograd.backward(scaled, inputs=params)

    def apply(self, name: str) -> None:
        """Guard and clip the gradients of what optimizer `name` owns, and step it."""
        optimizer, params, scaler, flag = self.optimizers[name], self.owned[name], self.scalers[name], self.flag
        scaler.unscale_(optimizer) if scaler.is_enabled() else None
        norm = total_norm(params)
        finite = torch.isfinite(flag[0] + norm)
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(params, self.clip, norm)
        if scaler.is_enabled():
            scaler.step(optimizer)
            scaler.update()
            finite = torch.isfinite(flag[0])  # an overflowing scaled gradient is the scaler's daily work
        elif not self.waits:
            if finite:
                optimizer.step()
        elif all(g.get("fused") for g in optimizer.param_groups):
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            optimizer.step()
        elif bool(finite):
            optimizer.step()
        # Autocast holds low-precision copies of weights for the whole step: the next player must see these as they are now.
        torch.clear_autocast_cache()
        self.ok = self.ok & finite
        self.blame[name] += ~finite
        for p in params:
            p.grad = None

    def end(self) -> None:
        """Finish a step: undo what a bad batch did to running statistics and pools, and let ranks agree on running means."""
        self.in_a_row = torch.where(self.ok, 0, self.in_a_row + 1)
        if self.waits:
            for kept, b in zip(self.kept, self.system.buffers(), strict=True):
                b.copy_(torch.where(self.ok, b, kept))
        elif not self.ok:
            for kept, b in zip(self.kept, self.system.buffers(), strict=True):
                b.copy_(kept)
        for shared in shared_buffers(self.system) if self.runtime.world > 1 else ():
            shared.copy_(mean_over_ranks(shared))

    def counts(self) -> dict[str, int]:
        """Count the skipped steps of each optimizer so far."""
        return {name: int(count) for name, count in self.blame.items()}


class Average:
    """Keeps the exponential moving average of a system's parameters; buffers are copied (running statistics are averages already).

    Args:
        system: What is averaged.
        decay: Weight of the past per step; at the start it is at most (1 + t) / (10 + t), so that early weights are forgotten.
    """

    def __init__(self, system: System, decay: float) -> None:
        self.decay, self.source = decay, system
        self.system = deepcopy(system).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the parameters."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.system.parameters()), list(self.source.parameters()), 1 - decay)
        for a, b in zip(self.system.buffers(), self.source.buffers(), strict=True):
            a.copy_(b)
