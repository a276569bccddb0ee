"""From which law latents come, as another program has to draw them: found by looking at many draws, and said only where they fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

VALUES = 1 << 20
"""Numbers that are looked at, about."""
KEPT = 16
"""Latents that are kept as examples where the law is none of the known."""

LAWS: dict[str, tuple[float, float, Callable[[Tensor], Tensor]]] = {
    "normal (0, 1)": (0.0, 1.0, torch.special.ndtr),
    "uniform [-1, 1]": (0.0, 1 / math.sqrt(3), lambda x: ((x + 1) / 2).clamp(0, 1)),
    "uniform [0, 1]": (0.5, 1 / math.sqrt(12), lambda x: x.clamp(0, 1)),
    "logistic (0, 1)": (0.0, math.pi / math.sqrt(3), torch.sigmoid),
}
"""Name of a law, its mean, its standard deviation, and its distribution function."""


@torch.no_grad()
def law_of_latents(system: Any) -> dict[str, Any]:
    """Describe latents: `columns`, stretches of the latent with a law each, and `examples`, drawn with seed 0, where one is not known.

    A stretch is said to have a law where the mean, the deviation and the whole distribution function of its draws fit, and its columns
    are not correlated. One-hot stretches are classes, all equally likely.
    """
    small = system.sample_prior(2, generator=Generator().manual_seed(0))
    if small.ndim != 2:
        return {"columns": [], "examples": _examples(system)}
    n = min(max(VALUES // max(small.shape[1], 1), 4096), 1 << 17)
    z = torch.cat([system.sample_prior(4096, generator=Generator().manual_seed(k)) for k in range(n // 4096)]).double()
    columns, at = [], 0
    while at < z.shape[1]:
        width, law = _stretch(z[:, at:])
        columns.append({"from": at, "to": at + width, "law": law})
        at += width
    unknown = any(c["law"] == "other" for c in columns)
    return {"columns": _joined(columns), **({"examples": _examples(system)} if unknown else {})}


def _examples(system: Any) -> list[Any]:
    found: list[Any] = system.sample_prior(KEPT, generator=Generator().manual_seed(0)).tolist()
    return found


def _joined(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for c in columns:
        if found and c["law"] == "other" == found[-1]["law"]:
            found[-1]["to"] = c["to"]
        else:
            found.append(c)
    return found


def _stretch(z: Tensor) -> tuple[int, str]:
    """Return how many of the first columns of draws [n, D] have one law, and which."""
    if hot := _one_hot(z):
        return hot, f"one-hot of {hot}, equally likely"
    for name, (mean, deviation, cdf) in LAWS.items():
        width = next((i for i in range(z.shape[1]) if not _fits(z[:, i], mean, deviation, cdf)), z.shape[1])
        if width and _fits(z[:, :width].flatten(), mean, deviation, cdf) and _uncorrelated(z[:, :width]):
            return width, name
    return 1, "other"


def _one_hot(z: Tensor) -> int:
    """Return how many of the first columns are one-hot and equally likely; 0 for none."""
    if not ((z[:, 0] == 0) | (z[:, 0] == 1)).all():
        return 0
    total = torch.zeros(len(z), dtype=z.dtype)
    for i in range(z.shape[1]):
        if not ((z[:, i] == 0) | (z[:, i] == 1)).all():
            return 0
        total = total + z[:, i]
        if (total == 1).all():
            share, k = z[:, : i + 1].mean(0), i + 1
            return k if (share - 1 / k).abs().max() < 6 * math.sqrt(1 / k * (1 - 1 / k) / len(z)) + 1e-12 else 0
        if (total > 1).any():
            return 0
    return 0


def _fits(x: Tensor, mean: float, deviation: float, cdf: Callable[[Tensor], Tensor]) -> bool:
    """Tell whether numbers come from a law: mean and deviation within six standard errors, Kolmogorov's distance at a level of 1e-9."""
    n = len(x)
    fourth = 4.2 if deviation > 1.5 else 3.0  # kurtosis: of a logistic, and the most of the others
    if abs(float(x.mean()) - mean) > 6 * deviation / math.sqrt(n):
        return False
    if abs(float(x.var()) / deviation**2 - 1) > 6 * math.sqrt((fourth - 1) / n):
        return False
    below = cdf(x.sort().values)
    place = torch.arange(n, dtype=x.dtype)
    distance = torch.maximum((below - place / n).abs(), (below - (place + 1) / n).abs()).max()
    return float(distance) < math.sqrt(math.log(2 / 1e-9) / (2 * n))


def _uncorrelated(z: Tensor) -> bool:
    """Tell whether columns are not correlated, as far as so many draws show it."""
    if z.shape[1] < 2:
        return True
    found = torch.corrcoef(z.mT) - torch.eye(z.shape[1], dtype=z.dtype)
    return float(found.abs().max()) < 7 / math.sqrt(len(z))
