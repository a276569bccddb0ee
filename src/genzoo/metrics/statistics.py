"""The Fréchet distance of clips, of shapes and of sounds, on statistics that are declared; never to be called FVD."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from genzoo.data import Dataset, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw, finite
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="statistics",
    line="Fréchet distance of simple statistics of clips, shapes or sounds, with its floor; not FVD",
    question="distance",
    gives=(Value("Fréchet distance of {statistics}", better="lower"),),
    offers="statistics",
    known=(
        Known(
            "fvd",
            note="FVD looks through I3D, which genzoo does not have; this is a distance of simple statistics, and compares with no FVD",
        ),
    ),
    images=False,
    features=False,
)
MOST = 2000
"""Samples and real examples at most: statistics are few, and clips are large."""


def features_of(dataset: Dataset, n: int, seed: int) -> Tensor:
    """Return the statistics of `n` examples of a set, chosen by seed, all where there are fewer."""
    kind, values = dataset.kind, dataset.examples
    rows = np.random.default_rng([seed, len(values)]).permutation(len(values))[:n]
    parts = [torch.from_numpy(np.array(values[np.sort(part)])) for part in np.array_split(rows, -(-len(rows) // 256))]
    floats = (to_float({kind.name: part}, torch.device("cpu"))[kind.name] for part in parts)
    return torch.cat([kind.statistics(part, dataset.facts()) for part in floats])


def take(c: Comparison) -> list[Record]:
    """Return the Fréchet distance of samples' statistics from those of held-out examples, beside that of training examples."""
    start, test, system = time.time(), c.real_set, c.asked_system
    kind = test.kind
    name = kind.described_by
    n = min(c.n, MOST)
    was_training = system.training
    system.eval()
    try:
        fake = kind.statistics(finite(draw(system, n, c.seed)), test.facts())
    finally:
        system.train(was_training)
    real = features_of(test, MOST, c.seed)
    floor = None if c.train is None else frechet_distance(features_of(c.train, n, c.seed), real)
    protocol = (
        f"squared Fréchet distance of {fake.shape[1]} {name} (genzoo.data.statistics); float64, unbiased covariances; {n:,} samples "
        f"against {len(real):,} examples of {test.name} {test.split}"
    )
    if c.train is not None:
        protocol += f", floor: {min(n, len(c.train)):,} training examples against the same"
    return [
        Record(
            **MEASURE.says(f"Fréchet distance of {name}"), value=frechet_distance(fake, real), protocol=f"{protocol}; seed {c.seed}",
            n=n, n_real=len(real), n_fake=n, floor=floor, data=test.name, split=test.split, seed=c.seed,
            seconds=round(time.time() - start, 1),
        )
    ]  # fmt: skip
