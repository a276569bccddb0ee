"""What the steps of a training wait for a save: now, and where they wait for the disk.

A dcgan of 20 million parameters (two players, with averaged weights), whose state is saved in turn in both ways, with a step between, so that the
weights are others each time. "now" is the time until the training goes on, while a thread writes; "waiting" is the same save until all of it is on
the disk, as every save was before. A disk of so many MB a second is this machine's with a pause after each file (`--disk 50`): simulated.

    python -m benchmarks.bench_saving
    python -m benchmarks.bench_saving --disk 50 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.runs.folder import Run
from genzoo.runs.writer import Writer
from genzoo.saved import checkpoint
from genzoo.training.runtime import Runtime, laid_out
from genzoo.training.state import gather
from genzoo.training.update import Average, Updater

WAYS = ("now", "waiting")


def slow_disk(rate: float) -> None:
    """Let every checkpoint take as long as its bytes take at `rate` MB a second."""
    write = checkpoint.write

    def slowly(path: Any, tensors: Any, meta: Any) -> str:
        begun = time.perf_counter()
        digest = write(path, tensors, meta)
        time.sleep(max(0.0, os.path.getsize(path) / (1e6 * rate) - (time.perf_counter() - begun)))
        return digest

    checkpoint.write = slowly


def main() -> None:
    """Time saves in both ways in turn, and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 118), ("batch", 4), ("rounds", 7), ("disk", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    told = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if told.disk:
        slow_disk(told.disk)
    device = torch.device("cpu")
    system = laid_out(genzoo.create("dcgan", shape=(3, 64, 64), width=told.width))
    update, average = Updater(system, Runtime(device, "fp32")), Average(system, 0.999)
    images = torch.rand(told.batch, 3, 64, 64).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    computed: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Run(Path(folder)))
        for turn in range(2 * told.rounds + 2):
            update.begin(turn, 2 * told.rounds + 2)
            system.train().training_step({"image": images}, update)
            update.end()
            average.update(turn)
            way = WAYS[turn % 2]
            begun, busy = time.perf_counter(), time.thread_time()
            state, learned = gather(system, update, average, device)
            writer.save(turn, state, learned, average.system.state_dict(), {})
            if way == "waiting":
                writer.wait()
            took, busy = time.perf_counter() - begun, time.thread_time() - busy
            writer.wait()
            if turn > 1:  # the first of each warms up, and makes the buffers
                seconds[way].append(took)
                computed[way].append(busy)
        size = writer.run.states()[0].stat().st_size + writer.run.model.stat().st_size
        kept = sum(b.nbytes for b in writer.copies.buffers.values())
    disk = f"a disk of {told.disk} MB/s (simulated)" if told.disk else "this disk"
    count = sum(p.numel() for p in system.parameters())
    print(
        f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}; dcgan, {count:,} parameters: {size / 1e6:.0f} MB to {disk}, "
        f"{kept / 1e6:.0f} MB of copies, {told.rounds} rounds in turn"
    )
    for way in WAYS:
        middle, most = statistics.median(seconds[way]), max(seconds[way])
        busy = statistics.median(computed[way])
        print(
            f"{way:8} {1000 * middle:8.0f} ms a save (at most {1000 * most:.0f}), {1000 * busy:.0f} ms of this thread's CPU"
        )
    ratios = sorted(a / b for a, b in zip(seconds["now"], seconds["waiting"], strict=True))
    print(f"now takes {statistics.median(ratios):.3f} of waiting ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
