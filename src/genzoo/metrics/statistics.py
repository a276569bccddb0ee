"""The Fréchet distance of clips and of shapes, on statistics that are declared; never to be called FVD."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.data import Dataset, kinds
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw, finite
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.measures import Measure
from genzoo.metrics.records import Record

MOST = 2000
"""Samples and real examples at most: statistics are few, and clips are large."""


def features_of(dataset: Dataset, field: str, n: int, seed: int) -> Tensor:
    """Features of `n` examples of a set, chosen by seed, all where there are fewer."""
    kind, values = kinds.get(field), dataset.fields[field]
    rows = np.random.default_rng([seed, len(values)]).permutation(len(values))[:n]
    parts = [torch.from_numpy(np.array(values[np.sort(part)])) for part in np.array_split(rows, -(-len(rows) // 256))]
    return torch.cat([kind.statistics(kind.to_float(part, torch.preserve_format)) for part in parts])


def statistics(c: Comparison) -> list[Record]:
    """The Fréchet distance of samples' statistics from those of held-out examples, beside that of training examples."""
    start, test = time.time(), c.real_set
    if c.system is None:
        raise UserError("this measure asks a system, and there are only samples")
    kind = test.kind
    field, name, features = kind.name, kind.described_by, kind.statistics
    n = min(c.n, MOST)
    generator = torch.Generator(c.system.device).manual_seed(c.seed)
    was_training = c.system.training
    c.system.eval()
    try:
        fake = features(finite(draw(c.system, n, generator)))
    finally:
        c.system.train(was_training)
    real = features_of(test, field, MOST, c.seed)
    floor = None if c.train is None else frechet_distance(features_of(c.train, field, n, c.seed), real)
    protocol = (
        f"squared Fréchet distance of {fake.shape[1]} {name} (genzoo.data.statistics); float64, unbiased covariances; {n:,} samples "
        f"against {len(real):,} examples of {test.name} {test.split}"
    )
    if floor is not None:
        protocol += f", floor: {min(n, len(c.train)):,} training examples against the same"  # type: ignore[arg-type]
    return [
        Record(
            measure=f"Fréchet distance of {name}", value=frechet_distance(fake, real), protocol=f"{protocol}; seed {c.seed}",
            better="lower", n=n, n_real=len(real), n_fake=n, floor=floor, data=test.name, split=test.split, seed=c.seed,
            seconds=round(time.time() - start, 1),
        )
    ]  # fmt: skip


MEASURES = (
    Measure(
        "statistics",
        "Fréchet distance of simple statistics of clips and shapes",
        statistics,
        fields=tuple(k.name for k in kinds.every().values() if k.described_by),
        images=False,
        features=False,
    ),
)
