"""What data cost: the first reading of a folder, a start after it, and batches from the cache.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_data [CASE ...] [--base REV] [--rounds 7] [--count 2000]
    python -m benchmarks.bench_data --memory 2000

* `reading`: `--count` JPEGs of 256x256 are decoded to 64x64 and cached, in two threads. Plain is a loop over Pillow in two threads, as people write
  it: open, convert to RGB, resize with the same filter, into an array. The limit is Pillow's own calls for what is stored here, in such a loop:
  open, draft, load, resize, as an array; no reading of what is in a folder, no reasons for what is refused, nothing written or digested.
* `start`: the same folder is opened again by a process that finds it cached, ten times as many files. Plain is a listing that asks for every file's
  size and time, which is what it takes to notice a file that was written where it stood.
* `batches`, `float-batches`: 60,000 gray images of 28x28, read as the trainer reads them, 64 at a time, as uint8 and as floats; the limit is a copy.

CPU time is that of all threads. `--memory N` prints the peak of a process that reads N such JPEGs: compare two N.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import frame, steps
from benchmarks.frame import Case
from genzoo.data import Batches, DataSettings, open_data, to_float

COUNT = int(os.environ.get(frame.COUNT, "2000"))
THREADS = 2
DIFFERENT = 100
"""JPEGs that differ; all others are copies of them."""


def photographs(count: int, side: int = 256) -> Path:
    """Make JPEGs with the detail of photographs."""
    folder, source = steps.scratch() / "photographs", np.random.default_rng(0)
    folder.mkdir()
    for i in range(min(count, DIFFERENT)):
        rough = Image.fromarray(source.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        smooth = np.asarray(rough.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
        grainy = (smooth + source.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(folder / f"{i:07d}.jpg", quality=85)
    for i in range(DIFFERENT, count):
        shutil.copyfile(folder / f"{i % DIFFERENT:07d}.jpg", folder / f"{i:07d}.jpg")
    return folder


def opened(folder: Path) -> Tensor:
    """Open a folder of images, and return the first of them."""
    return torch.from_numpy(np.array(open_data(DataSettings(str(folder), size=64), quiet=True).fields["image"][:4]))


def cached() -> Path:
    """Give this process a cache of its own."""
    folder = steps.scratch()
    os.environ["GENZOO_CACHE"] = str(folder)
    return folder


def reading() -> Case:
    """Read a folder for the first time."""
    steps.first_of("genzoo.data.entries.images:THREADS", "genzoo.data.images:THREADS")
    for name in ("genzoo.data.entries.images", "genzoo.data.images"):
        if name in sys.modules:
            sys.modules[name].THREADS = THREADS  # type: ignore[attr-defined]
    folder, cache = photographs(COUNT), cached()

    def work() -> Tensor:
        shutil.rmtree(cache / "data", ignore_errors=True)
        return opened(folder)

    return Case(work, ("JPEG", COUNT), moved=COUNT * (64 + 256) ** 2 * 3, plain="reading-plain", limit="reading-limit")


def by_pillow(*, draft: bool = False) -> Case:
    """Read a folder by a loop over Pillow; with `draft` its decoder leaves out what twice the wanted size does not need."""
    files = sorted(photographs(COUNT).iterdir())
    images = np.empty((COUNT, 3, 64, 64), np.uint8)

    def one(i: int) -> None:
        with Image.open(files[i]) as image:
            if draft:
                image.draft(None, (128, 128))
            whole = image if draft else image.convert("RGB")
            small = whole.resize((64, 64), Image.Resampling.BICUBIC)
        images[i] = np.asarray(small).transpose(2, 0, 1)

    def work() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(one, range(COUNT)))

    return Case(work, ("JPEG", COUNT), moved=COUNT * (64 + 256) ** 2 * 3)


def start() -> Case:
    """Open a folder that is cached, as a process does that has not opened it before."""
    folder = photographs(10 * COUNT, 16)
    cached()
    opened(folder)
    cache = steps.first_of("genzoo.data.cache:_verified")

    def work() -> Tensor:
        cache.clear()
        return opened(folder)

    return Case(work, ("file", 10 * COUNT), moved=1, plain="start-plain")


def listing() -> Case:
    """Ask for the size and the time of every file."""
    folder = photographs(10 * COUNT, 16)

    def work() -> None:
        with os.scandir(folder) as found:
            sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in found)

    return Case(work, ("file", 10 * COUNT), moved=1)


def batches(read: Callable[[dict[str, Tensor]], object], bytes_each: int) -> Case:
    """Read a hundred batches from the cache."""
    images = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), np.uint8)
    file = cached() / "images.npz"
    np.savez(file, images=images)
    found = Batches(open_data(DataSettings(str(file), holdout=0.0), quiet=True), 64, seed=0)

    def work() -> None:
        for step in range(100):
            read(found.at(step))

    return Case(work, ("batch of 64", 100), moved=100 * 64 * 28 * 28 * bytes_each)


CASES: frame.Cases = {
    "reading": reading,
    "start": start,
    "batches": lambda: batches(lambda raw: raw, 2),
    "float-batches": lambda: batches(lambda raw: to_float(raw, torch.device("cpu")), 7),
    "reading-plain": by_pillow,
    "reading-limit": lambda: by_pillow(draft=True),
    "start-plain": listing,
}


def memory(folder: Path) -> None:
    """Read a folder and print the peak; for a process of its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(os.listdir(folder)):,} JPEGs: peak {peak / 2**10:.0f} MiB, {(peak - before) / 2**10:.0f} MiB above the start"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        if (given := Path(sys.argv[2])).is_dir():
            memory(given)
        else:
            cached()
            place = photographs(int(sys.argv[2]))
            subprocess.run([sys.executable, "-m", "benchmarks.bench_data", "--memory", str(place)], check=True)
    else:
        frame.main("benchmarks.bench_data", CASES, __doc__)
