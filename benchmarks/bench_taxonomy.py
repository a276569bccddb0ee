"""What a training step and a sample of every system cost, side by side on one machine: src/genzoo/use/paces.json.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_taxonomy             every system
    OMP_NUM_THREADS=1 python -m benchmarks.bench_taxonomy dcgan vae   these again; the others stay as they are

Each system as `genzoo train NAME data=digits size=28` builds it, all settings at their defaults; where that is not possible, at 32x32, 64x64 or
96x96, in colour, or without a network that needs a file of weights, and the record says so. Captioned images are the drawn shapes at 32x32, clips
16 frames of 32x32, solids 32x32x32. Steps of 16 examples (2 where 16 take too long) through the trainer's own update, at five points spread over
a training, because some nets grow; then 4 samples, as after a whole training. CPU seconds of one thread; the machine may be shared, and all rows
are of one machine. docs/taxonomy.md and `genzoo advise` read the record.
"""

from __future__ import annotations

import datetime
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.core.schema import settings
from genzoo.core.system import Batch, System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.naming import registry
from genzoo.saved.loading import resolved
from genzoo.training.choices import complete
from genzoo.training.runtime import Runtime, laid_out, start
from genzoo.training.settings import TrainSettings
from genzoo.training.update import Updater
from proofs.machine import machine

OUT = Path(genzoo.__file__).parent / "use" / "paces.json"
SHAPES = {
    "captioned": ((3, 32, 32), (3, 64, 64)), "video": ((1, 16, 32, 32),), "voxels": ((1, 32, 32, 32),),
}  # fmt: skip
"""Kind of data -> shapes, the first that a system can be built for; `FLAT` for those that are not here."""
FLAT = ((1, 28, 28), (1, 32, 32), (3, 32, 32), (3, 64, 64), (3, 96, 96))
POINTS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of a training at which its steps are timed."""
BATCH, FEW, DRAWS, LONG, LIMIT = 16, 2, 4, 1.0, 60


def timed(work: Callable[[], object], *, every: int = 1, least: float = LONG, most: int = 20) -> float:
    """Mean CPU seconds of `work` over whole rounds of `every` calls, after one round to warm up.

    The first round counts where it alone takes `LIMIT` / 4.
    """

    def turn() -> float:
        start = time.process_time()
        for _ in range(every):
            work()
        return time.process_time() - start

    first = turn()
    if first > LIMIT / 4:
        return first / every
    spent, count = 0.0, 0
    while count < most and spent < least:
        spent += turn()
        count += every
    return spent / count


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
    for shape in SHAPES.get(cls.data, FLAT):
        for more in ({}, words):
            given: dict[str, Any] = {"shape": shape, "classes": 10, **more}
            if cls.data == "captioned":
                given["vocabulary"] = captioned(shape).facts()["vocabulary"]
            given |= {k: {**v, "hparams": {"shape": shape}} for k, v in inner.items()}
            try:
                kept = {k: v for k, v in given.items() if k in known and (k != "shape" or cls.data != "audio")}
                system = cls(**resolved(cls, kept))
                system.optimizers()
            except UserError as error:
                reason = error
                continue
            changed = {k: v for k, v in given.items() if k in more or (k == "shape" and v != (1, 28, 28))}
            return system, changed
    raise UserError(f"{cls.__name__}: {reason}")


def captioned(shape: tuple[int, ...]) -> Dataset:
    """The drawn shapes, with two sentences each."""
    return open_data(DataSettings("shapes", size=shape[1:]), kind="captioned", split="train", quiet=True)


def batch_for(system: System) -> Batch:
    """Sixteen examples of the kind of data that the system learns from: digits where that is possible."""
    shape = tuple(system.hparams["shape"])
    if system.data == "audio":
        return {"audio": 2 * torch.rand(BATCH, *shape) - 1, "label": torch.randint(0, 10, (BATCH,))}
    if system.data in ("video", "voxels"):
        return {system.data: torch.randint(0, 2, (BATCH, *shape)) * 2.0 - 1}
    if system.data == "captioned":
        return to_float(Batches(captioned(shape), BATCH, 0).at(0), "cpu")
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
        system.partial_fit(batch)
        system.finish_pass()
        passes += 1
    return time.process_time() - start


def measured(name: str, runtime: Runtime) -> dict[str, Any]:
    """The row of one system."""
    torch.manual_seed(0)
    cls = registry.system_class(name)
    system, changed = built(cls)
    able, batch = capabilities(system), batch_for(system)
    defaults = complete(cls, TrainSettings())
    row: dict[str, Any] = {
        "parameters": sum(p.numel() for p in system.parameters()),
        "steps": defaults.steps,
        "batch": defaults.batch,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "changed": {k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()},
    }
    system = laid_out(system)
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
            update.begin(
                int(20_000 * POINTS[step % len(POINTS)]) + step, 20_000
            )  # + step: every turn of players that take turns
            with runtime.autocast():
                system.training_step(batch, update)
            step += 1

        found = limited(lambda: timed(one, every=len(POINTS)))
        if found is None:  # a large net: fewer examples at a time
            batch = {k: v[:FEW] for k, v in batch.items()}
            row["changed"]["examples at a time"] = FEW
            found = limited(lambda: timed(one, every=len(POINTS)))
        if "samples" in able:  # of a net that grows, what a sample costs in the end
            update.begin(19_999, 20_000)
            with runtime.autocast():
                system.training_step(batch, update)
        row["step_per_example"] = None if found is None else found / row["changed"].get("examples at a time", BATCH)
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
    if names and kept.get("machine", machine()) != machine():
        raise SystemExit(
            f"the other rows are of another machine ({kept['machine']}, this is {machine()}); run it for every system"
        )
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
