"""The device that a person asks for, and the memory that is free."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

import torch

from genzoo.core.errors import UserError
from genzoo.core.system import System


def pick_device(wanted: str | torch.device) -> torch.device:
    """Choose the device that a person asks for, or with "auto" the best one there is.

    Raises:
        UserError: It is not on this machine; the message says what is.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        if device.type == "cpu" and device.index:
            raise RuntimeError("there is one CPU")  # torch takes any number
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        found = (
            ["cpu"]
            + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
            + ["mps"] * torch.backends.mps.is_available()
        )
        raise UserError(
            f"device={wanted} is not here; this machine has {', '.join(found)} (auto picks the best)"
        ) from None
    return device


def has_bf16(device: torch.device) -> bool:
    """Return True where bf16 is faster than fp32: on a CPU where it has AMX; with avx512_bf16 alone products take 1.7 times as long as in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and "amx_bf16" in _flags()


def _flags() -> list[str]:
    """Return what this machine's CPU can do, in Linux's words; nothing elsewhere."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return next((line for line in lines if line.startswith("flags")), "").split()


@functools.cache
def keep_memory() -> None:
    """Have this process keep the memory that it frees, for its next step, instead of giving it back to the system each time.

    What the system gives it first clears, page by page, and a network on a CPU would have its maps cleared anew at every step: up to an eighth of a
    step's time. Blocks over 32 MiB are given back at once as before. It changes nothing where the C library is not GNU's, and where the environment
    already says how memory is to be kept.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    trim, mapped = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    mallopt(mapped, 2**25)
    mallopt(trim, 2**31 - 1)


def free_memory() -> int | None:
    """Return the bytes of memory that can be had without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = next(line for line in file if line.startswith("MemAvailable"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def check_memory(name: str, system: System, device: torch.device, *, averaged: bool, processes: int = 1) -> None:
    """Refuse a network that cannot be trained in the memory that is free, which the kernel would answer by ending the process.

    A device of its own says itself when it is full. Counted is what training adds for certain: gradients, Adam's moments, averaged weights;
    and the copy of all but the gradients that is written to the disk.

    Args:
        name: What it is called.
        system: The network, with its weights in memory.
        device: Where it is to be trained.
        averaged: Whether averages of its weights are kept.
        processes: How many keep a piece each of what training adds; what is written, the first one has whole.
    """
    count = sum(p.numel() for p in system.parameters())
    kept = 4 * count if averaged else 0
    gradients = 0
    for optimizer in system.optimizers().values():
        trained = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        gradients += 4 * trained
        if isinstance(optimizer, torch.optim.Adam):
            kept += 4 * getattr(optimizer, "moments", 2) * trained
    need = (gradients + kept) // processes + kept + 4 * count
    if device.type == "cpu" and (free := free_memory()) is not None and need > free:
        raise UserError(
            f"{name} has {count:,} parameters at these settings; to train them takes {need / 1e9:.1f} GB of memory beside the weights, and "
            f"{free / 1e9:.1f} GB are free. Give a smaller size=, or a smaller network: 'genzoo show {name}' lists its settings"
        )
