"""What FID's features cost, and what an evaluation keeps in memory.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_features [inception] [published] [--base REV] [--rounds 7]
    OMP_NUM_THREADS=1 python -m benchmarks.bench_features --memory 200 400 800 [--measures frechet] [--base REV]

The features of ten images, as `evaluate` takes them; the weights have to be there (`genzoo weights inception`). `published` is the loop of
pytorch-fid on the same images, see `benchmarks.plain_inception`: the time of the one beside that of the other is what counts.

With `--memory` a small dcgan of 256x256, trained for one step, is evaluated with so many samples, each number in a process of its own whose
peak (VmHWM) is printed, and from them the bytes that a sample adds: with a network of as many features as Inception has and none of its cost.

With `--bf16 N` N test images of CIFAR-10, N training images and N blurred ones are described in float32 and in bfloat16, and the Fréchet
distances of both are printed with their difference and the time of an image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import frame, plain_inception
from benchmarks.frame import Case

FLOPS = 11_422_336_192
"""Of Inception, an image of 299x299: as torch counts them."""
GOAL, MOST = 50_000, 1536
"""Samples whose evaluation is promised to stay under so many MiB."""


def extractor(name: str) -> Any:
    """Return a feature network, of this build or of one before it had a room of its own."""
    try:
        from genzoo.metrics.features.networks import extractor as made
    except ImportError:
        from genzoo.metrics.extractors import extractor as made
    return made(name)


def images(n: int, side: int = 32) -> torch.Tensor:
    """Draw grey levels, uint8 [n, 3, side, side]."""
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def inception(n: int = 10) -> Case:
    """Describe some images, resized as pytorch-fid does."""
    net, x = extractor("inception-pytorch"), images(n)
    return Case(lambda: net(x), ("image", n), flops=FLOPS * n)


def published(n: int = 10) -> Case:
    """Describe the same images by pytorch-fid's loop."""
    net, x = plain_inception.load(), images(n).float() / 255
    return Case(lambda: plain_inception.describe(net, x), ("image", n), flops=FLOPS * n)


MEASURES = ("frechet", "frechet,kid,prdc,prd,c2st,variety,copying")
"""What is measured: by features alone, and with what looks at the samples as well."""
CASES: frame.Cases = {"inception": inception, "published": published}

PEAK = """
import dataclasses, json, sys, time
import numpy as np, torch
import genzoo
try:
    from genzoo.metrics.features.extractors import module_extractor
except ImportError:
    from genzoo.metrics.extractors import module_extractor
run, n, measures, data = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 16, 16), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten()
)
net = dataclasses.replace(module_extractor(net, name="wide", side=256, batch=10), photographs=True)
found = genzoo.evaluate(run, measures=measures, n=n, extractor=net)
with open("/proc/self/status") as f:  # VmHWM begins anew with the program; what getrusage says begins with the peak of who started it
    peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 2**10
print(json.dumps([peak, time.process_time(), {k: v["value"] for k, v in found["measures"].items()}]))
"""
"""An evaluation in a process of its own."""


def child(code: str, *words: object, tree: Path = frame.ROOT) -> Any:
    """Run code with the package of a tree; return what its last line says."""
    paths = [str(tree / "src"), str(frame.ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def lower(n: int) -> None:
    """Print what bfloat16 does to FID, and what it costs."""
    from genzoo.data import DataSettings, open_data
    from genzoo.metrics.features.networks import INCEPTIONS
    from genzoo.metrics.frechet import frechet_distance
    from genzoo.metrics.real import real_images
    from genzoo.nn.pretrained.inception import Inception

    nets = {t: Inception(plain_inception.published()) for t in (torch.float32, torch.bfloat16)}
    low = nets[torch.bfloat16]
    low.kernels = {k: (w.bfloat16(), b.bfloat16()) for k, (w, b) in low.kernels.items()}
    test, train = (open_data(DataSettings(data="cifar10"), split=s, quiet=True) for s in ("test", "train"))
    real, other = real_images(test, n=n), real_images(train, n=n, seed=1)
    halves = torch.nn.functional.avg_pool2d(other.float(), 2)
    blurred = torch.nn.functional.interpolate(halves, scale_factor=2, mode="bilinear").round().clamp(0, 255).byte()
    found: dict[torch.dtype, dict[str, torch.Tensor]] = {t: {} for t in nets}
    for dtype, net in nets.items():
        start = time.process_time()
        with torch.inference_mode():
            for name, x in (("test", real), ("training", other), ("blurred", blurred)):
                levels = (INCEPTIONS["inception"].levels(part).to(dtype) for part in x.split(10))
                found[dtype][name] = torch.cat([net(part).float() for part in levels])
        print(f"{dtype}: {(time.process_time() - start) / 3 / n:.3f} s an image", flush=True)
    for name in ("training", "blurred"):
        of = {t: frechet_distance(f[name], f["test"]) for t, f in found.items()}
        a, b = of.values()
        print(
            f"FID of {n:,} {name} images against {n:,} test images: {a:.4f}, in bfloat16 {b:.4f}, apart by {b - a:+.4f}"
        )


BEGIN = """
import sys
import numpy as np, genzoo
folder = sys.argv[1]
made = np.random.default_rng(0).integers(0, 256, (600, 256, 256, 3), dtype=np.uint8)
np.savez(f"{folder}/images.npz", train=made[:500], test=made[500:])
run = genzoo.train("dcgan", f"{folder}/images.npz", steps=1, batch=4, width=4, runs=folder, name="run", quiet=True, precision="fp32")
print("1")
"""


def memory(numbers: list[int], base: str | None, asked: list[str]) -> None:
    """Print the peak of an evaluation for each number of samples, and what a sample adds."""
    trees = {"now": frame.ROOT} if base is None else {"base": frame.worktree(base), "now": frame.ROOT}
    for of, tree in trees.items():
        for measures in asked:
            with tempfile.TemporaryDirectory() as folder:
                child(BEGIN, folder, tree=tree)
                peaks, values = [], {}
                for n in numbers:
                    peak, spent, values = child(PEAK, f"{folder}/run", n, measures, folder, tree=tree)
                    peaks.append(peak)
                    print(
                        f"{of}, measures={measures}: {n:,} samples, peak {peak:,.0f} MiB, {spent:,.0f} s of CPU",
                        flush=True,
                    )
            if len(numbers) > 1:
                rise = (peaks[-1] - peaks[0]) / (numbers[-1] - numbers[0])
                print(
                    f"  a sample adds {1024 * rise:.2f} KiB (its image has 192, its features 8); "
                    f"{GOAL:,} samples would take {peaks[0] + rise * (GOAL - numbers[0]):,.0f} MiB (promised: {MOST:,})",
                    flush=True,
                )
            print(f"  {values}", flush=True)


if __name__ == "__main__":
    if "--memory" in sys.argv or "--bf16" in sys.argv:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--memory", type=int, nargs="+")
        parser.add_argument("--measures", nargs="+", default=MEASURES)
        parser.add_argument("--bf16", type=int)
        parser.add_argument("--base")
        given = parser.parse_args()
        if given.memory:
            memory(given.memory, given.base, given.measures)
        if given.bf16:
            lower(given.bf16)
    else:
        frame.main("benchmarks.bench_features", CASES, __doc__)
