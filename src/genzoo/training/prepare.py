"""What is computed from the data once, before the first step: codes of a tokenizer, features of a frozen network, a calibration."""

from __future__ import annotations

import copy
import dataclasses
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Calibrates, Fits, Prepares
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, to_float
from genzoo.data.cache import CacheWriter, Rows, digest_of, entry
from genzoo.ranks.launch import agree
from genzoo.ranks.parts import train_step
from genzoo.saved.randomness import untouched_randomness
from genzoo.saved.threads import candidates, fastest
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.update import Updater

CHUNK = 128
SURVEYED = 1000
"""Examples of one batch of a calibration."""


def calibrate(system: System, dataset: Dataset, runtime: Runtime, *, quiet: bool = False) -> None:
    """Let a system that asks for it look through the training set once, on the first rank; the others are to be given its buffers.

    A run that goes on has no need of it: what was found is in its checkpoint.
    """
    if not (isinstance(system, Calibrates) and system.calibrating and runtime.main):
        return
    if not quiet:
        print(f"looking through {len(dataset):,} examples once, before the first step", file=sys.stderr)
    batches = Batches(dataset, SURVEYED, 0)
    for step in range(batches.pass_length()):
        system.calibrate(to_float(batches.in_order(step), runtime.device))
    system.finish_calibration()


def prepared(system: System, dataset: Dataset, runtime: Runtime, *, quiet: bool = False) -> Dataset:
    """Replace the fields of a data set by what `system.prepare` makes of them, from the cache of decoded data if that has been done before.

    The data set itself is returned where the system prepares nothing, or where an example differs every time it is seen (`flip`, `crop`,
    `binarize=dynamic`). Prepared values are computed in float32 whatever the precision of the training, so that they are the same.
    """
    s = dataset.settings
    if not isinstance(system, Prepares) or s.flip or s.crop or s.binarize == "dynamic":
        return dataset
    said: list[str] = []

    def make(draft: CacheWriter) -> dict[str, Any]:
        said.append("computed")
        batches, rows = Batches(dataset, CHUNK, 0), dict[str, Rows]()
        was_training = system.training
        system.eval()
        with torch.no_grad():
            for step in range(batches.pass_length()):
                batch = to_float(batches.in_order(step), runtime.device)
                for name, values in system.prepare(batch).items():
                    array = _stored(values)
                    if step == 0:
                        rows[name] = draft.rows(name, array.shape[1:], array.dtype.type)
                    for row in array:
                        rows[name].append(np.asarray(row))
        system.train(was_training)
        return {"sections": {}, "class_names": [], "captions": [], "left": [], "notes": []}

    _, arrays, folder = entry(digest_of([dataset.digest, system.prepared_by()])[:32], make, quiet=quiet)
    if said and not quiet and runtime.main:
        print(f"prepared {len(dataset):,} examples once; they are kept in {folder}", file=sys.stderr)
    return dataclasses.replace(dataset, fields=arrays, stream=None)


def best_threads(system: System, dataset: Dataset, runtime: Runtime, settings: TrainSettings, *, quiet: bool) -> int:
    """Time steps of a copy with 1, 2, 4 ... threads under the load that there is, and say what it took."""
    most = torch.get_num_threads()
    if runtime.device.type != "cpu" or isinstance(system, Fits) or most == 1:
        return most
    batches = Batches(dataset, settings.batch or 1, settings.seed, runtime.rank, runtime.world)
    with untouched_randomness(runtime.device, settings.seed):
        trial = copy.deepcopy(system).train()
        update, batch = Updater(trial, runtime), to_float(batches.at(0), runtime.device, torch.channels_last)

        def step() -> None:
            update.begin(0, settings.steps or 1)
            train_step(trial, batch, update, settings.accumulate, runtime.autocast)
            update.end()

        count, seconds = fastest(step, candidates(most))
    count = int(agree(str(count)))
    if not quiet and runtime.main:
        told = ", ".join(f"{1000 * s:.0f} ms with {n}" for n, s in seconds.items())
        print(f"threads=auto: {count} ({told} a step, under the load of now); kept for this run", file=sys.stderr)
    return count


def _stored(values: Tensor) -> np.ndarray:
    """Store values as an array; integers in 32 bits (uint8 would be read back as an image)."""
    return (values if values.is_floating_point() else values.int()).cpu().numpy()


def compute_again(system: System, name: str) -> None:
    """Let all networks of a system that can keep less of a step.

    Args:
        system: The system.
        name: What it is called.

    Raises:
        UserError: None of its networks can.
    """
    able: list[Any] = [
        m for m in system.modules() if hasattr(m, "remat") and any(p.requires_grad for p in m.parameters())
    ]
    if not able:
        raise UserError(
            f"remat=true is for systems of many equal blocks, and {name} has no part that can be computed again; leave it out, or take a "
            "smaller batch"
        )
    for module in able:
        module.remat = True
