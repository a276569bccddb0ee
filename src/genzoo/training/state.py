"""What a training has learned so far, as tensors and JSON: all that resuming needs beside the run's settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.system import System
from genzoo.ranks.shards import collected, cut, owners
from genzoo.saved import checkpoint
from genzoo.saved.loading import fill
from genzoo.saved.randomness import random_state
from genzoo.training.update import Average, Updater


def gather(
    system: System, update: Updater, average: Average | None, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Collect weights, buffers, averages, optimizers, counts and generators: all ranks hold the same, so that one speaks for all.

    Where they keep pieces, all of them have to come by, and the first one gets what is whole (`ranks.shards`).
    """
    tensors = checkpoint.pack("rng", random_state(device))
    tensors |= checkpoint.pack("buffers", dict(system.named_buffers()))
    optim: dict[str, Any] = {}
    for name, optimizer in update.optimizers.items():
        more, optim[name] = checkpoint.optimizer_tensors(name, optimizer)
        tensors |= collected(more, owners(name, optimizer, more))
    tensors |= checkpoint.pack("params", collected(dict(system.named_parameters())))
    if average:
        tensors |= checkpoint.pack("ema", collected(average.system.state_dict(keep_vars=True)))
    tensors |= {f"skipped.{k}": v for k, v in update.blame.items()} | {"in_a_row": update.in_a_row}
    return tensors, {"optim": optim, "scalers": {k: v.state_dict() for k, v in update.scalers.items()}}


def put_back(
    system: System,
    update: Updater,
    average: Average | None,
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    file: Path,
    config: Path,
) -> None:
    """Give weights, averages, optimizers and counts the state that a checkpoint holds.

    Args:
        system: What learns.
        update: Its optimizers.
        average: Its averaged weights.
        tensors: Those of the checkpoint.
        meta: Its JSON part.
        file: The checkpoint; for messages.
        config: The settings; for messages.

    Raises:
        UserError: Of another network than the settings say.
        KeyError, ValueError ...: It holds no state of these optimizers; see `damage_is_said`.
    """
    state = checkpoint.unpack("params", tensors) | checkpoint.unpack("buffers", tensors)
    for prefix, module in system.named_modules():
        if hasattr(module, "earlier"):  # it has buffers that a run of an earlier version has not
            module.earlier(state, f"{prefix}.")
    another = f"{file} is of another network than {config} describes"
    fill(system, cut(state, dict(system.named_parameters())), another, live=True)
    if average:
        averaged = average.system.state_dict(keep_vars=True)
        fill(average.system, cut(checkpoint.unpack("ema", tensors), averaged), another)
    for name, optimizer in update.optimizers.items():
        own = cut(tensors, owners(name, optimizer, tensors))
        checkpoint.restore_optimizer(name, optimizer, own, meta["optim"][name])
        update.scalers[name].load_state_dict(meta["scalers"][name])
        update.blame[name].copy_(tensors[f"skipped.{name}"])
    update.in_a_row.copy_(tensors["in_a_row"])


@contextlib.contextmanager
def damage_is_said(file: Path) -> Iterator[None]:
    """Name a checkpoint whose parts are not those of such a training.

    Raises:
        DamagedFile: Instead of the error that a missing or other part makes.
    """
    try:
        yield
    except UserError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedFile(f"{file} is damaged: it holds no whole state of the optimizers of this run") from error
