"""How many examples are affordable: a short trial, a budget in seconds, and a number that other runs choose as well."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from genzoo.core.capabilities import Density, Samples
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, kinds, to_float
from genzoo.metrics.drawing import CHUNK
from genzoo.metrics.features.extractors import Extractor

BUDGET = 120.0
"""Seconds that sampling, scoring or feature extraction may take each, where the person gives no number."""
SLOW_BUDGET = 600.0
"""Seconds for the features of a network of photographs, samples and real images together."""
LADDER = (10_000, 5_000, 2_000, 1_000, 500, 200, 100)
"""Only these numbers are chosen, so that runs on different machines mostly choose the same."""


def affordable(seconds_each: float, budget: float, most: int = LADDER[0]) -> int:
    """Return the largest number of the ladder whose cost stays within the budget; at least the smallest, at most `most`.

    >>> affordable(0.01, 120.0), affordable(0.05, 120.0), affordable(100.0, 120.0), affordable(0.0, 1.0, most=300)
    (10000, 2000, 100, 300)
    """
    return min(most, next((n for n in LADDER if n * seconds_each <= budget), LADDER[-1]))


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


@torch.no_grad()
def seconds_per_sample(system: System) -> float:
    """Time a small draw and, where that was quick, a whole chunk: the seconds for one sample of many. An upper estimate for slow ones."""
    assert isinstance(system, Samples)
    few = _seconds(lambda: system.sample(4, generator=torch.Generator(system.device).manual_seed(0)))
    if few > 2:
        return few / 4
    some = _seconds(lambda: system.sample(32, generator=torch.Generator(system.device).manual_seed(0)))
    if some > 1:
        return some / 32
    return _seconds(lambda: system.sample(CHUNK, generator=torch.Generator(system.device).manual_seed(0))) / CHUNK


@torch.no_grad()
def seconds_per_score(system: System, dataset: Dataset) -> float:
    """Time how many seconds it takes to score one example of many."""
    assert isinstance(system, Density)
    batch = to_float(Batches(dataset, min(16, len(dataset)), 0).in_order(0), system.device)
    x = kinds.examples(batch)
    generator = torch.Generator(system.device).manual_seed(0)
    return _seconds(lambda: system.log_prob(x, generator=generator)) / len(x)


def seconds_per_feature(net: Extractor, shape: tuple[int, ...]) -> float:
    """Time how many seconds the features of one image of this shape take."""
    images = torch.zeros(4, *shape, dtype=torch.uint8)
    net(images[:1])
    return _seconds(lambda: net(images)) / len(images)


def words(seconds: float, *, about: bool = False) -> str:
    """Write a duration as people say it.

    >>> words(0.2), words(42.4), words(400.0), words(9000.0)
    ('under a second', '42 s', '7 min', '2.5 h')
    >>> words(0.2, about=True), words(42.4, about=True)
    ('under a second', 'about 42 s')
    """
    if seconds < 1:
        return "under a second"
    if about:
        return f"about {words(seconds)}"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
