"""The state of the default generators: kept, put back, and lent for what must leave no trace in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


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
