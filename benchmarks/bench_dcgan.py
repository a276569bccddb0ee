"""What a training step of dcgan costs: against a plain hand-written loop of the same nets, and against the bare maths.

    python -m benchmarks.bench_dcgan [--threads 2] [--rounds 30] [--steps 2] [--width 64] [--size 32] [--batch 64] [--cpu-time]

* plain: nn.Sequential nets in the default memory format, BCE with logits, default Adam, zero_grad / backward / step: what a
  tutorial writes. All gradients of the discriminator are computed in the generator's step and thrown away.
* bare: the system's own `training_step` in channels-last with fused Adam and `backward(inputs=...)`, and nothing else.
* genzoo: the trainer's step, with its batches, schedules, guards and logs (without averaged weights, which the others lack).
* genzoo + ema: the same with averaged weights.
* genzoo, bf16: the same with precision=bf16, which pays on processors with bf16 arithmetic (avx512_bf16, amx).

The loops are interleaved round by round, in changing order, so that other load on the machine meets all alike; medians are over
rounds. `--cpu-time` counts this process's CPU time and not the clock: right on a busy machine with one thread.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from genzoo.data import DataSettings, open_data, to_float
from genzoo.models.adversarial.dcgan import DCGAN
from genzoo.nn.gan.dcgan import stages
from genzoo.runs.folder import new_run
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings

Step = Callable[[], object]


def plain_nets(size: int, width: int) -> tuple[nn.Module, nn.Module]:
    """The two networks as a tutorial writes them, for square RGB images of 8, 16, 32 or 64 pixels."""
    k = stages(size, size)
    channels = [width * min(2**i, 8) for i in reversed(range(k))]
    g: list[nn.Module] = [nn.ConvTranspose2d(100, channels[0], 4, 1, 0, bias=False)]
    for a, b in zip(channels, [*channels[1:], None], strict=True):
        g += [nn.BatchNorm2d(a), nn.ReLU(True), nn.ConvTranspose2d(a, b or 3, 4, 2, 1, bias=b is None)]
    channels.reverse()
    d: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for a, b in itertools.pairwise(channels):
        d += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*g, nn.Tanh()), nn.Sequential(*d, nn.Conv2d(channels[-1], 1, 4), nn.Flatten(0))


def plain_loop(batches: Callable[[], Tensor], size: int, width: int, batch: int) -> Step:
    """One step of the hand-written loop."""
    g, d = plain_nets(size, width)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion, one, zero = nn.BCEWithLogitsLoss(), torch.ones(batch), torch.zeros(batch)

    def step() -> None:
        real = batches()
        fake = g(torch.randn(batch, 100, 1, 1))
        optimizer_d.zero_grad()
        d_loss = criterion(d(real), one) + criterion(d(fake.detach()), zero)
        d_loss.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        g_loss = criterion(d(fake), one)
        g_loss.backward()
        optimizer_g.step()

    return step


class Bare:
    """An `Update` that does nothing but backward and step."""

    def __init__(self, system: DCGAN) -> None:
        self.optimizers, self.step, self.steps, self.progress = system.optimizers(), 0, 1, 0.0
        self.owned = {k: [p for g in o.param_groups for p in g["params"]] for k, o in self.optimizers.items()}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["fused"] = True

    def __call__(self, name: str, loss: Tensor) -> None:
        """Backward onto what the optimizer owns, and its step."""
        for p in self.owned[name]:
            p.grad = None
        loss.backward(inputs=self.owned[name])
        self.optimizers[name].step()


def bare_loop(batches: Callable[[], Tensor], size: int, width: int) -> Step:
    """One step of the system's maths alone."""
    system = DCGAN((3, size, size), width=width).to(memory_format=torch.channels_last)
    update = Bare(system)
    return lambda: system.training_step({"image": batches()}, update)


def trainer_loop(
    folder: Path, data: str, size: int, width: int, batch: int, ema: float = 0.0, precision: str = "fp32"
) -> Step:
    """One step of the trainer."""
    dataset = open_data(DataSettings(data), quiet=True)
    system = DCGAN((3, size, size), width=width).to(memory_format=torch.channels_last)
    settings = TrainSettings(steps=10**6, batch=batch, ema=ema, warmup=0.0, decay="none")
    trainer = Trainer(
        system,
        dataset,
        Runtime(torch.device("cpu"), precision),
        settings,
        new_run(str(folder), None, "bench"),
        {},
        quiet=True,
    )

    def step() -> None:
        raw = trainer.batches.at(trainer.step)
        trainer._one(to_float(raw, torch.device("cpu"), torch.channels_last))
        trainer.step += 1

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("threads", 2), ("rounds", 30), ("steps", 2), ("width", 64), ("size", 32), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of this process, for busy machines; use --threads 1"
    )
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    clock = time.process_time if a.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = np.random.default_rng(0).integers(0, 256, (2048, a.size, a.size, 3), dtype=np.uint8)
        np.savez(folder / "images.npz", images=images)
        data = str(folder / "images.npz")
        dataset = open_data(DataSettings(data), quiet=True)
        stored, cpu = np.ascontiguousarray(dataset.fields["image"]), torch.device("cpu")

        def batches(layout: torch.memory_format) -> Callable[[], Tensor]:
            source = np.random.default_rng(0)

            def draw() -> Tensor:
                raw = torch.from_numpy(stored[source.integers(0, len(stored), a.batch)])
                return to_float({"image": raw}, cpu, layout)["image"]

            return draw

        loops: dict[str, Step] = {
            "plain": plain_loop(batches(torch.contiguous_format), a.size, a.width, a.batch),
            "bare": bare_loop(batches(torch.channels_last), a.size, a.width),
            "genzoo": trainer_loop(folder, data, a.size, a.width, a.batch),
            "genzoo + ema": trainer_loop(folder, data, a.size, a.width, a.batch, ema=0.999),
            "genzoo, bf16": trainer_loop(folder, data, a.size, a.width, a.batch, precision="bf16"),
        }
        times: dict[str, list[float]] = {name: [] for name in loops}
        order = list(loops)
        for r in range(a.rounds + 2):
            random.Random(r).shuffle(order)
            for name in order:
                start = clock()
                for _ in range(a.steps):
                    loops[name]()
                if r >= 2:
                    times[name].append((clock() - start) / a.steps)
    medians = {name: statistics.median(t) for name, t in times.items()}
    unit = "CPU time" if a.cpu_time else "wall clock"
    print(
        f"dcgan {a.size}x{a.size}, width {a.width}, batch {a.batch}, {a.threads} threads, torch {torch.__version__}, {unit}"
    )
    for name, t in times.items():
        low, *_, high = statistics.quantiles(t, n=4)
        print(f"{name:13} {1000 * medians[name]:7.1f} ms a step (quartiles {1000 * low:.1f} to {1000 * high:.1f})")

    def ratio(a: str, b: str) -> float:
        """Median over rounds of time a / time b."""
        return statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))

    print(f"genzoo trains at {ratio('plain', 'genzoo'):.2f} times the rate of the plain loop")
    print(f"with averaged weights: {ratio('plain', 'genzoo + ema'):.2f} times")
    print(f"with precision=bf16: {ratio('plain', 'genzoo, bf16'):.2f} times")
    print(f"the trainer costs {100 * (ratio('genzoo', 'bare') - 1):+.1f} % over the bare maths")


if __name__ == "__main__":
    main()
