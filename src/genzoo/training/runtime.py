"""Where a training runs: device, precision, ranks, random state."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from genzoo.core.errors import UserError
from genzoo.ranks.launch import launched, meet
from genzoo.saved.devices import has_bf16, keep_memory, pick_device

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
        shards: Each of them keeps a piece of every large parameter alone.
    """

    device: torch.device
    precision: Precision
    rank: int = 0
    world: int = 1
    shards: bool = False

    @property
    def main(self) -> bool:
        """Return True on the rank that writes files."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which networks run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])


def start(
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    *,
    deterministic: bool = True,
    patience: float = 30.0,
) -> Runtime:
    """Choose device and precision, and join the other ranks when torchrun has started this process; `patience` as in the settings."""
    where = pick_device(device)
    keep_memory()
    if where.type == "cuda":
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = not deterministic
    if precision == "auto":
        precision = "bf16" if has_bf16(where) else "fp32"
    if precision == "fp16" and where.type == "cpu":
        raise UserError("precision=fp16 is not for the CPU; give bf16 or fp32")
    if launched() == 1:
        return Runtime(where, precision)
    meet("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo", patience)
    return Runtime(where, precision, dist.get_rank(), dist.get_world_size())


def laid_out(net: Net) -> Net:
    """Return the net with the channels of a pixel side by side in its filters, which convolutions of images are faster with.

    Nets with three-dimensional filters stay as they are, because for those the format has no meaning.
    """
    sides = {p.ndim for p in net.parameters()}
    if 4 in sides and 5 not in sides:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own signature leaves this out
    return net
