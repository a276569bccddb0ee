"""What `threads=auto` takes, beside every fixed number, on a quiet machine and beside a busy core: wall time of a step.

    python -m benchmarks.bench_threads [dcgan] [stylegan2] [--busy 1] [--steps 8]

Wall time here, since waiting is what it is about. A busy core is a process of this benchmark that counts; run it on a machine that is quiet
otherwise. The number is chosen as a training chooses it, then steps with every number are timed in turns; `auto` may be 5 % slower than the best.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

import genzoo
from genzoo.saved.threads import candidates, computing_with, fastest
from genzoo.training.runtime import Runtime, laid_out
from genzoo.training.update import Updater

SETTINGS: dict[str, dict[str, Any]] = {
    "dcgan": {"shape": (3, 32, 32), "width": 32},
    "stylegan2": {"shape": (3, 32, 32), "width": 16, "most": 128, "path": 0.0, "r1": 0.0},
    "pixelcnnpp": {"shape": (3, 16, 16)},
}
MOST_SLOWER = 1.05


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy within the block."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def step_of(name: str) -> Callable[[], None]:
    """Make a step of training of 16 examples."""
    torch.manual_seed(0)
    system = laid_out(genzoo.create(name, **SETTINGS[name])).train()
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    x = torch.rand(16, *SETTINGS[name]["shape"]).contiguous(memory_format=torch.channels_last) * 2 - 1

    def step() -> None:
        update.begin(1, 1000)
        system.training_step({"image": x}, update)
        update.end()

    return step


def seconds(step: Callable[[], None], count: int) -> float:
    """Wall seconds of a step."""
    with computing_with(count):
        start = time.perf_counter()
        step()
        return time.perf_counter() - start


def main() -> None:
    """Print a line for each system, quiet and beside busy cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SYSTEM", help="; ".join(SETTINGS))
    parser.add_argument("--busy", type=int, default=1, help="cores that are kept busy")
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    counts = candidates(os.cpu_count() or 1)
    print(
        f"torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, wall time, medians"
    )
    for name in given.names or SETTINGS:
        step = step_of(name)
        for cores in (0, given.busy):
            with busy(cores):
                time.sleep(0.5 if cores else 0)
                begun = time.perf_counter()
                chosen, _ = fastest(step, counts)
                choosing = time.perf_counter() - begun
                times: dict[int, list[float]] = {count: [] for count in counts}
                for _ in range(given.steps):
                    for count in counts:
                        times[count].append(seconds(step, count))
            found = {count: statistics.median(t) for count, t in times.items()}
            slower = found[chosen] / min(found.values())
            told = ", ".join(f"{1000 * s:.0f} ms with {count}" for count, s in found.items())
            print(
                f"{name}, {cores} busy core{'s' * (cores != 1)}: {told}; auto takes {chosen} (chosen in {choosing:.1f} s): "
                f"{slower:.2f} of the best ({'met' if slower <= MOST_SLOWER else 'NOT MET'}: at most {MOST_SLOWER})",
                flush=True,
            )


if __name__ == "__main__":
    main()
