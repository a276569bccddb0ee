"""Rate of a streamed set beside that of the local cache: 64x64 in colors, batches of 64 as a system takes them, float32.

    python -m benchmarks.bench_stream
    python -m benchmarks.bench_stream cache stream fetched --rounds 9

`cache` reads the decoded set as any is read; `stream` the same images from shards that are in the bounded cache; `fetched` fetches and
decodes every shard of a folder in the run that is timed, `bucket` every shard of an S3 server on loopback (where there is `moto_server`).
`bytes ...` are the same without what brings bytes to float32. `step ...` train `dcgan` (a quarter of its width) for an epoch on them,
`step fetched` with every shard fetched and decoded meanwhile: what a run feels. CPU time of all threads.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import frame
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.feed import Feed
from genzoo.data.streams.writing import shard_data

BATCH, IMAGES, PER, SIDE = 64, 4096, 256, 64
STEPS = IMAGES // BATCH
TRAINED = STEPS


@functools.cache
def home() -> Path:
    """Write the set once: an array of smooth noise, and the same as shards."""
    folder = Path(tempfile.mkdtemp(prefix="genzoo-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["GENZOO_CACHE"] = str(folder / "cache")
    rng, small = np.random.default_rng(0), SIDE // 8
    images = np.clip(
        rng.integers(0, 256, (IMAGES, 3, small, small)).repeat(8, 2).repeat(8, 3) + rng.integers(-8, 9, (IMAGES, 3, SIDE, SIDE)), 0, 255
    )  # fmt: skip
    np.save(folder / "images.npy", images.astype(np.uint8))
    shard_data(DataSettings(str(folder / "images.npy"), holdout=0), str(folder / "shards"), per=PER, quiet=True)
    return folder


def whole() -> Dataset:
    return open_data(DataSettings(str(home() / "images.npy"), holdout=0), quiet=True)


def streamed() -> Dataset:
    return open_data(DataSettings(str(home() / "shards"), holdout=0, cache_gb=1), quiet=True)


def fetched() -> Dataset:
    shutil.rmtree(home() / "cache" / "shards", ignore_errors=True)
    return streamed()


@functools.cache
def bucket() -> str:
    """Start a server, and copy the shards to it."""
    from tests.data import s3_server

    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(s3_server.running())
    server.upload(home() / "shards", "bench")
    os.environ |= {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    return f"s3://{s3_server.BUCKET}/bench/"


def from_bucket() -> Dataset:
    shutil.rmtree(home() / "cache" / "shards", ignore_errors=True)
    return open_data(DataSettings(bucket(), holdout=0), quiet=True)


def epoch(dataset: Dataset, *, floats: bool) -> None:
    """Read every example once."""
    batches = Batches(dataset, BATCH, 0)
    for step in range(STEPS):
        raw = batches.at(step)
        if floats:
            to_float(raw, "cpu")


def data(opened: Callable[[], Dataset], *, again: bool = False, floats: bool = True) -> frame.Case:
    """Read an epoch; `again` opens the set anew every time, without what was kept of it."""
    home()
    dataset = opened()
    epoch(dataset, floats=floats)
    moved = IMAGES * 3 * SIDE * SIDE * (10 if floats else 2)  # bytes copied once, and read and written as floats
    work = (lambda: epoch(opened(), floats=floats)) if again else (lambda: epoch(dataset, floats=floats))
    return frame.Case(work, ("image", IMAGES), moved=moved)


def training(opened: Callable[[], Dataset]) -> frame.Case:
    """Train a small `dcgan` for a few steps on a set that is opened anew."""
    import genzoo
    from genzoo.training.runtime import Runtime
    from genzoo.training.update import Updater

    home()
    opened()
    torch.manual_seed(0)
    system, runtime = (
        genzoo.create("dcgan", shape=(3, SIDE, SIDE), width=16, penalty="none"),
        Runtime(torch.device("cpu"), "fp32"),
    )
    update = Updater(system, runtime, clip=None, warmup=0.0, decay="none")
    system.train()

    def work() -> None:
        feed = Feed(Batches(opened(), BATCH, 0).at, 0, TRAINED)
        for step, raw in enumerate(feed):
            update.begin(step, TRAINED)
            system.training_step(to_float(raw, "cpu", torch.channels_last), update)
            update.end()
        feed.close()

    return frame.Case(work, ("image", TRAINED * BATCH))


CASES = {
    "cache": lambda: data(whole),
    "stream": lambda: data(streamed),
    "fetched": lambda: data(fetched, again=True),
    "bucket": lambda: data(from_bucket, again=True),
    "bytes cache": lambda: data(whole, floats=False),
    "bytes stream": lambda: data(streamed, floats=False),
    "step cache": lambda: training(whole),
    "step stream": lambda: training(streamed),
    "step fetched": lambda: training(fetched),
}

if __name__ == "__main__":
    frame.main("benchmarks.bench_stream", CASES, __doc__)
