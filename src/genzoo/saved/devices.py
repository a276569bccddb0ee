"""The device that a person asks for, and the memory that is free."""

from __future__ import annotations

import os

import torch

from genzoo.core.errors import UserError


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


def free_memory() -> int | None:
    """Return the bytes of memory that can be had without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = next(line for line in file if line.startswith("MemAvailable"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
