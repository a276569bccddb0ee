"""The state of the default generators: kept, put back, and lent for what must leave no trace in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from genzoo.saved.checkpoint import unpack


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


def put_back_randomness(tensors: Mapping[str, Tensor], device: torch.device, otherwise: int) -> None:
    """Give the generators the state that a checkpoint holds; one begun on another device goes on from a seed.

    Args:
        tensors: Those of the checkpoint.
        device: Where the training goes on.
        otherwise: The seed: another noise than that of the beginning.
    """
    known = unpack("rng", tensors)
    if device.type not in known:
        torch.manual_seed(otherwise)
    set_random_state(known, device)
