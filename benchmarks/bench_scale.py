"""What a training step moves between ranks, and where moving outweighs computing: counts, and a sheet of arithmetic for machines that are not here.

    python -m benchmarks.bench_scale [SYSTEM ...]            counts, at the default size and at that of the -paper presets
    python -m benchmarks.bench_scale --check [SYSTEM ...]    the counts beside those of torch's profiler on 2 ranks
    python -m benchmarks.bench_scale --write                 the tables into docs/scale.md

A step is run on two random examples, for its floating-point operations (torch's counter, backward passes too) and for what every update sends: the
gradients of what its optimizer owns, in float32, and one number that says whether the loss was finite. What modules average over ranks is sent once a
step. Statistics of the batch (batch normalization, codebooks) come on top; the profiler sees them too. Numbers of the machines are assumptions,
`MACHINES`; nothing was run on them.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.profiler import ProfilerActivity, profile

import genzoo
from benchmarks import frame
from genzoo.core.capabilities import Calibrates, Fits
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.naming import registry
from genzoo.ranks.batch import one_batch
from genzoo.ranks.parts import shared_buffers
from genzoo.ranks.reduce import FIRST, LATER
from genzoo.testing.data import batch_for
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
RATE = 100e12
"""Floating-point operations a second of one GPU: a tenth of what one of today's is said to do in bf16, for nets of this size fill it badly."""


CYCLE = 16
"""Steps that are counted where the second is not like the first: critics that learn alone, penalties that come every few steps."""


@dataclass(frozen=True)
class Machine:
    """GPUs that train together.

    Args:
        gpus: How many.
        bandwidth: Bytes a second that each sends to the next of a ring.
        latency: Seconds that each of the ring's messages takes besides.
    """

    gpus: int
    bandwidth: float
    latency: float

    def seconds(self, moved: float, messages: int) -> float:
        """A ring all-reduce sends 2 (N - 1) / N of what is reduced from each to the next, in 2 (N - 1) pieces a message."""
        return 2 * (self.gpus - 1) * (moved / self.gpus / self.bandwidth + messages * self.latency)


MACHINES = {
    "8 GPUs, 400 GB/s": Machine(8, 400e9, 2e-6),
    "64, 50 GB/s": Machine(64, 50e9, 5e-6),
    "1,024, 50 GB/s": Machine(1024, 50e9, 5e-6),
    "8, 1.25 GB/s": Machine(8, 1.25e9, 30e-6),
}
"""Links within one host; 400 Gbit/s a GPU between hosts; 10 Gbit/s Ethernet."""


@dataclass(frozen=True)
class Count:
    """What one step is.

    Args:
        name: The system, or its preset.
        parameters: Numbers that are learned.
        moved: Bytes that a rank gives to the sums of a step.
        messages: Sums of a step.
        flops: Operations of a step, an example.
        steps: Steps that these are the mean of.
    """

    name: str
    parameters: int
    moved: float
    messages: float
    flops: float
    steps: int

    def bend(self, machine: Machine) -> int:
        """Examples a GPU from which on computing takes longer than moving."""
        return max(1, math.ceil(machine.seconds(self.moved, self.messages) * RATE / self.flops))


class Counting(Updater):
    """An updater that notes what it would send."""

    sent = 0
    calls = 0

    def __init__(self, system: System, runtime: Runtime) -> None:
        super().__init__(system, runtime)
        self.called: set[str] = set()

    def cycle(self) -> int:
        """Steps to count: two, or until everybody's gradients have been sent."""
        return 2 if self.called == set(self.optimizers) else CYCLE

    def __call__(self, name: str, loss: torch.Tensor) -> None:
        """Note it, and do as ever."""
        sent = sum(p.numel() * p.element_size() for p in self.owned[name])
        # whether the loss was finite, what had a gradient, and the gradients: a small message first, then large ones
        self.calls += 3 + math.ceil(max(0, sent - FIRST) / LATER)
        self.called.add(name)
        self.sent += 4 + sent
        super().__call__(name, loss)


def ready(name: str) -> System:
    """A system as its training begins: calibrated where it has to be.

    Raises:
        UserError: It cannot be built from its name alone.
    """
    torch.manual_seed(0)
    system = genzoo.create(name).train()
    if isinstance(system, Calibrates) and system.calibrating:
        system.calibrate(batch_for(system, 8))
        system.finish_calibration()
    return system


