"""What FID's features cost, and what an evaluation by them keeps in memory.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_features [inception] [--base REV] [--rounds 7]
    OMP_NUM_THREADS=1 python -m benchmarks.bench_features --memory 1000

The features of ten images, as `evaluate` takes them; the weights have to be there (`genzoo weights inception`). With `--memory N` one process
draws N samples of 256x256 of an untrained dcgan and describes them, and its peak is printed: compare two N.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import torch

import genzoo
from benchmarks import frame
from benchmarks.frame import Case

FLOPS = 11_422_336_192
"""Of Inception, an image of 299x299: as torch counts them."""


def extractor(name: str) -> Any:
    """Return a feature network, of this build or of one before it had a room of its own."""
    try:
        from genzoo.metrics.features.networks import extractor as made
    except ImportError:
        from genzoo.metrics.extractors import extractor as made
    return made(name)


def inception(images: int = 10, side: int = 32) -> Case:
    """Describe some images."""
    net = extractor("inception")
    x = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Case(lambda: net(x), ("image", images), flops=FLOPS * images)


CASES: frame.Cases = {"inception": inception}


def memory(n: int) -> None:
    """Print the peak of drawing `n` samples and describing them by a quick network."""
    from genzoo.metrics.comparison import Comparison

    settings: dict[str, Any] = {"shape": (3, 256, 256), "width": 4}
    compared = Comparison(test=None, net=extractor("random"), system=genzoo.create("dcgan", **settings).eval(), n=n)
    compared.kept = False
    features = compared.fake_features
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{len(features):,} samples of 256x256 described: peak {peak:.0f} MiB; they are {n * 3 * 256**2 / 2**20:,.0f} MiB"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        memory(int(sys.argv[2]))
    else:
        frame.main("benchmarks.bench_features", CASES, __doc__)
