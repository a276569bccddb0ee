"""What a training step of a GAN costs: the trainer against a plain loop over the same nets and the same algorithm.

    python -m benchmarks.bench_gans [--systems wgan-gp,sngan,progan,stylegan2,infogan] [--rounds 5] [--width 32] [--size 32] [--batch 32]
                                    [--threads 1] [--cpu-time]

* plain: what one writes by hand, in the default memory format and float32, with default Adam. For wgan-gp, infogan and stylegan2 the nets and
  loops of plain_gans.py, written with PyTorch's own layers after the published programs; it says what each does. For sngan and progan
  genzoo's own nets and `training_step`, with zero_grad / backward / step for every player; a generator's step computes the
  discriminator's gradients as well and throws them away. The losses are read with `.item()` at every step, to print them.
* own step (where plain is another): genzoo's own nets and `training_step` in that way, without the trainer: what its layouts, fused
  optimizer and spared gradients are worth by themselves.
* mimicry: the same system in torch-mimicry (its own nets, `train_step` and log), where that is installed (pip install --no-deps torch-mimicry);
  sngan only, with nets of the same widths: of the six the only one whose published PyTorch code still runs on today's PyTorch by itself.
* genzoo: the trainer's step, with its batches, schedules, guards, logs and averaged weights (which the plain loop lacks).
* genzoo, bf16: the same with precision=bf16, which is what precision=auto chooses on processors with bf16 arithmetic.

A round is one cycle of an algorithm (five steps where the generator moves every fifth, sixteen of stylegan2: one R1 and two path lengths).
Loops are interleaved round by round, in changing order. `--cpu-time` counts this process's CPU time and not the clock: right on a busy
machine with one thread. Ratios are medians over rounds; the quartiles of the ratio stand beside them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from benchmarks import plain_gans
from genzoo.core.system import System
from genzoo.data import DataSettings, open_data, to_float
from genzoo.runs.folder import new_run
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings

CPU = torch.device("cpu")
CYCLES = {"wgan-gp": 5, "sngan": 5, "stylegan2": 16}
OWN: dict[str, dict[str, Any]] = {
    "wgan-gp": {},
    "sngan": {"critic_steps": 5},
    "progan": {"grow": 0.0, "most": 128, "latent": 128},
    "stylegan2": {"most": 128, "latent": 128},
    "infogan": {},
}


class Plain:
    """An `Update` as one writes it by hand."""

    def __init__(self, system: System) -> None:
        self.optimizers, self.step, self.steps, self.progress = system.optimizers(), 0, 10**6, 0.0

    def __call__(self, name: str, loss: Tensor) -> None:
        """Gradients of everything that the loss depends on, and a step of one player."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        self.optimizers[name].step()


def build(name: str, size: int, width: int) -> System:
    """The system at the benchmark's size, the same weights every time."""
    torch.manual_seed(0)
    return genzoo.create(name, shape=(3, size, size), width=width, **OWN[name]).train()


def written_step(name: str, data: str, size: int, width: int, batch: int) -> Callable[[], None] | None:
    """One step of the loop in plain_gans.py; None where there is none."""
    if name not in plain_gans.LOOPS:
        return None
    torch.manual_seed(0)
    nets, loop = plain_gans.LOOPS[name](size, width)
    theirs, ours = (
        sum(p.numel() for net in kind for p in net.parameters()) for kind in (nets, [build(name, size, width)])
    )
    if theirs != ours:
        raise SystemExit(f"{name}: {theirs:,} parameters by hand, {ours:,} in genzoo")
    images = np.ascontiguousarray(open_data(DataSettings(data), kind="labelled", quiet=True).fields["image"])
    source = np.random.default_rng(0)

    def step() -> None:
        chosen = source.integers(0, len(images), batch)
        loop(torch.from_numpy(images[chosen]).float() / 127.5 - 1)

    return step


def plain_step(name: str, data: str, size: int, width: int, batch: int) -> Callable[[], None]:
    """One step of the plain loop over genzoo's own nets."""
    system, source = build(name, size, width), np.random.default_rng(0)
    fields = open_data(DataSettings(data), kind="labelled", quiet=True).fields
    images, labels = np.ascontiguousarray(fields["image"]), np.asarray(fields["label"][:])
    update = Plain(system)

    def step() -> None:
        chosen = source.integers(0, len(images), batch)
        real = torch.from_numpy(images[chosen]).float() / 127.5 - 1
        logs = system.training_step({"image": real, "label": torch.from_numpy(labels[chosen])}, update)
        _ = {k: v.item() for k, v in logs.items()}
        update.step += 1

    return step


