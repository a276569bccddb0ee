"""Speed of the data path after caching: uint8 images from the memory map to a batch, in images per CPU-second.

    python -m benchmarks.bench_data

The data are made here (60,000 images of 28x28, random), cached as any .npz is, and read in the trainer's order. A CPU-second is a second of this
process's CPU time over all threads, so a busy machine does not change the figure much.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from genzoo.data import Batches, DataSettings, open_data, to_float

BOUND = 50_000


def rate(batches: Batches, batch: int, count: int, *, floats: bool) -> float:
    """Images per CPU-second over `count` batches, read as the trainer reads them."""
    begun = time.process_time()
    for step in range(count):
        raw = batches.at(step)
        if floats:
            to_float(raw, torch.device("cpu"))
    return batch * count / (time.process_time() - begun)


def main() -> None:
    torch.set_num_threads(1)  # idle OpenMP threads would spin, and count
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENZOO_CACHE"] = folder
        np.savez(
            Path(folder) / "images.npz", images=np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), np.uint8)
        )
        dataset = open_data(DataSettings(data=str(Path(folder) / "images.npz"), holdout=0.0), quiet=True)
        for batch in (64, 256):
            for name, floats in (("uint8 batches", False), ("float batches in [-1, 1]", True)):
                batches = Batches(dataset, batch, seed=0)
                rate(batches, batch, 50, floats=floats)
                figures = [rate(batches, batch, 40_000 // batch, floats=floats) for _ in range(5)]
                median = statistics.median(figures)
                print(
                    f"{name}, batch {batch}: {median:,.0f} images per CPU-second, {median / BOUND:.1f}x the bound of {BOUND:,} (28x28, gray)"
                )


if __name__ == "__main__":
    main()
