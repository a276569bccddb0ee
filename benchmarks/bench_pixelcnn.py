"""What the cache of pixelcnn saves when sampling, and what the memory layout costs in training.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_pixelcnn [--width 32] [--blocks 7] [--batch 16] [--size 28] [--channels 1]

Naive sampling runs the whole network once per pixel and colour; it is run in full, once, in the same process, and its
images must equal the cached ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from genzoo.models.autoregressive.pixelcnn import PixelCNN


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of `work` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def sampling(system: PixelCNN, batch: int) -> None:
    """Print the times of naive and cached sampling and their ratio."""

    def draw(cached: bool) -> torch.Tensor:
        return system.sample(batch, generator=torch.Generator().manual_seed(0), cached=cached)

    cached = seconds(lambda: draw(True), 5)
    start = time.perf_counter()
    naive_images = draw(False)
    naive = time.perf_counter() - start
    equal = torch.equal(naive_images, draw(True))
    print(f"sampling {batch} images: naive {naive:.2f} s, cached {cached:.3f} s ({batch / cached:.1f} images/s)")
    print(f"cached is {naive / cached:.0f} times as fast; images equal: {equal}")


def training(system: PixelCNN, batch: int) -> None:
    """Print the time of a training step for both memory layouts."""
    optimizer = system.optimizers()["model"]
    tokens = torch.randint(0, system.levels, (batch, *system.shape))
    for name, layout in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)):
        system.to(memory_format=layout)
        x = system.grid.values(tokens).to(memory_format=layout)

        def step(x: torch.Tensor = x) -> None:
            optimizer.zero_grad()
            system.loss({"image": x})["loss"].backward()
            optimizer.step()

        print(f"training step of {batch} images, {name}: {1000 * seconds(step, 15):.0f} ms")


def main() -> None:
    """Read the command line and run both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 32), ("blocks", 7), ("batch", 16), ("size", 28), ("channels", 1), ("levels", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    shape = (given.channels, given.size, given.size)
    system = PixelCNN(shape, levels=given.levels, width=given.width, blocks=given.blocks)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {vars(given)}")
    training(system.train(), given.batch)
    sampling(system.eval(), given.batch)


if __name__ == "__main__":
    main()