def mimicry_step(name: str, data: str, size: int, width: int, batch: int) -> Callable[[], None] | None:
    """One step of torch-mimicry's loop; None where it has no such system, or is not installed."""
    found = importlib.util.find_spec("torch_mimicry") if name == "sngan" and size == 32 else None
    if found is None or found.submodule_search_locations is None:
        return None
    for package in ("torch_mimicry", "torch_mimicry.training"):  # as they are, they import torchvision and TensorFlow
        where = Path(found.submodule_search_locations[0]).parent / package.replace(".", "/")
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(where)]
    nets = importlib.import_module("torch_mimicry.nets.sngan.sngan_32")
    log = importlib.import_module("torch_mimicry.training.metric_log").MetricLog()
    torch.manual_seed(0)
    g, d = nets.SNGANGenerator32(ngf=width), nets.SNGANDiscriminator32(ndf=width // 2)
    ours = build(name, size, width)
    sizes = [sum(p.numel() for p in net.parameters()) for net in (g, d, ours.G, ours.D)]
    print(f"mimicry: G {sizes[0]:,} and D {sizes[1]:,} parameters; genzoo: {sizes[2]:,} and {sizes[3]:,}", flush=True)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), 2e-4, betas=(0.0, 0.9)) for net in (g, d))
    source, steps = np.random.default_rng(0), iter(range(10**9))
    fields = open_data(DataSettings(data), kind="labelled", quiet=True).fields
    images, labels = np.ascontiguousarray(fields["image"]), np.asarray(fields["label"][:])

    def step() -> None:
        chosen, i = source.integers(0, len(images), batch), next(steps)
        real = torch.from_numpy(images[chosen]).float() / 127.5 - 1
        given = {
            "real_batch": (real, torch.from_numpy(labels[chosen])),
            "log_data": log,
            "device": CPU,
            "global_step": i,
        }
        d.train_step(netG=g, optD=opt_d, **given)
        if (i + 1) % CYCLES[name] == 0:
            g.train_step(netD=d, optG=opt_g, **given)

    return step


def trainer_step(
    name: str, data: str, size: int, width: int, batch: int, folder: Path, precision: str
) -> Callable[[], None]:
    """One step of the trainer."""
    system = build(name, size, width).to(memory_format=torch.channels_last)
    settings = TrainSettings(steps=10**6, batch=batch, ema=0.999, warmup=0.0, decay="none")
    run = new_run(str(folder), None, "bench")
    dataset = open_data(DataSettings(data), kind="labelled", quiet=True)
    trainer = Trainer(system, dataset, Runtime(CPU, precision), settings, run, {}, quiet=True)

    def step() -> None:
        trainer._one(to_float(trainer.batches.at(trainer.step), CPU, torch.channels_last))
        trainer.step += 1

    return step


def compare(name: str, a: argparse.Namespace, data: str, folder: Path) -> None:
    """Time one system's loops and print them."""
    sizes = (data, a.size, a.width, a.batch)
    by_hand, own = written_step(name, *sizes), plain_step(name, *sizes)
    loops = {
        "plain": by_hand or own,
        "own step": own if by_hand else None,
        "mimicry": mimicry_step(name, *sizes),
        "genzoo": trainer_step(name, *sizes, folder, "fp32"),
        "genzoo, bf16": trainer_step(name, *sizes, folder, "bf16"),
    }
    loops = {label: loop for label, loop in loops.items() if loop}
    clock = time.process_time if a.cpu_time else time.perf_counter
    steps, order = CYCLES.get(name, 4), list(loops)
    times: dict[str, list[float]] = {label: [] for label in loops}
    for r in range(a.rounds + 1):
        random.Random(r).shuffle(order)
        for label in order:
            start = clock()
            for _ in range(steps):
                loops[label]()
            if r:  # the first round warms up
                times[label].append((clock() - start) / steps)
    cells = [f"{label} {1000 * statistics.median(t):7.1f} ms" for label, t in times.items()]
    for other in [label for label in ("plain", "own step", "mimicry") if label in loops]:
        for label in ("genzoo", "genzoo, bf16"):
            ratios = [x / y for x, y in zip(times[other], times[label], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            cells.append(f"{label} to {other}: {middle:.2f}x ({low:.2f} to {high:.2f})")
    print(f"{name:10}", " | ".join(cells), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("threads", 1), ("rounds", 5), ("width", 32), ("size", 32), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--systems", default=",".join(OWN), help="which, separated by commas")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time of this process; use --threads 1")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    unit = "CPU time" if a.cpu_time else "wall clock"
    print(
        f"{a.size}x{a.size}x3, width {a.width}, batch {a.batch}, {a.threads} thread(s), torch {torch.__version__}, {unit} a step"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder, rng = Path(temporary), np.random.default_rng(0)
        images = rng.integers(0, 256, (1024, a.size, a.size, 3), dtype=np.uint8)
        np.savez(folder / "images.npz", images=images, labels=rng.integers(0, 10, 1024))
        for name in a.systems.split(","):
            compare(name, a, str(folder / "images.npz"), folder)


if __name__ == "__main__":
    main()