def step(system: System, update: Updater, number: int = 0) -> None:
    """One step on two random examples."""
    update.begin(number, 100)
    with one_batch(2):
        system.training_step(batch_for(system, 2, number), update)
    update.end()


def count(name: str) -> Count:
    """Run one step and count.

    Raises:
        UserError: The system does not learn by steps, or cannot be built from its name alone.
    """
    system = ready(name)
    if isinstance(system, Fits) or not any(p.requires_grad for p in system.parameters()):
        raise UserError(f"{name} does not learn by steps")
    update = Counting(system, Runtime(torch.device("cpu"), "fp32"))
    step(system, update)  # the first batch sets what depends on the data
    update.called.clear()
    steps: list[tuple[int, int, int]] = []
    while len(steps) < 2 or len(steps) < update.cycle() or (steps[0] != steps[1] and len(steps) < CYCLE):
        update.sent = update.calls = 0
        flops, _ = frame.count(lambda: step(system, update, len(steps)))
        steps.append((update.sent, update.calls, flops))
    sent, calls, each_flops = (sum(each) / len(steps) for each in zip(*steps, strict=True))
    shared = sum(b.numel() * b.element_size() for b in shared_buffers(system))
    numbers = sum(p.numel() for p in system.parameters() if p.requires_grad)
    return Count(name, numbers, sent + shared, calls + bool(shared), each_flops / 2, len(steps))


def names() -> Iterator[str]:
    """Every system, and its preset of the paper's size where there is one."""
    for name, entry in registry.entries().items():
        yield name
        yield from (p for p in entry.presets if p == f"{name}-paper")


# ---- beside the profiler's count ---------------------------------------------------------------------------------------


def _rank(rank: int, name: str, steps: int, store: str, told: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    system = ready(name)
    update = Updater(system, Runtime(torch.device("cpu"), "fp32", rank, 2))
    step(system, update)  # what is set by the first batch is sent once
    seen: list[tuple[int, int]] = []
    for number in range(steps):
        dist.barrier()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            step(system, update, number)
        sums = [e.input_shapes[0] for e in found.events() if e.name.startswith("gloo:all_reduce")]
        seen.append((sum(4 * math.prod(shape) for shape in sums), len(sums)))
    told.put((rank, *(sum(each) / len(seen) for each in zip(*seen, strict=True))))
    dist.barrier()
    dist.destroy_process_group()


def profiled(name: str, steps: int) -> tuple[float, float]:
    """Bytes and sums of a step by torch's profiler, on 2 ranks over gloo; all sums are of float32."""
    with tempfile.TemporaryDirectory() as folder:
        told = mp.get_context("spawn").SimpleQueue()
        mp.spawn(_rank, (name, steps, f"{folder}/store", told), nprocs=2)
        (_, moved, messages), other = sorted(told.get() for _ in range(2))
    assert (moved, messages) == other[1:], "both ranks send the same"
    return moved, messages


# ---- in words ----------------------------------------------------------------------------------------------------------


def row(found: Count) -> str:
    """A line of the table."""
    bends = [f"{found.bend(machine):,}" for machine in MACHINES.values()]
    cells = [
        f"`{found.name}`", f"{found.parameters / 1e6:.2f}", f"{found.moved / 1e6:.2f}", f"{found.messages:.3g}",
        f"{found.flops / 1e9:.3g}", *bends,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


HEAD = [
    "| system | parameters, M | moved, MB | sums | GFLOP an example | "
    + " | ".join(f"bend: {m}" for m in MACHINES)
    + " |",
    "|---" * (5 + len(MACHINES)) + "|",
]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SYSTEM")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    lines = []
    for name in given.names or names():
        try:
            found = count(name)
        except UserError as reason:
            print(f"{name}: {reason}", file=sys.stderr)
            continue
        if given.check:
            moved, messages = profiled(name, found.steps)
            print(
                f"{name}: {found.moved:,.0f} bytes in {found.messages:.3g} sums; the profiler: {moved:,.0f} in {messages:.3g}, "
                f"{100 * (moved / found.moved - 1):+.2f} %",
                flush=True,
            )
            continue
        lines.append(row(found))
        print(lines[-1], flush=True)
    if given.write:
        table = "\n".join([*HEAD, *lines])
        text = PAGE.read_text(encoding="utf-8")
        text = re.sub(
            r"(<!-- moved[^>]*-->\n).*?(<!-- /moved -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL
        )
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
