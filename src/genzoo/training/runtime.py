"""Where a training runs: device, precision, ranks, random state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genzoo.core.errors import UserError
from genzoo.ranks.launch import launched, meet
from genzoo.saved.devices import keep_memory, pick_device

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


def has_bf16(device: torch.device) -> bool:
    """Return True where bf16 is the hardware's own: on the CPU avx512_bf16 or amx, since an emulated bf16 is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or not flags.exists():
        return False
    words = next(
        (line for line in flags.read_text(encoding="utf-8").splitlines() if line.startswith("flags")), ""
    ).split()
    return "avx512_bf16" in words or "amx_bf16" in words


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


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of the default generators, as tensors."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    # The clones are needed: set_rng_state reads past a view's offset.
    torch.set_rng_state(state["cpu"].clone())
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].clone(), device)
    if "mps" in state and device.type == "mps":
        torch.mps.set_rng_state(state["mps"].clone())


@contextlib.contextmanager
def untouched_randomness(device: torch.device, seed: int) -> Iterator[torch.Generator]:
    """Lend a seeded generator for a picture or a measure, and leave the default generators as they were."""
    before = random_state(device)
    try:
        torch.manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)
    finally:
        set_random_state(before, device)
