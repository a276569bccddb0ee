"""What a training step and a sample of every system cost, side by side on one machine: src/genzoo/use/paces.json.

    OMP_NUM_THREADS=1 python benchmarks/bench_taxonomy.py             every system
    OMP_NUM_THREADS=1 python benchmarks/bench_taxonomy.py dcgan vae   these again; the others stay as they are

Each system as `genzoo train NAME data=digits size=28` builds it, all settings at their defaults; where that is not possible, at 32x32 or 64x64,
in colour, or without a network that needs a file of weights, and the record says so. Steps of 16 digits through the trainer's own update, then
4 samples. CPU seconds of one thread; the machine may be shared. docs/taxonomy.md and `genzoo advise` read the record.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from proofs import machine

import genzoo
from genzoo.core import registry
from genzoo.core.errors import UserError
from genzoo.core.pictures import write_atomic
from genzoo.core.schema import settings
from genzoo.core.system import Batch, System, capabilities
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.training import complete
from genzoo.training.runtime import Runtime, start
from genzoo.training.settings import TrainSettings
from genzoo.training.update import Updater

OUT = Path(genzoo.__file__).parent / "use" / "paces.json"
KINDS = ("image", "labelled", "exemplar", "paired", "unpaired", "audio")
BATCH, DRAWS, LONG, LIMIT = 16, 4, 1.0, 25


def timed(work: Callable[[], object], *, least: float = LONG, most: int = 20) -> float:
    """Mean CPU seconds of `work` after one call to warm up; the first call counts where it alone takes `LIMIT` / 4."""
    start = time.process_time()
    work()
    first = time.process_time() - start
    if first > LIMIT / 4:
        return first
    start, count = time.process_time(), 0
    while count < most and time.process_time() - start < least:
        work()
        count += 1
    return (time.process_time() - start) / count


def limited(work: Callable[[], float]) -> float | None:
    """The result of `work`, or None where it has not come in LIMIT seconds of CPU time."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        return work()
    except TimeoutError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def built(cls: type[System]) -> tuple[System, dict[str, Any]]:
    """A system at its defaults for digits, and what had to be other than 28x28 and the defaults."""
    known = settings(cls)
    inner = {k: v for k, v in cls.tiny.items() if isinstance(v, dict) and "system" in v}
    words = {k: v for k, v in cls.tiny.items() if isinstance(v, str)}
    reason: UserError | None = None
    for shape in ((1, 28, 28), (1, 32, 32), (3, 32, 32), (3, 64, 64)):
        for more in ({}, words):
            given: dict[str, Any] = {"shape": shape, "classes": 10, **more}
            given |= {k: {**v, "hparams": {"shape": shape}} for k, v in inner.items()}
            try:
                system = cls(**{k: v for k, v in given.items() if k in known and (k != "shape" or cls.data != "audio")})
                system.optimizers()
            except UserError as error:
                reason = error
                continue
            changed = {k: v for k, v in given.items() if k in more or (k == "shape" and v != (1, 28, 28))}
            return system, changed
    raise UserError(f"{cls.__name__}: {reason}")


def batch_for(system: System) -> Batch:
    """Sixteen digits, as the kind of data that the system learns from."""
    shape = tuple(system.hparams["shape"])
    if system.data == "audio":
        return {"audio": 2 * torch.rand(BATCH, *shape) - 1, "label": torch.randint(0, 10, (BATCH,))}
    data = open_data(DataSettings("digits", size=shape[1:], channels=shape[0]), split="train", quiet=True)
    batch = to_float(Batches(data, BATCH, 0).at(0), "cpu")
    if system.data in ("paired", "unpaired"):
        return {"a": batch["image"], "b": -batch["image"]}
    if system.data == "exemplar":
        return {k: v[:1] for k, v in batch.items()}
    return batch


def fit(system: System, batch: Batch) -> float:
    """CPU seconds of a whole fit."""
    start, passes = time.process_time(), 0
    while not system.converged and passes < 100:
        system.observe(batch)
        system.end_of_pass()
        passes += 1
    return time.process_time() - start


def measured(name: str, runtime: Runtime) -> dict[str, Any]:
    """The row of one system."""
    torch.manual_seed(0)
    cls = registry.system_class(name)
    if cls.data not in KINDS:
        raise UserError(f"this benchmark has no {cls.data} data")
    system, changed = built(cls)
    able, batch = capabilities(system), batch_for(system)
    defaults = complete(cls, TrainSettings())
    row: dict[str, Any] = {
        "parameters": sum(p.numel() for p in system.parameters()),
        "steps": defaults.steps,
        "batch": defaults.batch,
        "changed": {k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()},
    }
    if any(p.ndim == 4 for p in system.parameters()):
        system = system.to(memory_format=torch.channels_last)
    if "prepares" in able:
        batch = system.prepare(batch)
    if "fits" in able:
        whole = to_float(
            Batches(open_data(DataSettings("digits", size=28), split="train", quiet=True), 1000, 0).at(0), "cpu"
        )
        row["fit"] = limited(lambda: fit(system, batch if system.data == "exemplar" else whole))
    else:
        update, step = Updater(system.train(), runtime), 0

        def one() -> None:
            nonlocal step
            update.begin(step, 20_000)
            with runtime.autocast():
                system.training_step(batch, update)
            step += 1

        found = limited(lambda: timed(one))
        row["step_per_example"] = None if found is None else found / BATCH
    if "samples" in able:
        system.eval()
        n = 1 if system.data == "exemplar" else DRAWS
        with torch.no_grad():
            found = limited(lambda: timed(lambda: system.sample(n, generator=torch.Generator().manual_seed(0)), most=5))
        row["draw"] = None if found is None else found / n
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in row.items()}


def main(names: list[str]) -> None:
    """Measure and write."""
    kept = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {"systems": {}}
    runtime = start("cpu")
    for name in names or registry.entries():
        began = time.process_time()
        try:
            kept["systems"][name] = measured(name, runtime)
        except UserError as error:
            kept["systems"][name] = {"why": str(error).split("\n", 1)[0]}
        print(f"{name:20} {time.process_time() - began:6.1f} s  {kept['systems'][name]}", flush=True)
        kept |= {
            "limit": LIMIT, "machine": machine(), "precision": runtime.precision,
            "systems": {n: kept["systems"][n] for n in sorted(kept["systems"]) if n in registry.entries()},
        }  # fmt: skip
        write_atomic(OUT, (json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
