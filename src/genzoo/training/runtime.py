"""Where a training runs: device, precision, ranks, random state."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genzoo.core.errors import UserError
from genzoo.saved.devices import has_bf16, pick_device

Net = TypeVar("Net", bound=nn.Module)
Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Holds the device, the precision and this process's place among the ranks.

    Args:
        device: Where tensors live.
        precision: "fp32", "bf16" or "fp16".
        rank: This process, from 0.
        world: Number of processes.
    """

    device: torch.device
    precision: Precision
    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Return True on the rank that writes files."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which networks run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def mean(self, tensors: list[Tensor]) -> None:
        """Average tensors over ranks in place, as one message."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.world
        for t, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def same(self, module: nn.Module) -> None:
        """Copy the parameters and buffers of the first rank to all others."""
        if self.world > 1:
            for t in [*module.parameters(), *module.buffers()]:
                dist.broadcast(t.data, 0)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            dist.barrier()

    def agree(self, value: str) -> str:
        """Send a text from the first rank to all others, and return it on each."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def largest(self, value: int) -> int:
        """Find the largest of all ranks' values: how a signal on one rank stops them all."""
        if self.world == 1:
            return value
        t = torch.tensor([value], device=self.device if self.device.type == "cuda" else "cpu")
        dist.all_reduce(t, op=dist.ReduceOp.MAX)
        return int(t)


def start(
    device: str = "auto", precision: Precision | Literal["auto"] = "auto", *, deterministic: bool = True
) -> Runtime:
    """Choose device and precision, and join the other ranks when torchrun has started this process."""
    where = pick_device(device)
    if where.type == "cuda":
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = not deterministic
    if precision == "auto":
        precision = "bf16" if has_bf16(where) else "fp32"
    if precision == "fp16" and where.type == "cpu":
        raise UserError("precision=fp16 is not for the CPU; give bf16 or fp32")
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        return Runtime(where, precision)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    return Runtime(where, precision, dist.get_rank(), dist.get_world_size())


def laid_out(net: Net) -> Net:
    """Return the net with the channels of a pixel side by side in its filters, which convolutions of images are faster with.

    Nets with three-dimensional filters stay as they are, because for those the format has no meaning.
    """
    sides = {p.ndim for p in net.parameters()}
    if 4 in sides and 5 not in sides:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own signature leaves this out
    return net


def leave(code: int = 0) -> None:
    """End a process that was one of several ranks: part from the others, then exit at once.

    Without the hard exit, threads of gloo abort one interpreter in a few while it shuts down (seen with torch 2.13), and a finished
    training would look like a failed one.
    """
    if dist.is_initialized():
        if code == 0:
            dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
