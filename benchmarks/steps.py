"""A training step of a system as the trainer does it, for benchmarks: of this build, or of an earlier one that had its rooms elsewhere."""

from __future__ import annotations

import atexit
import importlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo

EXAMPLES = 64
"""Random examples that are trained on."""


def first_of(*places: str) -> Any:
    """Return what stands at the first of some places, "module:name", that exists in this build."""
    for place in places:
        module, name = place.split(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"this build has none of {', '.join(places)}")


def scratch() -> Path:
    """Return a folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="genzoo-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def pictures(shape: Sequence[int], count: int = EXAMPLES, seed: int = 0) -> np.ndarray:
    """Return smooth random images, uint8 [count, H, W, C]."""
    c, h, w = shape
    source = np.random.default_rng(seed)
    coarse = source.integers(0, 256, (count, -(-h // 4), -(-w // 4), c), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(4, 1).repeat(4, 2)[:, :h, :w])


def written(kind: str, shape: Sequence[int], folder: Path) -> str:
    """Write random examples of a kind of batch, and return what `data=` takes.

    Args:
        kind: A system's `data`: image, labelled, paired or unpaired.
        shape: Channels, height and width.
        folder: Where they are written.
    """
    images = pictures(shape)
    if kind in ("paired", "unpaired"):
        for name, seed in (("a", 0), ("b", 1)):
            np.save(folder / f"{name}.npy", pictures(shape, seed=seed))
        return f"{folder}/a.npy,{folder}/b.npy"
    np.savez(folder / "images.npz", images=images, labels=np.arange(EXAMPLES) % 10)
    return str(folder / "images.npz")


def step_of(
    system: Any, shape: Sequence[int], batch: int, precision: str = "fp32", ema: float = 0.0
) -> Callable[[], Tensor]:
    """Return one step of the trainer on a system; what it returns are the numbers that it logs.

    Args:
        system: Of this build.
        shape: Channels, height and width of the random images that it trains on.
        batch: Examples in a step.
        precision: fp32 or bf16.
        ema: Decay of averaged weights; 0 for none.
    """
    trainer_of = first_of("genzoo.training.loop:Trainer", "genzoo.training:Trainer")
    settings_of = first_of("genzoo.training.settings:TrainSettings", "genzoo.training:TrainSettings")
    new_run = first_of("genzoo.runs.folder:new_run", "genzoo.training.folder:new_run")
    start = first_of("genzoo.training.runtime:start")
    data, to_float = importlib.import_module("genzoo.data"), first_of("genzoo.data:to_float")
    folder, device = scratch(), torch.device("cpu")
    system = system.train().to(memory_format=torch.channels_last)
    dataset = data.open_data(data.DataSettings(written(system.data, shape, folder)), kind=system.data, quiet=True)
    settings = settings_of(steps=10**6, batch=batch, ema=ema, warmup=0.0, decay="none")
    run = new_run(str(folder), None, "bench")
    trainer = trainer_of(system, dataset, start("cpu", precision), settings, run, {}, quiet=True)

    def step() -> Tensor:
        logs = trainer._one(to_float(trainer.batches.at(trainer.step), device, torch.channels_last))
        trainer.step += 1
        return torch.stack([v.detach().float() for v in logs.values()])

    return step


def made(name: str, **settings: Any) -> Any:
    """Return a system with the same weights every time."""
    torch.manual_seed(0)
    return genzoo.create(name, **settings)
