"""What the caches of pixelcnnpp and wavenet save when drawing.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_autoregressive [pixelcnnpp|wavenet] [--batch 16] [--size 32] [--seconds 1] [--naive 3]

Naive drawing runs the whole network once per pixel (per sample of sound); every such pass costs the same, so a few are
timed and multiplied by their number. That the results are equal is checked in full: each value is drawn anew from one
whole pass over the finished sample, with the same random numbers; where all come out the same, naive drawing gives the
same sample, by induction over the order of drawing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from genzoo.losses.likelihoods import draw_coupled
from genzoo.models.autoregressive.pixelcnnpp import PixelCNNpp
from genzoo.models.autoregressive.wavenet import WaveNet


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of `work` after one warm-up: the machine may be shared."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def started(seed: int = 0) -> torch.Generator:
    """The generator of the sample that is checked."""
    return torch.Generator().manual_seed(seed)


def compare(name: str, what: str, n: int, cached: float, passed: float, passes: int, equal: float) -> None:
    """Print one comparison."""
    naive = passed * passes
    print(
        f"{name}: {n} {what}: cached {cached:.2f} s, one whole pass {passed:.3f} s, naive {passes:,} of them {naive:,.0f} s "
        f"(extrapolated): {naive / cached:.0f} times as fast; values equal: {100 * equal:.4f} %"
    )


@torch.no_grad()
def pixels(batch: int, size: int, naive: int, **settings: int) -> None:
    """Measure pixelcnnpp."""
    torch.manual_seed(0)
    system = PixelCNNpp((3, size, size), **settings).train()
    system.loss({"image": torch.randint(0, 256, (8, 3, size, size)) / 127.5 - 1})  # the data-dependent start
    system.eval()
    x = system.sample(batch, generator=started())
    cached = seconds(lambda: system.sample(batch, generator=started()), 1)
    whole = x.double()
    passed = seconds(lambda: system.net(whole), naive)
    uniform = torch.rand(batch, size, size, 4, generator=started()).double()
    again = draw_coupled(uniform, *system._mixture(system.net(whole)), 256).movedim(-1, 1)
    equal = float(((again - whole).abs() < 1e-5).float().mean())
    name, what = f"pixelcnnpp {settings or 'defaults'}", f"images {size}x{size}"
    compare(name, what, batch, cached, passed, size * size, equal)
    single = seconds(lambda: system.net(x), naive)
    compare(f"{name}, naive in float32", what, batch, cached, single, size * size, equal)


@torch.no_grad()
def sound(batch: int, length: float, naive: int, **settings: str) -> None:
    """Measure wavenet."""
    torch.manual_seed(0)
    times = round(8000 * length)
    system = WaveNet((1, times), **settings).eval()
    for p in system.parameters():
        p.mul_(1.5)  # livelier than at the start
    x = system.sample(batch, generator=started())
    cached = seconds(lambda: system.sample(batch, generator=started()), 1)
    read = system._read(x[:, 0])[0]
    passed = seconds(lambda: system.net(read, dtype=torch.float64), naive)
    short = seconds(lambda: system.net(read[:, : system.net.view], dtype=torch.float64), naive)
    uniform = torch.rand(batch, times, 2, generator=started()).double()
    out = system.net(read, dtype=torch.float64)
    again = torch.stack([system._choose(out[:, t], uniform[:, t], 1.0) for t in range(times)], 1)
    equal = float((again == read).double().mean())
    name = f"wavenet {settings or 'defaults'}"
    compare(name, f"sounds of {times} samples", batch, cached, passed, times, equal)
    compare(f"{name}, naive over its view of {system.net.view} only", "sounds", batch, cached, short, times, equal)


def main() -> None:
    """Read the command line and run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", nargs="?", choices=["pixelcnnpp", "wavenet"], help="both when not given")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--naive", type=int, default=3, help="whole passes that are timed")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), float64, CPU time, {vars(given)}")
    if given.system != "wavenet":
        pixels(given.batch, given.size, given.naive)
    if given.system != "pixelcnnpp":
        sound(given.batch, given.seconds, given.naive)
        sound(given.batch, given.seconds, given.naive, output="mixture")


if __name__ == "__main__":
    main()
